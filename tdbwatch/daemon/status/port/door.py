"""The listening sockets of the status page.

asyncio can accept connections itself, but without a descriptor it writes as many lines in a second as may
wait, each second more, and nobody is let in. Here the reserve has one for whoever asks how we are.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from tdbwatch.daemon.status.port.visitors import MAX_CONNECTIONS
from tdbwatch.descriptors import SHORT, SOON, reserve


class Door:
    """Lets visitors in.

    Args:
        welcome: makes the protocol of a connection.
        make_room: has a visitor leave; whether there was one.
    """

    def __init__(self, welcome: Callable[[], asyncio.BaseProtocol], make_room: Callable[[], bool]) -> None:
        self._welcome = welcome
        self._make_room = make_room
        self._sockets: list[socket.socket] = []
        self._entering: set[asyncio.Task[Any]] = set()

    async def open(self, host: str | None, port: int) -> list[Any]:
        """Listen; the addresses.

        Raises:
            OSError: that cannot be.
        """
        loop = asyncio.get_running_loop()
        reserve.lend()
        server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
        try:
            self._sockets = [each.dup() for each in server.sockets]
        finally:
            server.close()
        if not self._sockets:  # asyncio takes it for a family that the host does not know
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        for sock in self._sockets:
            sock.setblocking(False)
            sock.listen(MAX_CONNECTIONS)
            loop.add_reader(sock, self._accept, sock)
        return [sock.getsockname() for sock in self._sockets]

    def close(self) -> None:
        """Let nobody in any more. More than once does no harm."""
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        for task in self._entering:
            task.cancel()

    def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = sock.accept()
        except OSError as error:  # who waits is still waiting: this is called again at once
            if error.errno in SHORT and not (self._make_room() or reserve.lend(1)):
                loop.remove_reader(sock)
                loop.call_later(SOON, self._go_on, sock)
            return
        connection.setblocking(False)
        task = loop.create_task(
            loop.connect_accepted_socket(self._welcome, connection), name="tdbwatch-visitor"
        )
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    def _go_on(self, sock: socket.socket) -> None:
        if sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)
