"""Entries that failed together, or before a restart: they go one by one, and go on counting. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from tdbwatch.daemon.couriers.parcel import Parcel
from tdbwatch.daemon.spool.api import Entry, Past


class Suspects:
    """By seq, what became of entries so far that are queued like others."""

    def __init__(self) -> None:
        self._pasts: dict[int, Parcel] = {}
        self._remembered: dict[int, Parcel] = {}  # failed before a restart; not read again yet

    def __bool__(self) -> bool:
        return bool(self._pasts)

    def __contains__(self, seq: int) -> bool:
        return seq in self._pasts

    def remember(self, failed: Mapping[int, Past], now: float, now_us: int) -> None:
        """Entries that failed before a restart; `now` is the monotonic clock, `now_us` the wall's."""
        for seq, past in failed.items():
            age = max(0, now_us - past.first_us) / 1e6  # the wall clock may have been set back
            self._remembered[seq] = Parcel(
                [], past.attempts, now - age, past.first_us, past.first_error, past.last_error
            )

    def read(self, entries: Sequence[Entry], position: int) -> None:
        """These were read from the spool, up to `position`."""
        if not self._remembered:
            return
        for entry in entries:
            if (past := self._remembered.pop(entry.seq, None)) is not None:
                self._pasts[entry.seq] = past
        if self._remembered and position >= max(self._remembered):
            self._remembered.clear()  # dropped, or not for this sink any more

    def keep(self, parcel: Parcel, entries: Iterable[Entry], attempts: int) -> None:
        """These were in the parcel: so many of its attempts were theirs, too."""
        past = parcel.split_off([])
        past.attempts = attempts
        self._pasts.update((entry.seq, past) for entry in entries)

    def parcel(self, entries: list[Entry]) -> Parcel:
        """A parcel of these; it has the past of the first one, which is alone if it has any."""
        past = self._pasts.pop(entries[0].seq, None)
        return past.split_off(entries) if past is not None else Parcel(entries)

    def fitting(self, entries: Sequence[Entry]) -> int:
        """How many of these may go together: a suspect goes alone."""
        indices = (index for index, entry in enumerate(entries) if entry.seq in self._pasts)
        return max(1, next(indices, len(entries)))
