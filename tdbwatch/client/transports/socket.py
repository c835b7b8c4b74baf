"""A byte stream: TCP or UNIX socket, with or without TLS."""

import asyncio
import contextlib
import socket
from typing import Final

from tdbwatch.client.transports.base import Receiver, Wire

_READ_SIZE: Final = 256 * 1024
_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)


class SocketWire(Wire, asyncio.BufferedProtocol):
    """Gives what it reads to its receiver as it comes."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(receiver)
        self._buffer = memoryview(bytearray(_READ_SIZE))
        self._socket: socket.socket | None = None

    def tune(self, sock: socket.socket) -> None:
        super().tune(sock)
        self._socket = sock

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._acknowledge()
        self._receiver.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._socket = None
        self._receiver.connection_lost(exc)

    def _acknowledge(self) -> None:
        """Acknowledge at once what was read.

        The server writes small pieces in a row, and Nagle's algorithm there waits for our acknowledgement: up
        to 40 ms. The kernel clears the option, so it is set after each read (measured: protocol facts).
        """
        if self._socket is not None and _QUICKACK is not None:
            with contextlib.suppress(OSError):  # the socket may just have been closed
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
