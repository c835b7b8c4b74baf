"""The newest entries, in memory: couriers that are caught up share them and never touch the disk."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice

from tdbwatch.daemon.spool.api import Entry
from tdbwatch.plugin.event import Event

OVERHEAD = 400
"""Bytes that an event takes in memory beside its payload and its name, roughly."""


def weight(event: Event) -> int:
    """The bytes that this event counts for, in memory and in batches."""
    return len(event.payload) + len(event.event) + OVERHEAD


def weights_of(events: Iterable[Event]) -> list[int]:
    """`weight` of each, without a call for each."""
    return [len(event.payload) + len(event.event) + OVERHEAD for event in events]


def weigh(entries: Sequence[Entry]) -> int:
    """The bytes that these entries count for together: `weight`, without a call for each."""
    sizes = [len((event := entry.event).payload) + len(event.event) for entry in entries]
    return sum(sizes) + OVERHEAD * len(entries)


class Window:
    """Entries from `start` on, without holes, bounded by their weight in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: list[Entry] = []
        self._ends: list[int] = []  # the weight of all entries up to and with this one, ever
        self._base = 0

    @property
    def start(self) -> int | None:
        """The first seq that is held; None when nothing is."""
        return self._entries[0].seq if self._entries else None

    def snapshot(self) -> list[Entry]:
        """What is held now. The only method that other threads may call."""
        return self._entries[:]

    def extend(self, entries: Sequence[Entry], weights: Sequence[int]) -> None:
        """Take the entries that follow; forget the oldest beyond the bound."""
        if not entries:
            return
        if self._entries and entries[0].seq != self._entries[-1].seq + 1:
            self.clear()
        total = self._ends[-1] if self._ends else self._base
        self._entries.extend(entries)
        self._ends.extend(islice(accumulate(weights, initial=total), 1, None))
        surplus = self._ends[-1] - self._base - self._max_bytes
        if surplus > self._max_bytes // 8:  # a slice now and then costs less than a few entries each time
            self._cut(bisect_right(self._ends, self._base + surplus) + 1)

    def forget(self, through: int) -> None:
        """Entries up to this seq are gone from the log."""
        if self._entries and through >= self._entries[0].seq:
            self._cut(through - self._entries[0].seq + 1)

    def clear(self) -> None:
        self._cut(len(self._entries))

    def read(self, after: int, limit: int, max_bytes: int) -> list[Entry] | None:
        """Entries after `after`; None when the first of them is not held."""
        start = self.start
        if start is None or after + 1 < start:
            return None
        first = after + 1 - start
        if first >= len(self._entries):
            return []
        before = self._ends[first - 1] if first else self._base
        fitting = bisect_right(self._ends, before + max_bytes, lo=first)
        return self._entries[first : min(max(fitting, first + 1), first + limit)]

    def _cut(self, count: int) -> None:
        count = min(count, len(self._entries))
        if count:
            self._base = self._ends[count - 1]
            del self._entries[:count], self._ends[:count]
