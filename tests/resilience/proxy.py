"""A TCP proxy in front of a node: what a network can do to a connection while both ends are well."""

import asyncio
from collections import deque
from typing import Any, Self

from tdbwatch.node import Node


class Proxy:
    """Carries bytes both ways, unless told otherwise.

    What is cut off is kept and arrives when the way is open again, as TCP would send it again. While a way is
    cut, an end that closes is not told to the other one.

    Attributes:
        delay: seconds that all bytes take, each way.
        accepted: how many connections were made to it.
        refusing: connections are closed as soon as they are accepted.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.delay = 0.0
        self.accepted = 0
        self.refusing = False
        self.port = 0
        self._cut: set[str] = set()
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Pair(self).near, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        await self._server.wait_closed()
        while self._pairs:
            await asyncio.sleep(0)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return len(self._pairs)

    def cut(self, *ways: str) -> None:
        """Let nothing pass any more on these ways, `up` (to the node) and `down`; by default on both."""
        self._cut.update(ways or ("up", "down"))

    def heal(self) -> None:
        """Let everything pass again, what was held back first."""
        self._cut.clear()
        for pair in list(self._pairs):
            pair.carry_on()

    def reset(self) -> None:
        """Cut every connection, and tell both ends."""
        for pair in list(self._pairs):
            pair.abort()

    def is_cut(self, way: str) -> bool:
        return way in self._cut


class _Pair:
    """One connection of a client, and the one to the node that it is carried on."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.near, self.far = _End(self, "up"), _End(self, "down")
        self.near.other, self.far.other = self.far, self.near
        self._dialing: asyncio.Task[None] | None = None

    def accepted(self) -> None:
        self.proxy.accepted += 1
        self.proxy._pairs.add(self)
        if self.proxy.refusing:
            self.abort()
        else:
            self._dialing = asyncio.create_task(self._dial(), name="proxy dials")

    def ended(self) -> None:
        if self.near.gone and (self.far.gone or self.far.transport is None):
            self.proxy._pairs.discard(self)

    def carry_on(self) -> None:
        for end in (self.near, self.far):
            end.flush()

    def abort(self) -> None:
        if self._dialing is not None:
            self._dialing.cancel()
        for end in (self.near, self.far):
            if end.transport is not None:
                end.transport.abort()

    async def _dial(self) -> None:
        node = self.proxy.node
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.far, node.host, node.port)
        except OSError:
            self.abort()


class _End(asyncio.Protocol):
    """One end of a pair; `way` is where the bytes go that it reads."""

    other: "_End"

    def __init__(self, pair: _Pair, way: str) -> None:
        self.transport: asyncio.Transport | None = None
        self.gone = False
        self._pair = pair
        self._way = way
        self._waiting: deque[tuple[float, bytes | None]] = deque()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self is self._pair.near:
            self._pair.accepted()
        else:
            self.other.flush()

    def data_received(self, data: bytes) -> None:
        self._carry(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._carry(None)
        self._pair.ended()

    def flush(self) -> None:
        """Bring to the other end what may pass and is due; None stands for the end of the connection."""
        now = asyncio.get_running_loop().time()
        while self._waiting and self._waiting[0][0] <= now and not self._pair.proxy.is_cut(self._way):
            if self.other.transport is None and not self._pair.near.gone:
                return  # it is being dialed
            _, data = self._waiting.popleft()
            if self.other.gone or self.other.transport is None:
                continue
            if data is None:
                self.other.transport.close()
            else:
                self.other.transport.write(data)

    def _carry(self, data: bytes | None) -> None:
        loop, delay = asyncio.get_running_loop(), self._pair.proxy.delay
        due = loop.time() + delay
        if self._waiting:
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, data))
        if due > loop.time():
            loop.call_at(due, self.flush)
        else:
            self.flush()
