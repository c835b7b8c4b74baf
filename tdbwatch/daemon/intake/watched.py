"""The rooms of the configuration: each hears, and tells when it was not heard and what became of it."""

from typing import Any, Final

import structlog

from tdbwatch.client.rooms.hearing import IN_FLIGHT
from tdbwatch.client.rooms.subscriptions import RoomStatus, Subscription
from tdbwatch.client.words import words
from tdbwatch.clock import Clock
from tdbwatch.daemon.config import RoomConfig
from tdbwatch.daemon.intake.causes import Cause, Silence
from tdbwatch.daemon.intake.source import GapTimes, Source, Unreadable
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.exceptions import NodeError, RequestTimeoutError, ThingsDBError
from tdbwatch.plugin.event import Kind
from tdbwatch.wire import RawEmit, UnreadableEmit
from tdbwatch.wire.scopes import short

_NEVER_JOINED: Final = "it was not joined since the start"
_SET_BACK: Final = "; the machine's clock was set back meanwhile"


class WatchedRoom:
    """A room of the configuration: its subscription's listener."""

    def __init__(self, config: RoomConfig, source: Source, clock: Clock) -> None:
        self.made_at = clock.time()
        """When the daemon began to want it, in seconds since the Unix epoch."""
        self.received = 0
        self.last_event_us: int | None = None
        key = next(k for k in (config.name, config.id, config.code) if k is not None)
        self.subscription = Subscription(key, config.scope, self)
        self.silence: Silence | None = None
        """Why it is not heard; None: it is, or never was since the start."""
        self._source = source
        self._clock = clock
        self._heard: list[RawEmit] = []
        self._state: tuple[str, int | None, type[Exception] | None] = ("", None, None)
        self.configure(config)

    def configure(self, config: RoomConfig) -> None:
        """The room is the same, all else may be said otherwise now."""
        self.name = config.record_name
        self.required = config.required
        self.scope = short(config.scope)
        self.lane = Lane(self.scope, self.name)
        self.arg_names = config.arg_names
        """What the arguments of an event are called."""
        self.same_names = isinstance(config.args, tuple)
        """Whether they are called so whatever the event."""
        self._unreadable = Unreadable(self._source, self.lane, self._clock)
        self._log = structlog.get_logger("tdbwatch.rooms").bind(room=self.name, scope=self.scope)

    def end(self) -> None:
        """It is watched no more: what is missed from now on nobody asks for."""
        self._log.info("room.left")
        self.tell_of_unreadable()
        if self.silence is not None:
            self._gap(self.silence, self._clock.time())
            self.silence = None

    @property
    def is_joined(self) -> bool:
        return self.subscription.status is RoomStatus.JOINED

    def deliver(self, emit: RawEmit) -> None:
        """An event was heard."""
        if not self._heard:
            self._source.has_news(self)
        self._heard.append(emit)

    def take_heard(self) -> list[RawEmit]:
        """What was heard since this was called last."""
        heard, self._heard = self._heard, []
        if UnreadableEmit in set(map(type, heard)):
            count = len(heard)
            heard = [emit for emit in heard if type(emit) is not UnreadableEmit]
            self._unreadable.add(count - len(heard))
        self.received += len(heard)
        return heard

    def tell_of_unreadable(self) -> None:
        """Make a gap record of the events that could not be read since the last one."""
        self._unreadable.tell()

    # -- RoomListener ------------------------------------------------------------------------------------

    def room_joined(self, room_id: int) -> None:
        self._log.info("room.joined", room_id=room_id)
        self._changed("joined", room_id=room_id)

    def room_heard(self) -> None:
        if self.silence is not None:
            self._gap(self.silence, self._clock.time())
            self.silence = None

    def room_deleted(self) -> None:
        self.silent(Cause.ROOM, "the room was deleted")
        self._changed("deleted")

    def room_unjoinable(self, error: Exception) -> None:
        self.silent(cause_of(error), f"the room could not be joined: {words(error)}")
        self._changed("unjoinable", why=type(error), reason=words(error))

    def room_unheard(self, reason: str, since: float) -> None:
        ago = self._clock.monotonic() - since + IN_FLIGHT
        gone = self.subscription.status in {RoomStatus.DELETED, RoomStatus.MISSING}
        cause = Cause.ROOM if gone else Cause.CONNECTION
        self.silent(cause, reason, self._clock.time() - ago)
        self._changed("unheard", reason=reason)

    # -- silence -----------------------------------------------------------------------------------------

    @property
    def silence_now(self) -> Silence | None:
        """Since when events may be missed, and why; None: it is heard."""
        if self.silence is not None or self.is_joined:
            return self.silence
        return Silence(self.made_at, Cause.DOWNTIME, _NEVER_JOINED)

    def silent(self, cause: Cause, reason: str, since: float | None = None) -> None:
        """From now on, or from `since` (seconds since the Unix epoch), events may be missed.

        Where they were already, for another cause, that gap ends here: each has its own.
        """
        since = self._clock.time() if since is None else since
        if self.silence is not None:
            if self.silence.cause is cause:
                return
            since = max(since, self.silence.since)
            self._gap(self.silence, since)
        self.silence = Silence(since, cause, reason)

    def _gap(self, silence: Silence, until: float) -> None:
        reason = silence.reason
        known = silence.since <= until
        if not known:
            reason += _SET_BACK
        times = GapTimes(int(silence.since * 1e6) if known else None, int(until * 1e6))
        seconds = round(until - silence.since, 3) if known else None
        self._log.warning("gap.recorded", seconds=seconds, cause=silence.cause.value, reason=reason)
        self._source.gap(self.lane, times, silence.cause, reason, room_id=self.subscription.id)

    def _changed(
        self, state: str, *, room_id: int | None = None, why: type[Exception] | None = None, **details: Any
    ) -> None:
        """Make a record of its new state; the same one again, for the same kind of reason, is no change."""
        if (new := (state, room_id, why)) != self._state:
            self._state = new
            self._source.record(Kind.ROOM, state, self.lane, room_id, {"state": state, **details})


def cause_of(error: Exception) -> Cause:
    """Whether the room is at fault, or the node that cannot let it be joined now."""
    answered = isinstance(error, ThingsDBError) and not isinstance(error, NodeError | RequestTimeoutError)
    return Cause.ROOM if answered else Cause.CONNECTION
