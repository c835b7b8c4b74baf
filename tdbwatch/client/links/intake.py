"""What comes in on one link: events go to whoever takes their room's, all else to the link."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from tdbwatch.client.addresses import Address
from tdbwatch.client.fail_file import dump_failed
from tdbwatch.exceptions import ProtocolError
from tdbwatch.loggers import get_logger, is_worth_saying
from tdbwatch.wire import (
    DEFAULT_MAX_BODY,
    MAX_BEFORE_LOGIN,
    ClientSession,
    Emit,
    Kind,
    Push,
    RawEmit,
    Response,
    Skipped,
    Unknown,
    UnreadableEmit,
)

log = get_logger("tdbwatch.client")

PIECE: Final = 32 * 1024
"""Bytes that are decoded before any of it is delivered: so few events live at the same time that they stay in
the processor's cache, and the garbage collector is not called for them (docs/performance.md)."""

Deliver = Callable[[Any], None]
PushedKey = tuple[str | None, int]
"""A room's scope and id, as a push has them; old servers push no scope."""


class Others(Protocol):
    """Who gets what is no event that somebody takes."""

    def answer_heard(self, response: Response) -> None: ...

    def push_heard(self, push: Push) -> None: ...

    def stray_heard(self, emit: Emit | RawEmit) -> None:
        """An event of a room that nobody takes."""
        ...

    def emit_lost(self) -> None:
        """An event came of which not even the room can be told."""
        ...


class Intake:
    """Where a link's bytes come in.

    `rooms` maps (scope, id) to whoever takes that room's events; it is filled in the moment a JOIN is
    answered, since events may follow in the same breath.

    Attributes:
        error: why nothing more can be read; None: it can.
    """

    def __init__(self, address: Address, session: ClientSession, event_type: type, others: Others) -> None:
        self.rooms: dict[PushedKey, Deliver] = {}
        self.error: ProtocolError | None = None
        self._address = address
        self._session = session
        self._event_type = event_type
        self._others = others
        self._ended = False
        self._trusted = False
        self._unasked = 0
        self._useless = 0

    def trust(self) -> None:
        """The node took the login: from now on what it sends may be large."""
        self._trusted = True
        self._session.max_body = DEFAULT_MAX_BODY

    def end(self) -> None:
        """Nobody takes anything any more."""
        self._ended = True
        self.rooms.clear()

    def receive(self, data: bytes) -> None:
        """Take the next bytes. Look at `error` afterwards."""
        if not self._trusted:
            self._unasked += len(data)
            if self._unasked > MAX_BEFORE_LOGIN:
                what = f"{self._address} sent {self._unasked} bytes before it took the login"
                self.error = ProtocolError(what)
        for start in range(0, len(data), PIECE):
            if self._ended or self.error is not None:  # what was heard so far may have ended it
                break
            self._hear(data[start : start + PIECE])
            self.error = self._session.error

    def _hear(self, data: bytes) -> None:
        rooms, event_type = self.rooms, self._event_type
        scope = room_id = deliver = (
            None  # of the event before: most have the same, and looking up takes longer
        )
        for heard in self._session.receive(data):
            if type(heard) is not event_type:
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
                self._others.stray_heard(heard)  # type: ignore[arg-type]

    def _other_heard(self, heard: object) -> None:
        if isinstance(heard, Response):
            self._unasked = 0
            self._others.answer_heard(heard)
        elif isinstance(heard, RawEmit):
            self._salvaged(heard)
        elif isinstance(heard, Push):
            self._others.push_heard(heard)
        elif isinstance(heard, Unknown):
            self._complain(heard.kind, "it is of no known type")
        elif isinstance(heard, Skipped):
            self._skipped(heard)

    def _salvaged(self, emit: RawEmit) -> None:
        """Of an emit that does not decode, what could be kept: it goes where the others go."""
        if isinstance(emit, UnreadableEmit):
            self._complain(Kind.ROOM_EMIT, "its event cannot be told")
        self.rooms.get((emit.scope, emit.id), self._others.stray_heard)(emit)

    def _skipped(self, heard: Skipped) -> None:
        self._complain(heard.kind, heard.reason)
        if heard.body:
            dump_failed(heard.body)
        if heard.kind == Kind.ROOM_EMIT:
            self._others.emit_lost()

    def _complain(self, kind: int, reason: str) -> None:
        self._useless += 1
        if is_worth_saying(self._useless):
            log.warning(
                "%s: skipped a frame of type %d (%d skipped so far): %s",
                self._address,
                kind,
                self._useless,
                reason,
            )
