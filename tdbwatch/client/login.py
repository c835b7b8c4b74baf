"""Logging in: what users may write, and the request."""

from collections.abc import Sequence
from typing import Any

from tdbwatch.client.link import Link
from tdbwatch.client.words import words
from tdbwatch.exceptions import AuthError
from tdbwatch.wire import Kind

Auth = str | tuple[str, str]
"""A token, or user and password."""


def parse_auth(auth: Sequence[Any]) -> Auth:
    """A login, from a token, two strings or one pair.

    Raises:
        TypeError: neither; the message does not show what was given.
    """
    if len(auth) == 1 and isinstance(auth[0], str):
        return auth[0]
    if len(auth) == 1 and isinstance(auth[0], tuple | list):
        auth = auth[0]
    if len(auth) == 2 and all(isinstance(part, str) for part in auth):
        return (auth[0], auth[1])
    raise TypeError("to log in, give a token, or user and password as two strings or one pair")


async def authenticate(link: Link, auth: Auth, timeout: float | None) -> None:
    """Log in.

    Raises:
        AuthError: refused; the message names the node and never the secret.
    """
    body = auth if isinstance(auth, str) else list(auth)
    try:
        await link.call(Kind.AUTH, body, timeout=timeout)
    except AuthError as error:
        raise AuthError(f"{link.address} refused the login: {words(error)}") from None
    link.trust()
