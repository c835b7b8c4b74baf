"""The ways to a node: TCP, UNIX socket and WebSocket, behind one small face.

A `Wire` writes bytes and closes; what it reads it gives to its `Receiver`. Errors of sockets and of the
WebSocket library are translated here, once: opening raises `OSError`, later a reason is told.
"""

import asyncio
import contextlib
import socket
import ssl as ssl_module
from collections.abc import Callable
from typing import Final, Protocol

from tdbwatch.client.addresses import Address
from tdbwatch.client.dialing import dial

SslSetting = bool | ssl_module.SSLContext | None

_READ_SIZE: Final = 256 * 1024
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)


class Receiver(Protocol):
    """Who hears what a wire reads."""

    def data_received(self, data: bytes) -> None: ...

    def connection_lost(self, error: Exception | None) -> None: ...


class Wire(Protocol):
    """An open way to a node."""

    def write(self, data: bytes) -> None:
        """Send; what does not fit into the socket's buffer is kept."""
        ...

    def backlog(self) -> int:
        """Bytes written that the socket did not take yet."""
        ...

    def close(self) -> None:
        """Send what is left, then close."""
        ...

    def abort(self) -> None:
        """Close now."""
        ...


class SocketWire(asyncio.BufferedProtocol):
    """A byte stream: TCP or UNIX socket, with or without TLS."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = memoryview(bytearray(_READ_SIZE))
        self._transport: asyncio.Transport | None = None
        self._acknowledge: Callable[[], object] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            tune(sock)
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

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def backlog(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def tune(sock: socket.socket) -> None:
    """Small writes go out at once, and a peer that vanished is noticed by the kernel too."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)


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


def tls_context(setting: SslSetting) -> ssl_module.SSLContext | None:
    """The context for a setting: True verifies certificates and host names; None and False mean no TLS."""
    if setting is True:
        return ssl_module.create_default_context()
    return setting or None


async def open_wire(address: Address, receiver: Receiver, ssl: SslSetting = None, turn: int = 0) -> Wire:
    """Connect to a node.

    Args:
        turn: how often it failed before: of a name with several addresses, another one comes first.

    Raises:
        OSError: it cannot be reached, its certificate does not verify, or it is not a ThingsDB endpoint.
    """
    loop = asyncio.get_running_loop()
    if address.scheme == "unix":
        _, wire = await loop.create_unix_connection(lambda: SocketWire(receiver), address.path)
        return wire
    context = tls_context(ssl)
    try:
        if address.is_websocket:
            from tdbwatch.client.websocket import open_websocket  # its library is only loaded when it is used

            return await open_websocket(address, receiver, context, turn)
        return await dial(lambda: SocketWire(receiver), address, context, turn)
    except ssl_module.SSLCertVerificationError as error:
        reason = f"{address}: its certificate was refused: {error.verify_message or error}"
        raise ssl_module.SSLCertVerificationError(error.errno, reason) from error
