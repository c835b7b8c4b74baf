"""A byte stream: TCP or UNIX socket, with or without TLS."""

import asyncio
import contextlib
import socket
import ssl as ssl_module
from collections.abc import Callable
from typing import Final

from tdbwatch.client.addresses import Address
from tdbwatch.client.dialing import dial
from tdbwatch.client.transports.base import Receiver, Wire

_READ_SIZE: Final = 256 * 1024
_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)


class SocketWire(Wire, asyncio.BufferedProtocol):
    """Gives what it reads to its receiver as it comes."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(receiver)
        self._buffer = memoryview(bytearray(_READ_SIZE))
        self._acknowledge: Callable[[], object] = lambda: None

    def tune(self, sock: socket.socket) -> None:
        super().tune(sock)
        self._acknowledge = _quick_acknowledger(sock)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._acknowledge()
        self._receiver.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._acknowledge = lambda: None
        self._receiver.connection_lost(exc)


def _quick_acknowledger(sock: socket.socket) -> Callable[[], object]:
    """Acknowledges what was read at once.

    The server writes small pieces in a row, and Nagle's algorithm there waits for our acknowledgement: up to
    40 ms. The kernel clears the option, so it is set again after each read (measured: protocol facts).
    """
    if _QUICKACK is None:
        return lambda: None
    option = _QUICKACK

    def acknowledge() -> None:
        with contextlib.suppress(OSError):  # the socket may just have been closed
            sock.setsockopt(socket.IPPROTO_TCP, option, 1)

    return acknowledge


async def open_unix(path: str, receiver: Receiver) -> Wire:
    """Connect to a UNIX socket.

    Raises:
        OSError: nobody listens there.
    """
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_unix_connection(lambda: SocketWire(receiver), path)
    return wire


async def open_tcp(
    address: Address, receiver: Receiver, context: ssl_module.SSLContext | None, turn: int = 0
) -> Wire:
    """Connect by TCP, with TLS if there is a context.

    Raises:
        OSError: the node cannot be reached.
    """
    return await dial(lambda: SocketWire(receiver), address, context, turn)
