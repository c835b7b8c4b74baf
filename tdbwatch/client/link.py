"""One live connection to one node."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Protocol

from tdbwatch.client.addresses import Address
from tdbwatch.client.calls import Call
from tdbwatch.client.fail_file import dump_failed
from tdbwatch.client.heartbeat import Finding, Heartbeat, SignsOfLife
from tdbwatch.client.phases import Phases
from tdbwatch.client.transports import SslSetting, Wire, open_wire
from tdbwatch.clock import Clock
from tdbwatch.exceptions import (
    ConnectionLostError,
    LocalProtocolError,
    NotConnectedError,
    ProtocolError,
    from_wire,
)
from tdbwatch.loggers import get_logger, is_worth_saying
from tdbwatch.wire import (
    DEFAULT_MAX_BODY,
    MAX_BEFORE_LOGIN,
    ClientSession,
    Emit,
    Kind,
    NodeStatus,
    Push,
    RawEmit,
    Response,
    Skipped,
    Unknown,
    UnreadableEmit,
)
from tdbwatch.wire.codec import BodyError

log = get_logger("tdbwatch.client")

MAX_BACKLOG: Final = 64 * 1024 * 1024
"""Bytes written that a node may leave unread before further requests to it fail."""
CLOSE_TIMEOUT: Final = 2.0
"""Seconds that a node has to take the rest when a link is closed in order."""

PIECE: Final = 32 * 1024
"""Bytes that are decoded before any of it is delivered: so few events live at the same time that they stay in
the processor's cache, and the garbage collector is not called for them (docs/performance.md)."""

Deliver = Callable[[Any], None]
RoomKey = tuple[str | None, int]


class Phase(Enum):
    """Where a link stands."""

    CONNECTING = "connecting"
    LIVE = "live"
    LEAVING = "leaving"
    """Its node shuts down: it answers, but hears no other node's emits any more."""
    RETIRING = "retiring"
    """Another link took over: it hears nothing, and lives for the calls that are outstanding."""
    LOST = "lost"
    """Of no more use; its socket may still be closing."""
    CLOSED = "closed"


TRANSITIONS: Final = {
    Phase.CONNECTING: {Phase.LIVE, Phase.LOST},
    Phase.LIVE: {Phase.LEAVING, Phase.RETIRING, Phase.LOST},
    Phase.LEAVING: {Phase.RETIRING, Phase.LOST},
    Phase.RETIRING: {Phase.LOST},
    Phase.LOST: {Phase.CLOSED},
    Phase.CLOSED: set[Phase](),
}
_IN_USE: Final = frozenset({Phase.LIVE, Phase.LEAVING, Phase.RETIRING})


class LinkOwner(Protocol):
    """Who hears what a link cannot decide itself."""

    def link_lost(self, link: "Link", reason: Exception) -> None: ...

    def link_leaving(self, link: "Link") -> None: ...

    def push_heard(self, link: "Link", push: Push) -> None:
        """A push, or an event of a room that it has no taker for."""
        ...

    def emit_lost(self, link: "Link") -> None:
        """An event came of which not even the room can be told."""
        ...


class Link:
    """A connection: its wire, its session, its outstanding calls and the rooms it hears.

    `rooms` maps (scope, id) to whoever takes that room's events; it is filled in the moment a JOIN is
    answered, since events may follow in the same breath.
    """

    def __init__(
        self,
        address: Address,
        owner: LinkOwner,
        clock: Clock,
        heartbeat: Heartbeat,
        *,
        raw_events: bool = False,
    ) -> None:
        self.address = address
        self.rooms: dict[RoomKey, Deliver] = {}
        self.loss: Exception | None = None
        """Why the link is of no more use; None while it is."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends when its socket is closed, which may be a little later."""
        self._phases = Phases(TRANSITIONS, Phase.CONNECTING)
        self._owner = owner
        self._clock = clock
        self._signs = SignsOfLife(heartbeat, clock.monotonic())
        self._session = ClientSession(max_body=MAX_BEFORE_LOGIN, raw_events=raw_events)
        self._trusted = False
        self._unasked = 0
        self._emit_type: type = RawEmit if raw_events else Emit
        self._calls: dict[int, Call] = {}
        self._wire: Wire | None = None
        self._beat: asyncio.Task[None] | None = None
        self._useless = 0

    def __repr__(self) -> str:
        return f"<Link {self.address} {self.phase.value}>"

    @property
    def phase(self) -> Phase:
        return self._phases.now

    @property
    def is_live(self) -> bool:
        """Whether it answers."""
        return self._phases.now in _IN_USE

    @property
    def leaving(self) -> bool:
        """Whether its node shuts down."""
        return self._phases.now is Phase.LEAVING

    @property
    def heard_at(self) -> float:
        """When anything was heard last, in monotonic seconds."""
        return self._signs.heard_at

    @property
    def heard_until(self) -> float:
        """Until when it surely delivered what its node did: now, unless it was lost."""
        return self.now() if self.loss is None else self.heard_at

    def now(self) -> float:
        """The time of its clock, in monotonic seconds."""
        return self._clock.monotonic()

    @property
    def ways(self) -> int:
        """How many addresses its node's name has."""
        return 1 if self._wire is None else self._wire.ways

    def require_live(self) -> None:
        """Do nothing, unless it is lost.

        Raises:
            Exception: why it is.
        """
        if self.loss is not None:
            raise self.loss

    async def open(self, ssl: SslSetting, timeout: float | None, turn: int = 0) -> None:
        """Connect. Of a name with several addresses, begin with the one whose `turn` it is.

        Raises:
            OSError: it cannot be reached; `TimeoutError` is one.
            ProtocolError: what it sent first was not ThingsDB's protocol.
        """
        deadline = asyncio.timeout(timeout)
        try:
            async with deadline:
                wire = await open_wire(self.address, self, ssl, turn)
        except TimeoutError:
            if deadline.expired():
                raise TimeoutError(f"{self.address} did not answer within {timeout:g} s") from None
            raise
        if self.loss is not None:  # before we knew that it was open
            wire.abort()
            raise self.loss
        self._opened(wire)
        self._beat = asyncio.create_task(self._keep_alive(), name=f"tdbwatch-heartbeat {self.address}")
        self._beat.add_done_callback(self._heart_stopped)

    def call(
        self, kind: Kind, body: Any = None, *, timeout: float | None, on_answer: Deliver | None = None
    ) -> asyncio.Future[Any]:
        """Ask this node, and no other. The future fails as `send` and the server's answer say."""
        call = Call(kind, body, timeout, on_answer=on_answer)
        try:
            self.send(call)
        except Exception as error:  # noqa: BLE001 - one way of failing for the caller: the future
            call.failed(error)
        return call.future

    def send(self, call: Call) -> None:
        """Send a call's request now.

        Raises:
            NotConnectedError: the link is not live; nothing was sent.
            EncodeError: the body cannot be encoded; nothing was sent.
        """
        if self._wire is None or not self.is_live:
            raise NotConnectedError(f"not connected to {self.address}")
        if self._wire.backlog() > MAX_BACKLOG:
            raise NotConnectedError(
                f"{self.address} does not read what it is sent ({MAX_BACKLOG} bytes wait)"
            )
        try:
            request_id, data = self._session.request(call.kind, call.body)
        except LocalProtocolError as error:
            raise NotConnectedError(f"{self.address}: {error}") from error
        self._calls[request_id] = call
        call.attempts += 1
        call.holder, call.waits_for = lambda _: self._forget(request_id), "its answer"
        self._wire.write(data)

    def trust(self) -> None:
        """The node took the login: from now on what it sends may be large."""
        self._trusted = True
        self._session.max_body = DEFAULT_MAX_BODY
        if self._wire is not None:
            self._wire.trust()

    def retire(self) -> None:
        """Hear no more events, close once the outstanding calls are answered."""
        self._phases.go(Phase.RETIRING)
        self.rooms.clear()
        self._close_if_done()

    def abort(self, reason: Exception) -> None:
        """Give the link up at once."""
        if self._wire is not None:
            self._wire.abort()
        self._end(reason)

    def close(self) -> None:
        """Close in order: what was written is sent."""
        if self._wire is not None and self.is_live:
            self._wire.close()
            impatient = self.closed.get_loop().call_later(CLOSE_TIMEOUT, self._wire.abort)
            self.closed.add_done_callback(lambda _: impatient.cancel())
        self._end(ConnectionAbortedError("closed by this client"))

    # -- Receiver ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.loss is None:
            self._count(len(data))
        for start in range(0, len(data), PIECE):
            if self.loss is None:  # else what was heard so far ended it
                self._hear(data[start : start + PIECE])

    def _count(self, size: int) -> None:
        """Bytes came: whether they are a sign of life, and not too many from a stranger."""
        self._signs.bytes_came(size, self._clock.monotonic(), end_a_frame=self._session.completes(size))
        if not self._trusted:
            self._unasked += size
            if self._unasked > MAX_BEFORE_LOGIN:
                what = f"{self.address} sent {self._unasked} bytes before it took the login"
                self.abort(ProtocolError(what))

    def _hear(self, data: bytes) -> None:
        rooms, emit_type, session = self.rooms, self._emit_type, self._session
        scope = room_id = deliver = (
            None  # of the event before: most have the same, and looking up takes longer
        )
        for heard in session.receive(data):
            if type(heard) is not emit_type:
                self._other_heard(heard)
                room_id = None  # that may have changed the rooms
                continue
            if heard.id != room_id or heard.scope != scope or not rooms:  # type: ignore[union-attr]
                scope, room_id = heard.scope, heard.id  # type: ignore[union-attr]
                deliver = rooms.get((scope, room_id))
            if deliver is not None:
                deliver(heard)
            else:
                room_id = None
                if self.phase is not Phase.RETIRING:
                    self._owner.push_heard(self, heard)  # type: ignore[arg-type]
        if session.error is not None:
            self.abort(session.error)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionResetError("closed by the node"))
        self._phases.go(Phase.CLOSED)
        self.closed.set_result(None)

    # -- inside ------------------------------------------------------------------------------------------

    def _opened(self, wire: Wire) -> None:
        self._wire = wire
        self._phases.go(Phase.LIVE)
        self._signs.heard_at = self._clock.monotonic()

    def _other_heard(self, heard: object) -> None:
        if isinstance(heard, Response):
            self._answer_heard(heard)
        elif isinstance(heard, NodeStatus):
            self._status_heard(heard)
        elif isinstance(heard, RawEmit):
            self._salvaged(heard)
        elif isinstance(heard, Push):
            self._owner.push_heard(self, heard)
        elif isinstance(heard, Unknown):
            self._complain(heard.kind, "it is of no known type")
        elif isinstance(heard, Skipped):
            self._skipped(heard)

    def _salvaged(self, emit: RawEmit) -> None:
        """Of an emit that does not decode, what could be kept: it goes where the others go."""
        if isinstance(emit, UnreadableEmit):
            self._complain(Kind.ROOM_EMIT, "its event cannot be told")
        deliver = self.rooms.get((emit.scope, emit.id))
        if deliver is not None:
            deliver(emit)
        elif self.phase is not Phase.RETIRING:
            self._owner.push_heard(self, emit)

    def _skipped(self, heard: Skipped) -> None:
        self._complain(heard.kind, heard.reason)
        if heard.body:
            dump_failed(heard.body)
        if heard.kind == Kind.ROOM_EMIT:
            self._owner.emit_lost(self)

    def _complain(self, kind: int, reason: str) -> None:
        self._useless += 1
        if is_worth_saying(self._useless):
            log.warning(
                "%s: skipped a frame of type %d (%d skipped so far): %s",
                self.address,
                kind,
                self._useless,
                reason,
            )

    def _answer_heard(self, response: Response) -> None:
        self._unasked = 0
        call = self._calls.pop(response.id, None)
        if call is None:
            return
        if isinstance(response.value, BodyError):
            dump_failed(response.value.body)
            call.failed(response.value)
        elif response.kind == Kind.ERROR:
            call.failed(from_wire(response.value))
        else:
            call.answered(response.value)
        self._close_if_done()

    def _status_heard(self, status: NodeStatus) -> None:
        self._owner.push_heard(self, status)
        if status.status in {"SHUTTING_DOWN", "OFFLINE"} and self.phase is Phase.LIVE:
            self._phases.go(Phase.LEAVING)
            self._owner.link_leaving(self)

    def _forget(self, request_id: int) -> None:
        self._session.forget(request_id)
        self._calls.pop(request_id, None)
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self.phase is Phase.RETIRING and not self._calls:
            self.close()

    def _end(self, reason: Exception) -> None:
        if self.loss is not None:
            return
        self._phases.go(Phase.LOST)
        self.loss = reason
        self.rooms.clear()
        if self._beat is not None:
            self._beat.cancel()
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.lost(self.address, reason)
        self._owner.link_lost(self, reason)

    async def _keep_alive(self) -> None:
        """Ping after silence, give up after more of it. Sleeps until the next moment that matters."""
        while True:
            await self._clock.sleep(max(0.0, self._signs.next_look() - self._clock.monotonic()))
            now = self._clock.monotonic()
            finding = self._signs.look(now)
            if finding is Finding.ASK:
                self.call(Kind.PING, timeout=None)
            elif finding is Finding.DEAD:
                silent = now - self.heard_at
                self.abort(ConnectionLostError(f"nothing was heard from {self.address} for {silent:.1f} s"))

    def _heart_stopped(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: the heartbeat failed", self.address, exc_info=error)
            self.abort(ConnectionLostError(f"the heartbeat failed: {error}"))
