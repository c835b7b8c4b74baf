"""Entries that go to a sink together, and those that wait for another attempt. Pure."""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import ceil
from operator import attrgetter

from tdbwatch.daemon.spool.api import Entry
from tdbwatch.plugin.outcome import Retry

Room = tuple[str, str]
Wait = tuple[list[Entry], float]
"""Entries that wait for another attempt, and for how long or until when, in seconds."""
_by_seq = attrgetter("first_seq")
_entry_seq = attrgetter("seq")


def room_of(entry: Entry) -> Room:
    """What keeps its order: events, gaps and other records of one room together."""
    return entry.event.scope, entry.event.room


def by_wait(pairs: Iterable[tuple[Entry, Retry]], most: float) -> list[Wait]:
    """What is to wait equally long, with the seconds that the sink named, 0 for none; rooms stay whole.

    Equally long means to the second: a sink that names times a moment apart still gets its events together.
    """
    rooms: dict[Room, list[Entry]] = {}
    waits: dict[Room, float] = {}
    for entry, retry in pairs:
        room = room_of(entry)
        rooms.setdefault(room, []).append(entry)
        after = min(retry.after, most) if retry.after is not None and retry.after > 0 else 0.0
        waits[room] = max(waits.get(room, 0.0), after)
    parts: dict[int, Wait] = {}
    for room, after in waits.items():
        entries, seconds = parts.get(ceil(after), ([], 0.0))
        parts[ceil(after)] = (sorted([*entries, *rooms[room]], key=_entry_seq), max(seconds, after))
    return list(parts.values())


@dataclass(slots=True, eq=False)
class Parcel:
    """Entries that go to the sink together, and what became of them so far.

    Attributes:
        attempts: made with these entries.
        first_at: when the first attempt was made, by the monotonic clock without pauses.
        due: no attempt before this time, by the monotonic clock; at first since when it may go.
        first_errors: by seq, where the first failure was not the same for all; shared with what is split off.
    """

    entries: list[Entry]
    attempts: int = 0
    first_at: float = 0.0
    first_us: int = 0
    first_error: str = ""
    last_error: str = ""
    due: float = 0.0
    first_errors: dict[int, str] = field(default_factory=dict)

    @property
    def first_seq(self) -> int:
        return self.entries[0].seq

    def rooms(self) -> set[Room]:
        return {room_of(entry) for entry in self.entries}

    def split_off(self, entries: list[Entry]) -> "Parcel":
        """A parcel of some of the entries, with the same past."""
        return replace(self, entries=entries)


@dataclass(slots=True)
class Waiting:
    """Parcels that wait for another attempt: thousands, when each room has an event that the sink refuses."""

    _by_seq: list[Parcel] = field(default_factory=list)
    _by_due: list[tuple[float, int, Parcel]] = field(default_factory=list)  # a heap

    def __len__(self) -> int:
        return len(self._by_seq)

    def __iter__(self) -> Iterator[Parcel]:
        return iter(self._by_seq)

    @property
    def oldest(self) -> Parcel | None:
        """The one with the oldest entry."""
        return self._by_seq[0] if self._by_seq else None

    @property
    def next_due(self) -> float | None:
        """When the first of them is due."""
        return self._by_due[0][0] if self._by_due else None

    def add(self, parcel: Parcel) -> None:
        insort(self._by_seq, parcel, key=_by_seq)
        heapq.heappush(self._by_due, (parcel.due, parcel.first_seq, parcel))

    def hasten(self, now: float) -> None:
        """All are due."""
        for parcel in self._by_seq:
            parcel.due = min(parcel.due, now)
        self._by_due = [(parcel.due, parcel.first_seq, parcel) for parcel in self._by_seq]
        heapq.heapify(self._by_due)

    def take(self, now: float, *, least_tried: bool = False) -> Parcel | None:
        """The one that is due for the longest, or, of all that are due, the one that was tried least."""
        if not self._by_due or self._by_due[0][0] > now:
            return None
        if least_tried:
            due = [item for item in self._by_due if item[0] <= now]
            item = min(due, key=lambda item: (item[2].attempts, item))
            self._by_due.remove(item)
            heapq.heapify(self._by_due)
        else:
            item = heapq.heappop(self._by_due)
        del self._by_seq[bisect_left(self._by_seq, item[1], key=_by_seq)]
        return item[2]
