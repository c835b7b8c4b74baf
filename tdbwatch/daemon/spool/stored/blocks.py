"""Runs and blocks: events as they travel into the log, lie in it, and come out again. Pure.

A *run* is what one room heard in one turn of the event loop: the events share all but name and arguments,
and their ids follow each other. A *block* is some runs of one lane in a row: one row of the log.
"""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.plugin.batch import json_lines, lines_of, middles_of
from tdbwatch.plugin.event import Event, Header, Kind
from tdbwatch.plugin.ids import has_room_for, ids_from, packed_id


class Lane(NamedTuple):
    """What keeps its order: events, gaps and other records of one room together."""

    scope: str
    room: str


NOWHERE: Final = Lane("", "")
"""The lane of records that are about no room."""


class Run(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Events of one lane that were received together.

    Attributes:
        id: the first one's UUIDv7, as 16 bytes; those of the others follow it (`plugin.ids.ids_from`).
        received_us: when they were received, in microseconds since the Unix epoch.
        events: their names.
        payloads: MessagePack: of each the array of arguments, or, of other kinds, the map of details.
        held: the routes that hold them back, as `Rule.key` says them.
        hops: as `Event.hops`.
        marks: what these and other routes remember of them; for the commit, and not in the block.
        to: sinks that get them whatever the routes say.
        packed_fields: MessagePack: the fields that they have whatever the routes set; empty: none.
    """

    id: bytes
    received_us: int
    kind: str
    room_id: int | None
    arg_names: tuple[str, ...]
    events: list[str]
    payloads: list[msgspec.Raw]
    held: tuple[str, ...] = ()
    hops: int = 0
    marks: tuple[Mark, ...] = ()
    to: tuple[str, ...] = ()
    packed_fields: bytes = b""

    @property
    def ids(self) -> Iterator[str]:
        return ids_from(self.id, len(self.events))

    def unpacked(self, lane: Lane) -> list[Event]:
        """The events, one by one.

        Raises:
            ValueError: so many ids do not follow the first; never, if it is `sound`.
        """
        us, kind, room_id, names = self.received_us, self.kind, self.room_id, self.arg_names
        scope, room = lane
        if self.held or self.hops or self.to or self.packed_fields:
            own = {"held": self.held, "hops": self.hops, "to": self.to, "packed_fields": self.packed_fields}
            bare = replace(self, held=(), hops=0, to=(), packed_fields=b"").unpacked(lane)
            return [replace(event, **own) for event in bare]
        return [
            Event(event_id, kind, us, scope, room, room_id, event, bytes(payload), names)
            for event_id, event, payload in zip(self.ids, self.events, self.payloads, strict=True)
        ]

    def headers(self, lane: Lane) -> list[Header]:
        """The header of each event: one for all of a name."""
        made = {name: Header(self.kind, self.received_us, *lane, name) for name in set(self.events)}
        return [made[name] for name in self.events]

    def middles(self, lane: Lane) -> Sequence[str | None]:
        """What each record is made around, if it can be made without the event."""
        if self.hops or self.packed_fields:
            return [None] * len(self.events)
        return middles_of(self.kind, self.received_us, *lane, self.room_id, self.arg_names, self.events)


Heard = tuple[Lane, Run]
"""What one room heard in one turn."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Run]).decode
_EVENT_BYTES: Final = 450
"""What an event takes in memory once it is rendered, beside what it says, and what a block takes itself."""
_TIMES: Final = 3
"""How often memory has what an event says: in the block's body, its run, its record."""
_COUNTER_BIT: Final = 64
"""Where the counter begins that tells ids of a run apart (`plugin.ids`)."""
MOST_SEQ: Final = 1 << 53
"""No log comes so far: a number like this is one whose bits have flipped."""
END_OF_TIME_US: Final = 253_402_300_800_000_000
"""The year 10,000: no calendar goes further."""
SQUEEZED: Final = b"\x78"
_MADE: Final = frozenset({Kind.GROUP, Kind.ABSENCE})
"""Kinds of records that routes make, with fields of their own; those of others the routes set anew."""
_SMALL: Final = 16
_MEDIUM: Final = 1 << 16


def heard(events: Iterable[Event]) -> list[Heard]:
    """Each of these events as a run of its own, in order."""
    return [(Lane(event.scope, event.room), run_of(event)) for event in events]


def run_of(event: Event) -> Run:
    """A run of this one event."""
    return Run(
        packed_id(event.id),
        event.received_us,
        str(event.kind),
        event.room_id,
        event.arg_names,
        [event.event],
        [msgspec.Raw(event.payload)],
        event.held,
        event.hops,
        (),
        event.to,
        event.packed_fields if event.kind in _MADE else b"",
    )


def part_of(run: Run, start: int, stop: int, **changed: Any) -> Run:
    """Some neighbouring events of a run."""
    first_id = (int.from_bytes(run.id, "big") + (start << _COUNTER_BIT)).to_bytes(16, "big")
    events, payloads = run.events[start:stop], run.payloads[start:stop]
    return replace(run, id=first_id, events=events, payloads=payloads, **changed)


def halves(run: Run) -> tuple[Run, Run]:
    """A run of several events as two."""
    middle = len(run.events) // 2
    return part_of(run, 0, middle), part_of(run, middle, len(run.events))


def encode_run(run: Run) -> bytes:
    """One run, as `pack` takes it."""
    return _encode(run if not run.marks else replace(run, marks=()))


def pack(runs: Sequence[bytes]) -> bytes:
    """The body of a block: a MessagePack array of runs."""
    size = len(runs)
    if size < _SMALL:
        head = bytes((0x90 | size,))
    elif size < _MEDIUM:
        head = b"\xdc" + size.to_bytes(2, "big")
    else:
        head = b"\xdd" + size.to_bytes(4, "big")
    return b"".join((head, *runs))


def squeeze(body: bytes) -> bytes:
    """The body as it lies in the file when the disk is slower than what comes: a fraction of its bytes."""
    return zlib.compress(body, 1)


def unsqueeze(stored: bytes) -> bytes:
    """The body of a block as it lies in the file, squeezed or not: the first byte tells.

    Raises:
        ValueError: it is damaged.
    """
    if stored[:1] != SQUEEZED:
        return stored
    try:
        return zlib.decompress(stored)
    except zlib.error as error:
        raise ValueError(f"a squeezed block does not open: {error}") from error


def unpack(body: bytes) -> list[Run]:
    """The runs of a block's body.

    Raises:
        ValueError: it is none.
    """
    return _decode(body)


def sound(run: Run) -> bool:
    """Whether a run that was decoded makes sense: its events can be made, and shown."""
    return (
        0 < len(run.events) == len(run.payloads)
        and len(run.id) == 16
        and has_room_for(run.id, len(run.events))
        and 0 <= run.received_us < END_OF_TIME_US
    )


@dataclass(slots=True, weakref_slot=True, eq=False, repr=False)
class Block:
    """Some entries in a row, all of one lane.

    Whatever is made of the body raises `ValueError` where that does not decode, or has not as many events as
    it should: the file is damaged.

    Attributes:
        first_seq: the number of the first; the others follow without a hole.
        target: the only sink that gets them (a replay or a requeue); None: every sink.
        body: the runs (`unpack`).
    """

    first_seq: int
    count: int
    lane: Lane
    target: str | None
    body: bytes
    _runs: list[Run] | None = None
    _events: list[Event] | None = None
    _lines: list[bytes] | None = None
    _sizes: list[int] | None = None

    def __repr__(self) -> str:
        return f"<Block {self.first_seq}-{self.last_seq} {self.lane.scope} {self.lane.room}>"

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.count - 1

    @property
    def seqs(self) -> range:
        return range(self.first_seq, self.first_seq + self.count)

    @property
    def weight(self) -> int:
        """Bytes that it takes in memory once its records are made, roughly."""
        return _TIMES * len(self.body) + _EVENT_BYTES * (self.count + 1)

    # What follows is made once for all who read it: the runs, and, each only if somebody wants it, the
    # events and the records. Two sinks may make the same in their threads: nothing comes of it but work.

    @property
    def runs(self) -> list[Run]:
        runs = self._runs  # looked at once: another thread may let go of them
        if runs is None:
            runs = unpack(self.body)
            if not all(map(sound, runs)) or sum([len(run.events) for run in runs]) != self.count:
                raise ValueError(f"the entries {self.first_seq} to {self.last_seq} make no sense")
            self._runs = runs
        return runs

    @property
    def events(self) -> list[Event]:
        """Its events."""
        if self._events is None:
            self._events = [event for run in self.runs for event in run.unpacked(self.lane)]
            self._runs = None  # all that is asked for mostly follows from the events
        return self._events

    @property
    def lines(self) -> list[bytes]:
        """What `Event.json` says of each event. Where it can be, it is made without the events."""
        if self._lines is None:
            if self._events is not None:
                self._lines = json_lines(self._events)
            else:
                runs = self.runs
                lines = lines_of(
                    [one for run in runs for one in run.ids],
                    [one for run in runs for one in run.middles(self.lane)],
                    [one for run in runs for one in run.payloads],
                )
                self._lines = [
                    self.events[index].json() if line is None else line for index, line in enumerate(lines)
                ]
        return self._lines

    @property
    def headers(self) -> Sequence[Header | Event]:
        """The header of each event; the event itself, where it is made."""
        if self._events is not None:
            return self._events
        return [header for run in self.runs for header in run.headers(self.lane)]

    @property
    def sizes(self) -> list[int]:
        """Bytes of each event: its payload and its name."""
        if self._sizes is None:
            each = [zip(run.payloads, run.events, strict=True) for run in self.runs]
            self._sizes = [len(payload) + len(name) for payload, name in chain.from_iterable(each)]
        return self._sizes

    @property
    def names(self) -> list[tuple[str, str]]:
        """The kind and the name of each event."""
        return [(run.kind, name) for run in self.runs for name in run.events]

    @property
    def distinct_names(self) -> set[tuple[str, str]]:
        """The same, each once: few, so whoever asks for each of these asks seldom."""
        return {(run.kind, name) for run in self.runs for name in set(run.events)}

    def received_us(self, seq: int) -> int:
        """When one of its entries was received, in microseconds since the Unix epoch."""
        left = seq - self.first_seq
        if self._events is not None:
            return self._events[left].received_us
        for run in self.runs:
            if left < len(run.events):
                return run.received_us
            left -= len(run.events)
        raise IndexError(seq)

    def some(self, seqs: Sequence[int]) -> list[Event]:
        """The events with these numbers, which are in order; those of others are not made for it."""
        if (events := self._events) is not None:
            return [events[seq - self.first_seq] for seq in seqs]
        found: list[Event] = []
        start, wanted = self.first_seq, deque(seqs)
        for run in self.runs:
            end = start + len(run.events)
            while wanted and wanted[0] < end:
                at = wanted.popleft() - start
                found += part_of(run, at, at + 1).unpacked(self.lane)
            start = end
        return found

    def numbered(self) -> Iterable[tuple[int, Event]]:
        """Its events with their numbers."""
        return zip(self.seqs, self.events, strict=True)
