"""From rooms to the spool: what was heard becomes runs, and what tdbwatch has to say itself records.

Nothing here waits. What a room hears is only kept, undecoded; once in each turn of the event loop all of it
becomes one run for each room, with one time and ids in a row.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import msgspec
import structlog

from tdbwatch.client.hearing import IN_FLIGHT
from tdbwatch.client.rooms import RoomStatus, Subscription
from tdbwatch.clock import Clock
from tdbwatch.daemon.config import RoomConfig
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, Run
from tdbwatch.plugin.event import Kind, format_time
from tdbwatch.plugin.ids import IdMint
from tdbwatch.redaction import presentable
from tdbwatch.wire import RawEmit
from tdbwatch.wire.codec import encode
from tdbwatch.wire.scopes import short

_EVENT: Final = str(Kind.EVENT.value)
_room_id = attrgetter("id")
_LONGEST_NAME: Final = 100
"""Characters of a record's event: a node says its status itself."""


class Source:
    """Gathers what the watched rooms hear and appends it to the spool, once per turn of the event loop."""

    def __init__(
        self,
        append: Callable[[Sequence[Heard]], None],
        clock: Clock,
        on_record: Callable[[Kind, str, str, str, Mapping[str, Any]], None] = lambda *_: None,
    ) -> None:
        self.received = 0
        """Events heard since the start, as of the last turn."""
        self._mint = IdMint(clock).mint_run
        self._append = append
        self._on_record = on_record
        self._listening: list[WatchedRoom] = []
        self._gathered: list[Heard] = []

    def has_news(self, room: "WatchedRoom") -> None:
        """The room has heard something, the first thing in this turn."""
        self._flush_soon()
        self._listening.append(room)

    def flush(self) -> None:
        """Hand over what was gathered."""
        self._gather()
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._append(gathered)

    def record(
        self, kind: Kind, event: str, scope: str, room: str, room_id: int | None, details: Mapping[str, Any]
    ) -> None:
        """A record of tdbwatch's own: a gap, a change of a room or of a node.

        What others say in it is made presentable here.
        """
        event = presentable(event, _LONGEST_NAME)
        details = {key: presentable(v) if isinstance(v, str) else v for key, v in details.items()}
        self._on_record(kind, event, scope, room, details)
        self._flush_soon()
        self._gather()  # what the room heard before comes first
        payload = msgspec.Raw(encode(details))
        first_id, _, now_us = self._mint(1)
        run = Run(first_id, now_us, str(kind.value), room_id, (), [event], [payload])
        self._gathered.append((Lane(scope, room), run))

    def _flush_soon(self) -> None:
        if not (self._listening or self._gathered):
            asyncio.get_running_loop().call_soon(self.flush)

    def _gather(self) -> None:
        rooms, self._listening = self._listening, []
        for room in rooms:
            heard = room.take_heard()
            self.received += len(heard)
            for room_id, emits in _by_room_id(heard):
                self._gathered += self._runs(room, room_id, emits)

    def _runs(self, room: "WatchedRoom", room_id: int, emits: Sequence[RawEmit]) -> Iterator[Heard]:
        done = 0
        while done < len(emits):
            first_id, count, now_us = self._mint(len(emits) - done)
            part = emits[done : done + count]
            done += count
            room.last_event_us = now_us
            names, payloads = [emit.event for emit in part], [emit.args for emit in part]
            yield room.lane, Run(first_id, now_us, _EVENT, room_id, room.arg_names, names, payloads)


def _by_room_id(emits: list[RawEmit]) -> list[tuple[int, list[RawEmit]]]:
    """Nearly always one: a room that was made anew has another id."""
    if len({emit.id for emit in emits}) == 1:
        return [(emits[0].id, emits)]
    return [(room_id, list(part)) for room_id, part in groupby(emits, _room_id)]


_SET_BACK: Final = "; the machine's clock was set back meanwhile"


class WatchedRoom:
    """A room of the configuration: its subscription's listener."""

    def __init__(self, config: RoomConfig, source: Source, clock: Clock) -> None:
        self.name = config.record_name
        self.required = config.required
        self.received = 0
        self.last_event_us: int | None = None
        self.scope = short(config.scope)
        self.lane = Lane(self.scope, self.name)
        self.arg_names = config.args
        key = next(k for k in (config.name, config.id, config.code) if k is not None)
        self.subscription = Subscription(key, config.scope, self)
        self._source = source
        self._clock = clock
        self._heard: list[RawEmit] = []
        self._silent_since_us: int | None = None
        self._silent_reason = ""
        self._made_at = clock.time()
        self._log = structlog.get_logger("tdbwatch.rooms").bind(room=self.name, scope=self.scope)

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
        self.received += len(heard)
        return heard

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
