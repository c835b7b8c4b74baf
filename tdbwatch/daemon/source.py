"""From rooms to the spool: events are minted here, and what tdbwatch has to say itself becomes records.

Nothing here waits: what a network read brings is gathered and handed to the spool in one piece.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from tdbwatch.client.hearing import IN_FLIGHT
from tdbwatch.client.rooms import RoomStatus, Subscription
from tdbwatch.clock import Clock
from tdbwatch.daemon.config import RoomConfig
from tdbwatch.plugin.event import Event, Kind, format_time
from tdbwatch.plugin.ids import IdMint
from tdbwatch.wire import RawEmit
from tdbwatch.wire.codec import encode
from tdbwatch.wire.scopes import short

_EVENT: Final = str(Kind.EVENT.value)  # looking into an enum takes longer than all the rest


class Source:
    """Gathers what the watched rooms hear and appends it to the spool, once per turn of the event loop."""

    def __init__(
        self,
        append: Callable[[Sequence[Event]], None],
        clock: Clock,
        on_record: Callable[[Kind, str, str, str, Mapping[str, Any]], None] = lambda *_: None,
    ) -> None:
        self.mint = IdMint(clock).mint
        self.received = 0
        """Events heard since the start."""
        self._append = append
        self._on_record = on_record
        self._gathered: list[Event] = []

    def take(self, event: Event) -> None:
        """Hand one event on, with all others of this turn."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self.flush)
        self._gathered.append(event)

    def flush(self) -> None:
        """Hand over what was gathered."""
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._append(gathered)

    def record(
        self, kind: Kind, event: str, scope: str, room: str, room_id: int | None, details: Mapping[str, Any]
    ) -> None:
        """A record of tdbwatch's own: a gap, a change of a room or of a node."""
        event_id, now_us = self.mint()
        self._on_record(kind, event, scope, room, details)
        self.take(Event(event_id, kind, now_us, scope, room, room_id, event, encode(dict(details))))


_SET_BACK: Final = "; the machine's clock was set back meanwhile"


class WatchedRoom:
    """A room of the configuration: its subscription's listener."""

    def __init__(self, config: RoomConfig, source: Source, clock: Clock) -> None:
        self.name = config.record_name
        self.required = config.required
        self.received = 0
        self.last_event_us: int | None = None
        self.scope = short(config.scope)
        key = next(k for k in (config.name, config.id, config.code) if k is not None)
        self.subscription = Subscription(key, config.scope, self)
        self._arg_names = config.args
        self._source = source
        self._clock = clock
        self._silent_since_us: int | None = None
        self._silent_reason = ""
        self._made_at = clock.time()
        self._log = structlog.get_logger("tdbwatch.rooms").bind(room=self.name, scope=self.scope)

    @property
    def is_joined(self) -> bool:
        return self.subscription.status is RoomStatus.JOINED

    def deliver(self, emit: RawEmit) -> None:
        """An event was heard."""
        source = self._source
        event_id, now_us = source.mint()
        source.received += 1
        self.received += 1
        self.last_event_us = now_us
        source.take(
            Event(
                event_id,
                _EVENT,
                now_us,
                self.scope,
                self.name,
                emit.id,
                emit.event,
                bytes(emit.args),
                self._arg_names,
            )
        )

    def room_joined(self, room_id: int) -> None:
        self._log.info("joined", room_id=room_id)
        self._changed("joined", room_id)

    def room_heard(self) -> None:
        if self._silent_since_us is not None:
            self._gap(self._silent_since_us)
            self._silent_since_us = None

    def room_deleted(self) -> None:
        self.silent("the room was deleted")
        self._changed("deleted", None)

    def room_unjoinable(self, error: Exception) -> None:
        self.silent(f"the room could not be joined: {error}")
        self._changed("unjoinable", None, reason=str(error))

    def room_unheard(self, reason: str, since: float) -> None:
        ago = self._clock.monotonic() - since + IN_FLIGHT
        self.silent(reason, self._clock.time() - ago)
        self._changed("unheard", None, reason=reason)

    @property
    def silent_since(self) -> float | None:
        """Since when events may be missed, in seconds since the Unix epoch; None: it is heard."""
        if self._silent_since_us is not None:
            return self._silent_since_us / 1e6
        return None if self.is_joined else self._made_at

    @property
    def silent_reason(self) -> str:
        """Why it is not heard; empty: it is, or never was since the start."""
        return "" if self._silent_since_us is None else self._silent_reason

    def silent(self, reason: str, since: float | None = None) -> None:
        """From now on, or from `since` (seconds since the Unix epoch), events may be missed."""
        if self._silent_since_us is None:
            self._silent_since_us = int((self._clock.time() if since is None else since) * 1_000_000)
            self._silent_reason = reason

    def _gap(self, since_us: int) -> None:
        until_us, reason = int(self._clock.time() * 1_000_000), self._silent_reason
        known = since_us <= until_us
        if not known:
            reason += _SET_BACK
        details = {
            "since": format_time(since_us) if known else None,
            "until": format_time(until_us),
            "reason": reason,
            "dropped": None,
        }
        seconds = round((until_us - since_us) / 1e6, 3) if known else None
        self._log.warning("events may have been missed", seconds=seconds, reason=reason)
        self._source.record(Kind.GAP, "gap", self.scope, self.name, self.subscription.id, details)

    def _changed(self, state: str, room_id: int | None, **details: Any) -> None:
        self._source.record(Kind.ROOM, state, self.scope, self.name, room_id, {"state": state, **details})
