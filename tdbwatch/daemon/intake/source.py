"""From rooms to the spool: what was heard becomes runs, and what tdbwatch has to say itself records.

Nothing here waits. What a room hears is only kept, undecoded; once in each turn of the event loop all of it
becomes one run for each room, with one time and ids in a row.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from tdbwatch.clock import Clock
from tdbwatch.daemon.holding.state import Told
from tdbwatch.daemon.hosting.echoes import Echoes
from tdbwatch.daemon.intake.causes import Cause
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, Run
from tdbwatch.plugin.event import Kind, format_time
from tdbwatch.plugin.ids import IdMint
from tdbwatch.redaction import presentable
from tdbwatch.wire import RawEmit
from tdbwatch.wire.codec import encode
from tdbwatch.wire.salvage import DEEP, readable

if TYPE_CHECKING:
    from tdbwatch.daemon.intake.watched import WatchedRoom

_EVENT: Final = str(Kind.EVENT.value)
_room_id = attrgetter("id")
_UNREADABLE: Final = (
    "events that came do not decode; whoever emits them sends what is no MessagePack, or no event"
)
_LONGEST_NAME: Final = 100
"""Characters of a record's event: a node says its status itself."""


class GapTimes(NamedTuple):
    """When events were missed, in microseconds since the Unix epoch; `since` may be unknown."""

    since_us: int | None
    until_us: int

    def formatted(self) -> dict[str, str | None]:
        """As records have it."""
        since = None if self.since_us is None else format_time(self.since_us)
        return {"since": since, "until": format_time(self.until_us)}


class Source:
    """Gathers what the watched rooms hear and appends it to the spool, once per turn of the event loop."""

    def __init__(
        self,
        append: Callable[[Sequence[Heard]], None],
        clock: Clock,
        on_record: Callable[[Kind, str, str, str, Mapping[str, Any]], None] = lambda *_: None,
        echoes: Echoes | None = None,
    ) -> None:
        self.received = 0
        """Events heard since the start, as of the last turn."""
        self._mint = IdMint(clock).mint_run
        self._append = append
        self._on_record = on_record
        self._echoes = echoes or Echoes(clock)
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

    def gap(
        self,
        lane: Lane,
        times: GapTimes,
        cause: Cause,
        reason: str,
        *,
        dropped: int | None = None,
        room_id: int | None = None,
    ) -> None:
        """Make a record of events that were missed, or dropped."""
        details = {**times.formatted(), "cause": cause.value, "reason": reason, "dropped": dropped}
        self.record(Kind.GAP, "gap", lane, room_id, details)

    def record(
        self, kind: Kind, event: str, lane: Lane, room_id: int | None, details: Mapping[str, Any]
    ) -> None:
        """A record of tdbwatch's own: a gap, a change of a room or of a node.

        What others say in it is made presentable here.
        """
        event = presentable(event, _LONGEST_NAME)
        details = _presentable(details)
        self._on_record(kind, event, *lane, details)
        self._flush_soon()
        self._gather()  # what the room heard before comes first
        self._gathered.append((lane, self._made(kind, event, room_id, details)))

    def told(self, told: Told) -> Heard:
        """What routes tell of the events that they remember, as a record; it is not kept here."""
        run = self._made(told.kind, told.event, None, _presentable(told.details))
        fields = encode(dict(told.fields)) if told.fields else b""
        return told.lane, replace(run, to=tuple(told.to), packed_fields=fields)

    def _made(self, kind: Kind, event: str, room_id: int | None, details: Mapping[str, Any]) -> Run:
        payload = msgspec.Raw(encode(details))
        first_id, _, now_us = self._mint(1)
        return Run(first_id, now_us, str(kind.value), room_id, (), [event], [payload])

    def _flush_soon(self) -> None:
        if not (self._listening or self._gathered):
            asyncio.get_running_loop().call_soon(self.flush)

    def _gather(self) -> None:
        rooms, self._listening = self._listening, []
        for room in rooms:
            heard = room.take_heard()
            self.received += len(heard)
            for room_id, arg_names, emits in _alike(room, heard):
                self._gathered += self._runs(room, room_id, arg_names, emits)

    def _runs(
        self, room: "WatchedRoom", room_id: int, arg_names: tuple[str, ...], emits: Sequence[RawEmit]
    ) -> Iterator[Heard]:
        done = 0
        while done < len(emits):
            first_id, count, now_us = self._mint(len(emits) - done)
            part = emits[done : done + count]
            done += count
            room.last_event_us = now_us
            names, payloads = [emit.event for emit in part], [emit.args for emit in part]
            if max(map(len, payloads)) > DEEP:
                payloads = list(map(readable, payloads))
            run = Run(first_id, now_us, _EVENT, room_id, arg_names, names, payloads)
            for same in self._echoes.marked(room.lane, room.subscription, run):
                yield room.lane, same


def _presentable(details: Mapping[str, Any]) -> dict[str, Any]:
    return {key: presentable(value) if isinstance(value, str) else value for key, value in details.items()}


def _alike(room: "WatchedRoom", emits: list[RawEmit]) -> list[tuple[int, tuple[str, ...], list[RawEmit]]]:
    """What has one room id and one list of names for the arguments; nearly always all of it.

    A room that was made anew has another id.
    """
    if not emits:
        return []
    names = room.arg_names
    if room.same_names and len(set(map(_room_id, emits))) == 1:
        return [(emits[0].id, names(emits[0].event), emits)]
    parts = groupby(emits, lambda emit: (emit.id, names(emit.event)))
    return [(*key, list(part)) for key, part in parts]


class Unreadable:
    """Counts the events of a room that could not be read, and makes one gap record of many."""

    def __init__(self, source: Source, lane: Lane, clock: Clock) -> None:
        self._source = source
        self._lane = lane
        self._clock = clock
        self._count = 0
        self._since_us = 0

    def add(self, count: int) -> None:
        """So many more came."""
        if not self._count:
            self._since_us = self._now()
        self._count += count

    def tell(self) -> None:
        """Make the record, if there is something to say."""
        count, self._count = self._count, 0
        if count:
            times = GapTimes(self._since_us, self._now())
            self._source.gap(self._lane, times, Cause.UNREADABLE, _UNREADABLE, dropped=count)

    def _now(self) -> int:
        return int(self._clock.time() * 1_000_000)
