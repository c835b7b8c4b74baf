"""One embedded node: it listens, keeps its clients, and has a status."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.clock import Clock
from tdbwatch.loggers import get_logger
from tdbwatch.node.arrivals import Arrivals
from tdbwatch.node.connection import MAX_QUEUED, Connection
from tdbwatch.node.faults import Faults
from tdbwatch.node.ports import HeldPorts
from tdbwatch.node.rooms import Room, RoomPush
from tdbwatch.node.streams import PlainStream, Stream, WebSocketStream
from tdbwatch.wire import Kind, encode_push

if TYPE_CHECKING:
    from tdbwatch.node.cluster import Cluster

_log: Final = get_logger(__name__)

_CLOSE_TIMEOUT: Final = 1.0
"""Seconds that a client has to read the rest before its connection is cut."""

_READY_FOR_ROOMS: Final = frozenset({"READY", "AWAY_SOON", "AWAY"})
"""Statuses in which a node takes JOIN and EMIT."""

_HEARS_OTHERS: Final = _READY_FOR_ROOMS | {"SYNCHRONIZING"}
"""Statuses in which a node gets the other nodes' emits (ThingsDB 1.9.3, `ti_nodes_write_rpkg`)."""


@dataclass(slots=True)
class Listen:
    """Where a node listens. A port of 0 becomes a free one at the first start, and stays."""

    host: str = "127.0.0.1"
    port: int = 0
    unix_path: Path | None = None
    websocket_port: int | None = None
    ssl: SSLContext | None = None


class Node:
    """A node of a `Cluster`, which makes it.

    Attributes:
        id: as in a real cluster, from 0.
        faults: the switches that make it misbehave.
    """

    def __init__(
        self, cluster: "Cluster", node_id: int, listen: Listen, max_queued: int = MAX_QUEUED
    ) -> None:
        self.cluster = cluster
        self.id = node_id
        self.faults = Faults(self)
        self.arrivals = Arrivals(self)
        self._listen = listen
        self._max_queued = max_queued
        self._status = "OFFLINE"
        self._connections: dict[Connection, None] = {}
        self._servers: list[asyncio.Server] = []
        self._ports = HeldPorts()
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Node {self.id} {self.address} {self.status}>"

    @property
    def clock(self) -> Clock:
        return self.cluster.clock

    @property
    def host(self) -> str:
        return self._listen.host

    @property
    def port(self) -> int:
        """The TCP port; 0 before the first start if a free one was asked for."""
        return self._listen.port

    @property
    def address(self) -> str:
        """`host:port`"""
        return f"{self.host}:{self.port}"

    @property
    def unix_path(self) -> Path | None:
        return self._listen.unix_path

    @property
    def websocket_url(self) -> str | None:
        """`ws://host:port`, or `wss://` with an SSL context; None if the node has no WebSocket."""
        scheme = "ws" if self._listen.ssl is None else "wss"
        port = self._listen.websocket_port
        return None if port is None else f"{scheme}://{self.host}:{port}"

    @property
    def status(self) -> str:
        """`READY`, `AWAY_SOON`, `AWAY`, `SYNCHRONIZING`, `SHUTTING_DOWN` or `OFFLINE`."""
        return self._status

    @property
    def running(self) -> bool:
        return bool(self._servers)

    @property
    def ready_for_rooms(self) -> bool:
        """Whether JOIN and EMIT are taken."""
        return self._status in _READY_FOR_ROOMS

    @property
    def hears_others(self) -> bool:
        """Whether the emits of other nodes reach this one."""
        return self._status in _HEARS_OTHERS

    @property
    def clients(self) -> tuple[Connection, ...]:
        return tuple(self._connections)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen, again on the same ports after a stop: they are kept while the node is down.

        Raises:
            OSError: an address is taken.
            RuntimeError: it runs already.
        """
        if self._servers:
            raise RuntimeError(f"node {self.id} runs already")
        self.faults.thaw()
        try:
            await self._open()
        except BaseException:
            await self.stop()
            raise
        self._status = "READY"

    async def stop(self) -> None:
        """As a crash: no word, every socket closed at once."""
        self._status = "OFFLINE"
        for connection in self.clients:
            connection.abort()
        await self._close()

    def release_ports(self) -> None:
        """No longer keep the ports of a node that is down (see `start`): it will not come back."""
        self._ports.release()

    async def shutdown(self) -> None:
        """As after SIGTERM (recording `node-shutdown`).

        `SHUTTING_DOWN` is pushed; for the shutdown period the node refuses JOIN and EMIT, hears no emits
        of other nodes, and answers queries; then `OFFLINE` is pushed and everything is closed.
        """
        if not self.running or self._status == "SHUTTING_DOWN":
            return
        servers = self._servers
        self.push_status("SHUTTING_DOWN")
        await self.clock.sleep(self.cluster.shutdown_period)
        if self._servers is not servers:  # stopped meanwhile, and perhaps started again
            return
        self.push_status("OFFLINE")
        for connection in self.clients:
            connection.close()
        await self._close()

    def away_soon(self) -> None:
        """Announce the away time. Nothing else changes, as on a real node."""
        self.push_status("AWAY_SOON")

    def away(self) -> None:
        self.push_status("AWAY")

    def ready(self) -> None:
        self.push_status("READY")

    def synchronizing(self) -> None:
        """JOIN and EMIT are refused until `ready()`."""
        self.push_status("SYNCHRONIZING")

    def push_status(self, status: str) -> None:
        """Take a status and tell this node's authenticated clients."""
        self._status = status
        self._push(encode_push(Kind.NODE_STATUS, {"id": self.id, "status": status}))

    def warn(self, message: str, code: int = 2) -> None:
        """Push a WARN to all authenticated clients of this node."""
        self._push(encode_push(Kind.WARN, {"warn_code": code, "warn_msg": message}))

    def pass_on(self, room: Room, push: RoomPush, without: Connection | None = None) -> None:
        """Push an emit to this node's own listeners."""
        if self.faults.deaf:
            return
        for listener in room.listeners:
            if listener.node is self and listener is not without:
                listener.push(push)

    def attach(self, connection: Connection) -> None:
        self._connections[connection] = None

    def detach(self, connection: Connection) -> None:
        self._connections.pop(connection, None)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work` as a task of this node: cancelled when it stops, logged when it fails."""
        task = asyncio.get_running_loop().create_task(work, name=f"node {self.id}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task %r failed", task.get_name(), exc_info=error)

    def _push(self, data: bytes) -> None:
        for connection in self.clients:
            if connection.user is not None:
                connection.send(data)

    async def _open(self) -> None:
        listen = self._listen
        listen.port = await self._serve(PlainStream, listen.port, backlog=512)
        if listen.unix_path is not None:
            loop = asyncio.get_running_loop()
            self._servers.append(await loop.create_unix_server(self._factory(PlainStream), listen.unix_path))
        if listen.websocket_port is not None:
            listen.websocket_port = await self._serve(WebSocketStream, listen.websocket_port)

    async def _serve(self, stream: Callable[[], Stream], port: int, backlog: int = 100) -> int:
        """Listen on TCP; the port, which may have been 0."""
        loop, listen = asyncio.get_running_loop(), self._listen
        server = await loop.create_server(
            self._factory(stream), listen.host, port, ssl=listen.ssl, backlog=backlog, start_serving=False
        )
        self._servers.append(server)
        self._ports.hold(server)
        await server.start_serving()
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    def _factory(self, stream: Callable[[], Stream]) -> Callable[[], Connection]:
        return lambda: Connection(self, stream(), self._max_queued)

    async def _close(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        self.arrivals.forget()
        tasks = self._tasks - {asyncio.current_task()}  # a registered answer may stop its own node
        for task in tasks:
            task.cancel()
        await self._lose_connections()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_TIMEOUT)
        for server in servers:
            await server.wait_closed()
        if self._listen.unix_path is not None:
            with contextlib.suppress(OSError):
                self._listen.unix_path.unlink()

    async def _lose_connections(self) -> None:
        if not self._connections:
            return
        await asyncio.wait([each.lost for each in self.clients], timeout=_CLOSE_TIMEOUT)
        for connection in self.clients:
            connection.abort()
        if self._connections:
            await asyncio.wait([each.lost for each in self.clients], timeout=_CLOSE_TIMEOUT)
