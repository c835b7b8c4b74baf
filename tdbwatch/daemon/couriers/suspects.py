"""Entries that failed before, together or in another run, and what they go on with. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tdbwatch.daemon.couriers.parcel import Parcel, Room, room_of
from tdbwatch.daemon.couriers.settings import BatchLimits
from tdbwatch.daemon.retry import RetryPolicy
from tdbwatch.daemon.spool.api import Entry, Past
from tdbwatch.daemon.spool.window import weight


@dataclass(slots=True)
class _Group:
    """A parcel in the making."""

    parcel: Parcel
    size: int = 0

    def takes(self, entry: Entry, limits: BatchLimits) -> bool:
        """Whether it has room for this entry, which is in it then. One always fits."""
        entries, size = self.parcel.entries, self.size + weight(entry.event)
        if entries and (len(entries) >= limits.count or size > limits.max_bytes):
            return False
        entries.append(entry)
        self.size = size
        return True


class Suspects:
    """By seq, what became of entries so far. Those that share one past go together, all others alone."""

    def __init__(self) -> None:
        self._pasts: dict[int, Parcel] = {}
        self._remembered: dict[int, Parcel] = {}  # failed before a restart; not read again yet

    def __contains__(self, seq: int) -> bool:
        return seq in self._pasts

    def among(self, entries: Iterable[Entry]) -> bool:
        """Whether any of these is one."""
        return bool(self._pasts) and any(entry.seq in self._pasts for entry in entries)

    def remember(self, failed: Mapping[int, Past], now: float, now_us: int, policy: RetryPolicy) -> None:
        """Entries that failed before a restart; `now` is the monotonic clock, `now_us` the wall's.

        What failed together then goes together once more: why it did, the history does not tell. Unless that
        is its last attempt: then one poison event would take all others with it.
        """
        companies: dict[tuple[int, int], Parcel] = {}
        for seq, past in failed.items():
            age = max(0, now_us - past.first_us) / 1e6  # the wall clock may have been set back
            own = Parcel(
                [], past.attempts, now - age, past.first_us, past.first_error, past.last_error, due=now
            )
            if len(past.company) > 1 and not policy.exhausted(past.attempts + 1, age):
                own = companies.setdefault((past.attempts, past.company[0]), own)
                own.first_errors[seq] = past.first_error
            self._remembered[seq] = own

    def read(self, entries: Sequence[Entry], position: int) -> None:
        """These were read from the spool, up to `position`."""
        if not self._remembered:
            return
        for entry in entries:
            if (past := self._remembered.pop(entry.seq, None)) is not None:
                self._pasts[entry.seq] = past
        if self._remembered and position >= max(self._remembered):
            self._remembered.clear()  # dropped, or not for this sink any more

    def keep(self, parcel: Parcel, entries: Iterable[Entry]) -> None:
        """These were in the parcel, but not tried the last time: they go together again."""
        past = parcel.split_off([])
        past.attempts -= 1
        self._pasts.update((entry.seq, past) for entry in entries)

    def part(self, parcel: Parcel, entries: Iterable[Entry]) -> None:
        """These were in the parcel: from now on each goes alone."""
        self._pasts.update((entry.seq, parcel.split_off([])) for entry in entries)

    def gather(self, entries: Iterable[Entry], limits: BatchLimits) -> tuple[list[Parcel], list[Entry]]:
        """Parcels of what comes first in its room, and what stays behind that.

        Args:
            entries: all that is queued of rooms with suspects, oldest first. What is older than a suspect of
                its room was tried, too, even if nobody knows of it any more, so it is treated alike.
        """
        groups: dict[Parcel | None, _Group] = {}
        holders: dict[Room, _Group | None] = {}
        parcels: list[Parcel] = []
        behind: list[Entry] = []
        for entry in entries:
            room, past = room_of(entry), self._pasts.get(entry.seq)
            group = groups.get(past)
            if room in holders:
                if group is None or holders[room] is not group or not group.takes(entry, limits):
                    holders[room] = None
                    behind.append(entry)
                    continue
            elif group is None or not group.takes(entry, limits):
                group = groups[past] = _Group(past.split_off([]) if past is not None else Parcel([]))
                group.takes(entry, limits)
                parcels.append(group.parcel)
            holders.setdefault(room, group)
            self._pasts.pop(entry.seq, None)
        return parcels, behind
