"""What is under way to one sink, and what may go next. Pure: it sends nothing and reads no clock.

The rule it keeps: events of one room go in order. While a parcel is in flight, or waits for another attempt,
the events of its rooms that come after it stay in the queue; other rooms go on.
"""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from tdbwatch.daemon.couriers.settings import BatchLimits
from tdbwatch.daemon.spool.api import Entry, Past
from tdbwatch.daemon.spool.window import weigh, weight

Room = tuple[str, str]
_by_seq = attrgetter("first_seq")
_entry_seq = attrgetter("seq")
_by_attempts = attrgetter("attempts")


@dataclass(slots=True, eq=False)
class Parcel:
    """Entries that go to the sink together, and what became of them so far.

    Attributes:
        attempts: made with these entries.
        first_at: when the first attempt was made, by the monotonic clock.
        due: no attempt before this time, by the monotonic clock.
    """

    entries: list[Entry]
    attempts: int = 0
    first_at: float = 0.0
    first_us: int = 0
    first_error: str = ""
    last_error: str = ""
    due: float = 0.0

    @property
    def first_seq(self) -> int:
        return self.entries[0].seq

    def rooms(self) -> set[Room]:
        return {(entry.event.scope, entry.event.room) for entry in self.entries}

    def split_off(self, entries: list[Entry]) -> "Parcel":
        """A parcel of some of the entries, with the same past."""
        return Parcel(
            entries, self.attempts, self.first_at, self.first_us, self.first_error, self.last_error, self.due
        )


class Ledger:
    """The unfinished entries of one sink: queued, waiting for another attempt, or in flight."""

    def __init__(self, position: int, limits: BatchLimits, *, max_in_flight: int, max_ahead: int) -> None:
        self.position = position
        """The last entry that was read from the spool."""
        self._limits = limits
        self._max_in_flight = max_in_flight
        self._max_ahead = max_ahead
        self._queue: list[Entry] = []
        self._queue_bytes = 0
        self._queued_since = 0.0
        self._waiting: list[Parcel] = []
        self._in_flight: list[Parcel] = []
        self._remembered: dict[int, Parcel] = {}  # failed before a restart; not read again yet
        self._suspects: dict[int, Parcel] = {}  # failed together as the parcel did, and go one by one now

    @property
    def cursor(self) -> int:
        """All entries up to this one are finished."""
        firsts = [parcel.first_seq for parcel in (*self._waiting, *self._in_flight)]
        if self._queue:
            firsts.append(self._queue[0].seq)
        return min(firsts) - 1 if firsts else self.position

    @property
    def room_left(self) -> int:
        """How many more entries may be read."""
        return self._max_ahead - self.unfinished

    @property
    def unfinished(self) -> int:
        parcels = (*self._waiting, *self._in_flight)
        return len(self._queue) + sum(len(parcel.entries) for parcel in parcels)

    @property
    def in_flight(self) -> int:
        """Parcels that the sink has now."""
        return len(self._in_flight)

    @property
    def waiting(self) -> int:
        """Parcels that wait for another attempt."""
        return len(self._waiting)

    @property
    def oldest(self) -> Entry | None:
        """The oldest unfinished entry."""
        heads = [parcel.entries[0] for parcel in (*self._waiting, *self._in_flight)] + self._queue[:1]
        return min(heads, key=lambda entry: entry.seq, default=None)

    def remember(self, failed: Mapping[int, Past], now: float, now_us: int) -> None:
        """Entries that failed before a restart go one by one, and go on counting their attempts."""
        for seq, past in failed.items():
            first_at = now - (now_us - past.first_us) / 1e6
            self._remembered[seq] = Parcel(
                [], past.attempts, first_at, past.first_us, past.first_error, past.last_error
            )

    def add(self, entries: Sequence[Entry], position: int, now: float) -> None:
        """Queue entries that were read; `position` is the last one read, wanted or not."""
        if entries and not self._queue:
            self._queued_since = now
        self._queue.extend(entries)
        self._queue_bytes += weigh(entries)
        self.position = position
        if self._remembered:
            self._suspect(entries)

    def _suspect(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if (past := self._remembered.pop(entry.seq, None)) is not None:
                self._suspects[entry.seq] = past
        if self._remembered and self.position >= max(self._remembered):
            self._remembered.clear()  # dropped, or not for this sink any more

    def next(self, now: float, *, probe: bool = False) -> Parcel | None:
        """The parcel that goes now; it is in flight from then on. None: nothing may go now.

        Args:
            probe: the sink fails as a whole, as it seems: what was tried least goes first, so that an entry
                that always fails does not stand for the sink.
        """
        if len(self._in_flight) >= self._max_in_flight:
            return None
        if probe and (fresh := self._cut(now)) is not None:
            return fresh
        ready = [parcel for parcel in self._waiting if parcel.due <= now]
        if not ready:
            return self._cut(now)
        parcel = min(ready, key=_by_attempts) if probe else ready[0]
        self._waiting.remove(parcel)
        self._in_flight.append(parcel)
        return parcel

    def next_due(self, now: float) -> float | None:
        """When `next` may have something, if nothing else happens; None: not by time alone."""
        if len(self._in_flight) >= self._max_in_flight:
            return None
        dues = [parcel.due for parcel in self._waiting]
        if self._queue and not self._ripe(now):
            dues.append(self._queued_since + self._limits.wait)
        return min(dues, default=None)

    def settle(self, parcel: Parcel, again: list[Entry], untried: Iterable[Entry], due: float) -> None:
        """Of this parcel, `again` waits until `due`, `untried` is queued again, the rest is finished."""
        self._in_flight.remove(parcel)
        self._give_back(untried)
        if again:
            parcel.entries, parcel.due = again, due
            insort(self._waiting, parcel, key=_by_seq)

    def part(self, parcel: Parcel, due: float) -> None:
        """This parcel failed as a whole, and one entry may be to blame: from now on they go one by one."""
        first, *rest = parcel.entries
        past = parcel.split_off(parcel.entries)
        self._suspects.update((entry.seq, past) for entry in rest)
        self.settle(parcel, [first], rest, due)

    def give_up(self, parcel: Parcel) -> None:
        """This parcel was not tried: it waits in the queue again."""
        self._in_flight.remove(parcel)
        insort(self._waiting, parcel, key=_by_seq)

    def _give_back(self, entries: Iterable[Entry]) -> None:
        returned = list(entries)
        if returned:
            self._queue = sorted([*returned, *self._queue], key=_entry_seq)
            self._queue_bytes += weigh(returned)

    def _ripe(self, now: float) -> bool:
        limits = self._limits
        full = len(self._queue) >= limits.count or self._queue_bytes >= limits.max_bytes
        return full or now >= self._queued_since + limits.wait

    def _cut(self, now: float) -> Parcel | None:
        if not self._queue or not self._ripe(now):
            return None
        taken = self._take(1 if self._suspects else self._limits.count)
        if not taken:
            return None
        self._queued_since = now
        past = self._suspects.pop(taken[0].seq, None)
        parcel = past.split_off(taken) if past is not None else Parcel(taken)
        self._in_flight.append(parcel)
        return parcel

    def _take(self, count: int) -> list[Entry]:
        """The first entries of the queue whose rooms are free."""
        held: set[Room] = set().union(*(parcel.rooms() for parcel in (*self._waiting, *self._in_flight)))
        queue, room_in_bytes = self._queue, self._limits.max_bytes
        if not held:  # the usual case costs one slice
            taken = queue[:count]
            if (size := weigh(taken)) <= room_in_bytes:
                del queue[:count]
                self._queue_bytes -= size
                return taken
        taken = []
        passed: list[Entry] = []
        index = 0
        for index, entry in enumerate(queue):  # noqa: B007 - where it stopped is needed
            if held and (entry.event.scope, entry.event.room) in held:
                passed.append(entry)
                continue
            size = weight(entry.event)
            if taken and (len(taken) >= count or size > room_in_bytes):
                break
            room_in_bytes -= size
            self._queue_bytes -= size
            taken.append(entry)
        else:
            index = len(queue)
        self._queue = [*passed, *queue[index:]]
        return taken
