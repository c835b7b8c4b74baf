"""From a host's name to a connected socket: all its addresses are tried, none for too long.

`asyncio` can race addresses itself, but when it is cancelled in the wrong moment it forgets a socket that
was just connected (CPython 3.11, `staggered_race`): a client closed while it connects would leave it open.
"""

import asyncio
import os
import socket
import ssl as ssl_module
from collections.abc import Callable
from typing import Any, Final, TypeVar

from tdbwatch.blocking import in_own_thread
from tdbwatch.client.addresses import Address
from tdbwatch.client.transports.base import Wire
from tdbwatch.client.words import words

HEAD_START: Final = 0.25
"""Seconds that an address has before the next one of the same name is tried beside it (RFC 8305)."""

_Wire = TypeVar("_Wire", bound=Wire)
_Found = tuple[int, int, int, Any]
"""Family, type, protocol and address of a socket."""


async def dial(
    make: Callable[[], _Wire], address: Address, context: ssl_module.SSLContext | None, turn: int = 0
) -> _Wire:
    """Connect by TCP, with TLS if there is a context.

    Args:
        turn: how often it failed before. The first of a name's addresses that accepts wins, but it may be a
            host that hangs; so each attempt begins with another address.

    Raises:
        OSError: none of its addresses can be reached, or the certificate does not verify.
    """
    found = await resolve(address.host, address.port)
    first = turn % len(found)
    sock = await _first_of(found[first:] + found[:first])
    _, wire = await asyncio.get_running_loop().create_connection(
        make, sock=sock, ssl=context, server_hostname=None if context is None else address.peer
    )
    wire.ways = len(found)
    return wire


async def resolve(host: str, port: int) -> list[_Found]:
    """All addresses of a host.

    Raises:
        OSError: there is none.
    """
    try:  # an address is no question for a name server, nor for a thread
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        infos = await look_up(host, port)
    if not infos:
        raise OSError(f"the name {host} has no address")
    return [(family, kind, protocol, where) for family, kind, protocol, _, where in infos]


async def look_up(host: str, port: int) -> list[Any]:
    """As `socket.getaddrinfo`."""
    return await in_own_thread(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), "tdbwatch-node-name"
    )


async def _first_of(found: list[_Found]) -> socket.socket:
    """The first that connects, each having a head start over the next."""
    waiting, errors = list(found), list[OSError]()
    racing: set[asyncio.Task[socket.socket]] = set()
    try:
        while waiting or racing:
            if waiting:
                racing.add(asyncio.create_task(_connect(*waiting.pop(0)), name="tdbwatch-dial"))
            done, racing = await asyncio.wait(
                racing, timeout=HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                try:
                    winner = task.result()
                except OSError as error:
                    errors.append(error)
                    continue
                racing |= done - {task}
                return winner
    finally:
        for task in racing:
            task.add_done_callback(_close_late)
            task.cancel()
    raise errors[0] if len(errors) == 1 else OSError("; ".join(map(words, errors)))


async def _connect(family: int, kind: int, protocol: int, where: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except OSError as error:
        sock.close()
        if error.errno is None:
            raise
        raise OSError(error.errno, f"{os.strerror(error.errno)} ({where[0]})") from None
    except BaseException:
        sock.close()
        raise
    return sock


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    """Nobody waits for this socket any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
