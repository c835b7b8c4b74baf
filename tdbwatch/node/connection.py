"""One client's connection to an embedded node."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

from tdbwatch import exceptions as errors
from tdbwatch.loggers import get_logger
from tdbwatch.node.handlers import Reply, error_reply, handle
from tdbwatch.node.rooms import Room, RoomPush
from tdbwatch.node.streams import Stream
from tdbwatch.node.users import User
from tdbwatch.wire import (
    DEFAULT_MAX_BODY,
    MAX_BEFORE_LOGIN,
    Kind,
    Request,
    ServerSession,
    Skipped,
    encode_push,
)

if TYPE_CHECKING:
    from tdbwatch.node.node import Node

_log: Final = get_logger(__name__)

MAX_PENDING: Final = 65_536
"""Requests of one client that may wait for their answers."""
MAX_QUEUED: Final = 256 * 1024 * 1024
"""Bytes that may wait for one client; a real node has no such limit, which is its weakness."""


class Connection(asyncio.Protocol):
    """Reads requests, sends answers and pushes.

    What is said within one turn of the event loop is written as one piece. A client that reads too slowly
    is cut off when more than `max_queued` bytes wait for it.
    """

    def __init__(self, node: "Node", stream: Stream, max_queued: int = MAX_QUEUED) -> None:
        self.node = node
        self.user: User | None = None
        self.rooms: set[Room] = set()
        self.lost = asyncio.get_running_loop().create_future()
        self._stream = stream
        self._session = ServerSession(max_body=MAX_BEFORE_LOGIN)
        self._pending = 0
        self._max_queued = max_queued
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._queued = 0
        self._flushing = False
        self._paused = False
        self._closing = False

    @property
    def closing(self) -> bool:
        """Whether the connection is on its way out: nothing is handled or sent any more."""
        return self._closing

    def log_in(self, user: User) -> None:
        """It is this user, from now on; what it sends may be large."""
        self.user = user
        self._session.max_body = DEFAULT_MAX_BODY
        self._stream.trust()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.node.attach(self)
        if self.node.faults.refuse_connections:
            self.abort()
        elif self.node.faults.frozen:
            self.pause()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the node needs no reason
        self._closing = True
        self._out.clear()
        for room in self.rooms:
            room.listeners.pop(self, None)
        self.rooms.clear()
        self.node.detach(self)
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        payload = self._stream.received(data)
        self._write(self._stream.reply())
        for message in self._session.receive(payload):
            if isinstance(message, Request):
                self._serve(message)
            elif isinstance(message, Skipped):
                self._refuse(message)
        if self._session.error is not None or self._stream.finished:
            self.close()

    def push(self, push: RoomPush) -> None:
        """Tell the client about a room."""
        self.send(push.without_scope if self.node.faults.omit_scope else push.data)

    def warn(self, code: int, message: str) -> None:
        """Push a WARN to this client."""
        self.send(encode_push(Kind.WARN, {"warn_code": code, "warn_msg": message}))

    def send(self, frame: bytes) -> None:
        """Queue one frame; it leaves in this turn of the event loop, unless the node is frozen."""
        if self._closing:
            return
        self._out.append(frame)
        self._queued += len(frame)
        if self._queued > self._max_queued:
            self._cut_off("does not read what it is sent")
        elif not (self._flushing or self._paused):
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def pause(self) -> None:
        """Neither read nor write from now on."""
        self._paused = True
        if self._transport is not None and not self._closing:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read and write again, first what was held back."""
        if not self._paused:
            return
        self._paused = False
        if self._transport is not None and not self._closing:
            self._flush()
            self._transport.resume_reading()

    def close(self) -> None:
        """Send what is queued, then close."""
        if self._closing:
            return
        self._flush()
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now, whatever is queued."""
        self._closing = True
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        self._flushing = False
        if self._closing or self._paused or not self._out:
            return
        frames, self._out, self._queued = self._out, [], 0
        self._write(self._stream.wrap(frames))

    def _write(self, data: bytes) -> None:
        if not data or self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._max_queued:
            self._cut_off("does not read what it is sent")

    def _cut_off(self, why: str) -> None:
        _log.warning("node %d: cut off a client that %s", self.node.id, why)
        self.abort()

    def _serve(self, request: Request) -> None:
        if (delay := self.node.faults.delay) > 0:
            self._spawn(self._handle_later(request, delay), f"delayed {Kind(request.kind).name}")
        else:
            self._handle(request)

    async def _handle_later(self, request: Request, delay: float) -> None:
        await self.node.clock.sleep(delay)
        self._handle(request)

    def _handle(self, request: Request) -> None:
        if self._closing:
            return
        try:
            outcome = handle(self, request)
        except errors.ThingsDBError as error:
            outcome = error_reply(error)
        if isinstance(outcome, Reply):
            self._answer(request, outcome)
        else:
            self._spawn(self._answer_later(request, outcome), f"answer to {Kind(request.kind).name}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Answer later; a client can number 65,536 requests that have no answer yet, and no more wait."""
        if self._pending >= MAX_PENDING:
            work.close()
            self._cut_off("asks more than can be told apart")
            return
        self._pending += 1
        self.node.spawn(self._counted(work), name)

    async def _counted(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self._pending -= 1
            work.close()

    async def _answer_later(self, request: Request, outcome: Awaitable[Reply]) -> None:
        try:
            reply = await outcome
        except errors.ThingsDBError as error:
            reply = error_reply(error)
        self._answer(request, reply)

    def _answer(self, request: Request, reply: Reply) -> None:
        if self._closing or self._session.error is not None:
            return
        kind = Kind(request.kind)
        if self.node.faults.closes(kind):
            self.abort()
            return
        if not self.node.faults.drops(kind):
            self.send(self._encode(request, reply))
        for push in reply.then:
            self.push(push)

    def _encode(self, request: Request, reply: Reply) -> bytes:
        try:
            return self._session.answer(request, reply.kind, reply.value)
        except errors.EncodeError as error:
            failed = error_reply(errors.InternalError(str(error)))
            return self._session.answer(request, failed.kind, failed.value)

    def _refuse(self, skipped: Skipped) -> None:
        """A request whose body does not decode: the stream goes on."""
        kind = Kind(skipped.kind)
        if kind is not Kind.PING:
            error = errors.BadDataError("unable to handle request due to invalid data")
            self._answer(Request(skipped.id, kind), error_reply(error))
