"""What rooms heard and sinks took in each minute of the last hour. Pure.

Counters are looked at now and then, so no event costs anything; a room that hears nothing takes no memory.
"""

from array import array
from collections.abc import Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from tdbwatch.daemon.spool.stored.blocks import Lane

MINUTES: Final = 60
"""How far back it goes; the last one is not over yet."""
PACE: Final = 10.0
"""Seconds between two looks."""
_MOST: Final = 2**32 - 1


class Hour(NamedTuple):
    """One room or sink.

    Attributes:
        minutes: events by minute, the oldest first; empty: there were none.
        elapsed: which part of the last minute is over.
    """

    minutes: tuple[int, ...] = ()
    elapsed: float = 1.0

    @property
    def total(self) -> int:
        return sum(self.minutes)

    @property
    def per_minute(self) -> float:
        """How many come in a minute now: this one, and as much of the one before as it is short of."""
        if not self.minutes:
            return 0.0
        *_, before, now = self.minutes
        return before * (1 - self.elapsed) + now


QUIET: Final = Hour()


_Key = TypeVar("_Key")


class _Rings(Generic[_Key]):
    """Counts of the last minutes, by whatever is counted."""

    def __init__(self) -> None:
        self._seen: dict[_Key, int] = {}
        self._rings: dict[_Key, array[int]] = {}

    def take(self, minute: int, counters: Mapping[_Key, int]) -> None:
        """The counters are at this; what is not among them is forgotten."""
        for gone in self._seen.keys() - counters.keys():
            del self._seen[gone]
            self._rings.pop(gone, None)
        for key, count in counters.items():
            before = self._seen.get(key, 0)
            new = count - before if count >= before else count  # it began anew
            self._seen[key] = count
            if new:
                ring = self._rings.setdefault(key, array("I", bytes(4 * MINUTES)))
                ring[minute % MINUTES] = min(_MOST, ring[minute % MINUTES] + new)

    def begin(self, minutes: Iterable[int]) -> None:
        """These minutes begin: what stands in their places is an hour old."""
        for ring in self._rings.values():
            for minute in minutes:
                ring[minute % MINUTES] = 0

    def of(self, key: _Key, minute: int, elapsed: float) -> Hour:
        ring: array[int] | None = self._rings.get(key)
        if ring is None:
            return QUIET
        at = (minute + 1) % MINUTES
        return Hour((*ring[at:], *ring[:at]), elapsed)


class History:
    """The last hour of all rooms and sinks."""

    def __init__(self) -> None:
        self._rooms = _Rings[Lane]()
        self._sinks = _Rings[str]()
        self._minute: int | None = None
        self._elapsed = 1.0

    def take(self, seconds: float, rooms: Mapping[Lane, int], sinks: Mapping[str, int]) -> None:
        """Look at the counters.

        Args:
            seconds: when, by a clock that is never set back.
            rooms: events heard since the start.
            sinks: events taken since the start.
        """
        minute = int(seconds // 60)
        first = self._minute is None
        passed = range(max((self._minute or 0) + 1, minute - MINUTES + 1), minute + 1)
        for rings in (self._rooms, self._sinks):
            rings.begin(() if first else passed)
        self._rooms.take(minute, rooms)
        self._sinks.take(minute, sinks)
        self._minute, self._elapsed = minute, seconds % 60 / 60

    def room(self, scope: str, room: str) -> Hour:
        return self._rooms.of(Lane(scope, room), self._minute or 0, self._elapsed)

    def sink(self, name: str) -> Hour:
        return self._sinks.of(name, self._minute or 0, self._elapsed)


NO_HISTORY: Final = History()
