"""Logging in: what users may write, and the request."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tdbwatch.client.links.link import Link
from tdbwatch.client.words import words
from tdbwatch.exceptions import AuthError
from tdbwatch.wire import Kind

Auth = str | tuple[str, str]
"""A token, or user and password."""
Ask = Callable[[], Auth | Awaitable[Auth]]
"""Gives the login when one is needed; plain or async."""


def parse_auth(auth: Sequence[Any]) -> Auth | Ask:
    """A login, from a token, two strings or one pair; or what gives one.

    Raises:
        TypeError: neither; the message does not show what was given.
    """
    if len(auth) == 1 and callable(auth[0]):
        ask: Ask = auth[0]
        return ask
    return _parse(auth)


def _parse(auth: Sequence[Any]) -> Auth:
    if len(auth) == 1 and isinstance(auth[0], str):
        return auth[0]
    if len(auth) == 1 and isinstance(auth[0], tuple | list):
        auth = auth[0]
    if len(auth) == 2 and all(isinstance(part, str) for part in auth):
        return (auth[0], auth[1])
    raise TypeError("to log in, give a token, or user and password as two strings or one pair")


async def _current(auth: Auth | Ask) -> Auth:
    if not callable(auth):
        return auth
    try:
        given = auth()
        given = await given if inspect.isawaitable(given) else given
        return _parse([given])
    except Exception as error:
        raise ConnectionError(f"there is no login to connect with: {words(error)}") from error


async def authenticate(link: Link, auth: Auth | Ask, timeout: float | None) -> None:
    """Log in.

    Raises:
        AuthError: refused; the message names the node and never the secret.
        ConnectionError: what should give the login raised.
    """
    async with asyncio.timeout(timeout):
        auth = await _current(auth)
    body = auth if isinstance(auth, str) else list(auth)
    try:
        await link.call(Kind.AUTH, body, timeout=timeout)
    except AuthError as error:
        raise AuthError(f"{link.address} refused the login: {words(error)}") from None
    link.trust()
