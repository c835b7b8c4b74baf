"""What every way to a node has in common: who reads, how one writes, and how sockets are tuned."""

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, cast

SslSetting = bool | ssl_module.SSLContext | Callable[[], Awaitable[ssl_module.SSLContext | None]] | None
"""A function is asked at each connection, for certificates that change."""

_KEEPALIVE: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class Receiver(Protocol):
    """Who hears what a wire reads."""

    def data_received(self, data: bytes) -> None: ...

    def connection_lost(self, error: Exception | None) -> None: ...


class Wire(asyncio.BaseProtocol):
    """A way to a node: writes bytes and closes; what it reads it gives to its receiver."""

    def __init__(self, receiver: Receiver) -> None:
        self.ways = 1
        """How many addresses the node's name has; another attempt may lead to another one."""
        self._receiver = receiver
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            self.tune(sock)

    def tune(self, sock: socket.socket) -> None:
        """Small writes go out at once, and a peer that vanished is noticed by the kernel too."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)

    def trust(self) -> None:
        """The node took the login: what it sends may be large."""

    def write(self, data: bytes) -> None:
        """Send; what does not fit into the socket's buffer is kept."""
        if self._transport is not None:
            self._transport.write(data)

    def backlog(self) -> int:
        """Bytes written that the socket did not take yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self) -> None:
        """Send what is left, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()
