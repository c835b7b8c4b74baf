"""One live connection to one node."""

import asyncio
from enum import Enum
from typing import Any, Final, Protocol

from tdbwatch.client.addresses import Address
from tdbwatch.client.calls import Call
from tdbwatch.client.links.heartbeat import Finding, Heartbeat, SignsOfLife
from tdbwatch.client.links.intake import Deliver, Intake
from tdbwatch.client.links.outstanding import Outstanding
from tdbwatch.client.links.phases import Phases
from tdbwatch.client.transports import SslSetting, Wire, open_wire
from tdbwatch.clock import Clock
from tdbwatch.exceptions import ConnectionLostError, NotConnectedError
from tdbwatch.loggers import get_logger
from tdbwatch.wire import MAX_BEFORE_LOGIN, ClientSession, Emit, Kind, NodeStatus, Push, RawEmit, Response

log = get_logger("tdbwatch.client")

MAX_BACKLOG: Final = 64 * 1024 * 1024
"""Bytes written that a node may leave unread before further requests to it fail."""
CLOSE_TIMEOUT: Final = 2.0
"""Seconds that a node has to take the rest when a link is closed in order."""


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
    """A connection: its wire, its outstanding calls, what comes in, and where it stands.

    Attributes:
        rooms: who takes the events of which room (`Intake`).
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
        self.loss: Exception | None = None
        """Why the link is of no more use; None while it is."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends when its socket is closed, which may be a little later."""
        self._phases = Phases(TRANSITIONS, Phase.CONNECTING)
        self._owner = owner
        self._clock = clock
        self._signs = SignsOfLife(heartbeat, clock.monotonic())
        self._session = ClientSession(max_body=MAX_BEFORE_LOGIN, raw_events=raw_events)
        self._calls = Outstanding(address, self._session, self._close_if_done)
        self._intake = Intake(address, self._session, RawEmit if raw_events else Emit, self)
        self.rooms = self._intake.rooms
        self._wire: Wire | None = None
        self._beat: asyncio.Task[None] | None = None

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
        self._wire.write(self._calls.request(call))

    def trust(self) -> None:
        """The node took the login: from now on what it sends may be large."""
        self._intake.trust()
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
        if self.loss is not None:
            return
        ends_a_frame = self._session.completes(len(data))
        self._signs.bytes_came(len(data), self._clock.monotonic(), end_a_frame=ends_a_frame)
        self._intake.receive(data)
        if self._intake.error is not None:
            self.abort(self._intake.error)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionResetError("closed by the node"))
        self._phases.go(Phase.CLOSED)
        self.closed.set_result(None)

    # -- what the intake does not give to a room ---------------------------------------------------------

    def answer_heard(self, response: Response) -> None:
        self._calls.answered(response)

    def push_heard(self, push: Push) -> None:
        self._owner.push_heard(self, push)
        gone = isinstance(push, NodeStatus) and push.status in {"SHUTTING_DOWN", "OFFLINE"}
        if gone and self.phase is Phase.LIVE:
            self._phases.go(Phase.LEAVING)
            self._owner.link_leaving(self)

    def stray_heard(self, emit: Emit | RawEmit) -> None:
        if self.phase is not Phase.RETIRING:
            self._owner.push_heard(self, emit)

    def emit_lost(self) -> None:
        self._owner.emit_lost(self)

    # -- inside ------------------------------------------------------------------------------------------

    def _opened(self, wire: Wire) -> None:
        self._wire = wire
        self._phases.go(Phase.LIVE)
        self._signs.heard_at = self._clock.monotonic()

    def _close_if_done(self) -> None:
        if self.phase is Phase.RETIRING and not self._calls:
            self.close()

    def _end(self, reason: Exception) -> None:
        if self.loss is not None:
            return
        self._phases.go(Phase.LOST)
        self.loss = reason
        self._intake.end()
        if self._beat is not None:
            self._beat.cancel()
        self._calls.lost(reason)
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
