"""Entries that wait for their turn only, and which of them go together. Pure."""

from collections.abc import Collection, Iterator, Sequence
from operator import attrgetter

from tdbwatch.daemon.couriers.parcel import Room, room_of
from tdbwatch.daemon.couriers.settings import BatchLimits
from tdbwatch.daemon.spool.api import Entry
from tdbwatch.daemon.spool.window import weigh, weight

_entry_seq = attrgetter("seq")


class Queue:
    """Oldest first.

    Attributes:
        since: when the first of them began to wait for company.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self.since = 0.0
        self._limits = limits
        self._entries: list[Entry] = []
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def oldest(self) -> Entry | None:
        return self._entries[0] if self._entries else None

    def extend(self, entries: Sequence[Entry]) -> None:
        """These are younger than all others."""
        self._entries.extend(entries)
        self._bytes += weigh(entries)

    def insert(self, entries: Sequence[Entry]) -> None:
        """Each at its place."""
        self._entries = sorted([*entries, *self._entries], key=_entry_seq)
        self._bytes += weigh(entries)

    def take_out(self, rooms: Collection[Room]) -> list[Entry]:
        """What there is of these rooms leaves the queue."""
        out: list[Entry] = []
        rest: list[Entry] = []
        for entry in self._entries:
            (out if room_of(entry) in rooms else rest).append(entry)
        if out:
            self._entries, self._bytes = rest, weigh(rest)
        return out

    def ripe_at(self, now: float) -> float | None:
        """When a batch may go, at the latest; None: there is none."""
        if not self._entries:
            return None
        full = len(self._entries) >= self._limits.count or self._bytes >= self._limits.max_bytes
        return now if full else max(now, self.since + self._limits.wait)

    def cut(self, now: float) -> list[Entry]:
        """The batch that goes now, if any does."""
        if self.ripe_at(now) != now:
            return []
        taken = self._entries[: self._fitting()]
        del self._entries[: len(taken)]
        self._bytes -= weigh(taken)
        self.since = now
        return taken

    def _fitting(self) -> int:
        """How many go together."""
        first = self._entries[: self._limits.count]
        if weigh(first) <= self._limits.max_bytes:
            return len(first)
        size = 0
        for index, entry in enumerate(first):
            size += weight(entry.event)
            if size > self._limits.max_bytes:
                return max(1, index)
        return len(first)
