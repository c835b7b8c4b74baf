"""What is under way to one sink, and what may go next. Pure: it sends nothing and reads no clock.

The rule it keeps: events of one room go in order. While a parcel is in flight, or waits for another attempt,
it holds its rooms: their events that come after it are parked; other rooms go on. When what is parked fills
the memory that a sink may have, it is let go of and read again when its room is free.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter

from tdbwatch.daemon.couriers.parcel import Parcel, Room, Wait, Waiting, room_of
from tdbwatch.daemon.couriers.queue import Queue
from tdbwatch.daemon.couriers.settings import BatchLimits
from tdbwatch.daemon.couriers.suspects import Suspects
from tdbwatch.daemon.couriers.tails import Tails
from tdbwatch.daemon.retry import RetryPolicy
from tdbwatch.daemon.spool.api import Entry, Past
from tdbwatch.daemon.spool.pending import Pending
from tdbwatch.daemon.spool.window import weigh

_entry_seq = attrgetter("seq")


class Ledger:
    """The unfinished entries of one sink: queued, parked, waiting for another attempt, or in flight.

    Args:
        max_ahead: unfinished entries beyond which no more are read.
        max_ahead_bytes: the same in bytes.
    """

    def __init__(
        self,
        position: int,
        limits: BatchLimits,
        *,
        max_in_flight: int,
        max_ahead: int,
        max_ahead_bytes: int = 16 << 20,
    ) -> None:
        self.position = position
        """The last entry that was read from the spool."""
        self.unfinished = 0
        """Entries that are in memory and not finished."""
        self._limits = limits
        self._max_in_flight = max_in_flight
        self._max_ahead = max(max_ahead, limits.count * max_in_flight)
        self._max_ahead_bytes = max(max_ahead_bytes, limits.max_bytes * max_in_flight)
        self._bytes = 0
        self._queue = Queue(limits)
        self._parked: dict[Room, list[Entry]] = {}
        self._held: set[Room] = set()
        self._newly_held: set[Room] = set()  # the queue may still have entries of these
        self._tails = Tails()
        self._waiting = Waiting()
        self._in_flight: list[Parcel] = []
        self._retried_last = False
        self._suspects = Suspects()

    @property
    def cursor(self) -> int:
        """All entries up to this one are finished."""
        oldest, tail = self.oldest, self._tails.first
        seq = self.position + 1 if oldest is None else oldest.seq
        return (seq if tail is None else min(seq, tail)) - 1

    @property
    def oldest(self) -> Entry | None:
        """The oldest unfinished entry in memory. What is parked is younger than what holds its room."""
        heads = [parcel.entries[0] for parcel in self._in_flight]
        if (waiting := self._waiting.oldest) is not None:
            heads.append(waiting.entries[0])
        if (queued := self._queue.oldest) is not None:
            heads.append(queued)
        return min(heads, key=_entry_seq, default=None)

    @property
    def room_left(self) -> int:
        """How many more entries may be read."""
        return self._max_ahead - self.unfinished if self.bytes_left > 0 else 0

    @property
    def bytes_left(self) -> int:
        """How many more bytes of entries may be read."""
        return self._max_ahead_bytes - self._bytes

    @property
    def behind(self) -> int:
        """Entries that were read and are not finished, in memory or not."""
        return self.unfinished + self._tails.count

    def behind_from(self, first_seq: int) -> int:
        """As `behind`, without the entries before this one: the spool has dropped them."""
        self._tails.forget(first_seq)
        oldest = self.oldest
        if oldest is None or oldest.seq >= first_seq:
            return self.behind
        return self.behind - sum(1 for entry in self._in_memory() if entry.seq < first_seq)

    def pending(self) -> Pending:
        """What is not finished of what was read, for those who must make room in the spool."""
        rooms = dict(self._tails.firsts())
        for entry in self._in_memory():
            room = room_of(entry)
            rooms[room] = min(entry.seq, rooms.get(room, entry.seq))
        return Pending(self.position, rooms)

    def _in_memory(self) -> Iterator[Entry]:
        yield from chain(self._queue, *self._parked.values())
        for parcel in chain(self._waiting, self._in_flight):
            yield from parcel.entries

    @property
    def has_let_go(self) -> bool:
        """Whether some of these are not in memory."""
        return bool(self._tails)

    @property
    def read_again_from(self) -> int | None:
        """The first entry to `add_again`; None: there is nothing to be read again now."""
        return self._tails.first

    @property
    def blocked(self) -> bool:
        """Whether all that was read is of rooms that wait for another attempt."""
        return bool(self._waiting) and not self._in_flight and not self._queue

    @property
    def has_queued(self) -> bool:
        """Whether anything waits for its turn only."""
        self._sift()
        return bool(self._queue)

    @property
    def in_flight(self) -> int:
        """Parcels that the sink has now."""
        return len(self._in_flight)

    @property
    def waiting(self) -> int:
        """Parcels that wait for another attempt."""
        return len(self._waiting)

    def remember(self, failed: Mapping[int, Past], now: float, now_us: int, policy: RetryPolicy) -> None:
        """Entries that failed before a restart go with those they failed with, and go on counting."""
        self._suspects.remember(failed, now, now_us, policy)

    def add(self, entries: Sequence[Entry], position: int, now: float) -> None:
        """Queue entries that were read; `position` is the last one read, wanted or not."""
        self._suspects.read(entries, position)
        if self._tails:
            entries = self._tails.without(entries)
        self._count(entries, now)
        self._enqueue(entries)
        self.position = position

    def add_again(self, entries: Sequence[Entry], since: int, through: int, now: float) -> None:
        """Queue what is due of entries that were let go of, and that were read from `since` on.

        Args:
            through: the last one that was read, wanted or not.
        """
        taken = self._tails.take(entries, since, min(through, self.position))
        self._tails.end(self.position)
        self._count(taken, now)
        self._requeue(taken)

    def let_go(self, *, patient: bool = True) -> bool:
        """Forget what is parked, if nothing else may go; whether there was anything.

        Args:
            patient: what is parked behind a first attempt stays: it may go in a moment. Without patience it
                goes, too, if the sink could have another parcel beside that attempt.
        """
        self._sift()
        if self._queue:
            return False
        patient = patient or len(self._in_flight) >= self._max_in_flight
        first_attempts = [parcel.rooms() for parcel in self._in_flight if patient and not parcel.attempts]
        stuck = list(self._parked.keys() - set().union(*first_attempts))
        for room in stuck:
            entries = self._parked.pop(room)
            self._tails.grow(room, entries)
            self.unfinished -= len(entries)
            self._bytes -= weigh(entries)
        return bool(stuck)

    def _count(self, entries: Sequence[Entry], now: float) -> None:
        if entries and not self._queue:
            self._queue.since = now
        self.unfinished += len(entries)
        self._bytes += weigh(entries)

    def _enqueue(self, entries: Sequence[Entry]) -> None:
        if self._held:
            free: list[Entry] = []
            for entry in entries:
                room = room_of(entry)
                (self._parked.setdefault(room, []) if room in self._held else free).append(entry)
            entries = free
        self._queue.extend(entries)
        self._part_with_suspects(entries)

    def next(self, now: float, *, probe: bool = False) -> Parcel | None:
        """The parcel that goes now; it is in flight from then on. None: nothing may go now.

        What waits for another attempt and what was never tried take turns: neither keeps the sink to itself.

        Args:
            probe: the sink fails as a whole, as it seems: what was tried least goes first, so that an entry
                that always fails does not stand for the sink.
        """
        if len(self._in_flight) >= self._max_in_flight:
            return None
        fresh_first = probe or self._retried_last
        parcel = self._cut(now) if fresh_first else None
        if parcel is None and (parcel := self._waiting.take(now, least_tried=probe)) is not None:
            self._retried_last = True
        elif parcel is not None or (parcel := self._cut(now)) is not None:
            self._retried_last = False
        if parcel is not None:
            self._in_flight.append(parcel)
        return parcel

    def next_untried(self, now: float) -> Parcel | None:
        """As `next`, but only what was never tried."""
        if len(self._in_flight) >= self._max_in_flight or (parcel := self._cut(now)) is None:
            return None
        self._in_flight.append(parcel)
        return parcel

    def next_due(self, now: float, *, untried: bool = False) -> float | None:
        """When `next`, or `next_untried`, may have something, if nothing else happens; None: not by time."""
        if len(self._in_flight) >= self._max_in_flight:
            return None
        dues = [] if untried or self._waiting.next_due is None else [self._waiting.next_due]
        if (ripe_at := self._queue.ripe_at(now)) is not None and ripe_at > now:
            dues.append(ripe_at)
        return min(dues, default=None)

    def hasten(self, now: float) -> None:
        """What waits for another attempt is due."""
        self._waiting.hasten(now)

    def settle(self, parcel: Parcel, waits: Sequence[Wait] = (), untried: Iterable[Entry] = ()) -> None:
        """Of this parcel, `waits` are offered again, `untried` is queued again, the rest is finished.

        Args:
            waits: no two with events of one room.
        """
        returned = list(untried)
        if returned and parcel.attempts > 1:  # earlier attempts were made with these, too
            self._suspects.keep(parcel, returned)
        self._settle(parcel, waits, returned)
        if returned and parcel.attempts <= 1:  # these have waited for company
            self._queue.since = float("-inf")

    def part(self, parcel: Parcel, due: float) -> None:
        """This parcel failed as a whole, and one entry may be to blame: from now on they go one by one."""
        first, *rest = parcel.entries
        self._suspects.part(parcel, rest)
        self._settle(parcel, [([first], due)], rest)

    def _settle(self, parcel: Parcel, waits: Sequence[Wait], returned: list[Entry]) -> None:
        rooms = parcel.rooms()
        again = [*chain.from_iterable(entries for entries, _ in waits), *returned]
        self._in_flight.remove(parcel)
        self.unfinished -= len(parcel.entries) - len(again)
        self._bytes -= weigh(parcel.entries) - weigh(again)
        for number, (entries, due) in enumerate(waits):
            part = parcel.split_off([]) if number else parcel
            part.entries, part.due = entries, due
            self._waiting.add(part)
            rooms -= part.rooms()
            self._newly_held |= part.rooms()
        self._release(rooms, returned)

    def give_up(self, parcel: Parcel) -> None:
        """This parcel was not tried: it waits as before."""
        self._in_flight.remove(parcel)
        self._waiting.add(parcel)

    def _release(self, rooms: set[Room], returned: list[Entry]) -> None:
        """These rooms may go on, with what was parked, and these entries are to be cut again."""
        self._held -= rooms
        self._newly_held -= rooms
        self._tails.release(rooms)
        if self._parked:
            returned = [*returned, *chain.from_iterable(self._parked.pop(room, ()) for room in rooms)]
        self._requeue(returned)

    def _requeue(self, returned: list[Entry]) -> None:
        if returned:
            self._queue.insert(returned)
            self._part_with_suspects(returned)

    def _part_with_suspects(self, queued: Sequence[Entry]) -> None:
        """Of what was queued now, nothing that failed before may stand before what was never tried.

        So it waits, as all does that failed, though it is due already, and what is behind it is parked.
        """
        if not self._suspects.among(queued):
            return
        self._sift()
        rooms = {room_of(entry) for entry in self._queue if entry.seq in self._suspects}
        parcels, behind = self._suspects.gather(self._queue.take_out(rooms), self._limits)
        for parcel in parcels:
            self._waiting.add(parcel)
        for entry in behind:
            self._parked.setdefault(room_of(entry), []).append(entry)
        self._held |= rooms
        self._tails.hold(rooms)

    def _sift(self) -> None:
        """Park what is queued of rooms that are held since."""
        held, self._newly_held = self._newly_held, set()
        if not held or not self._queue:
            return
        for entry in self._queue.take_out(held):
            self._parked.setdefault(room_of(entry), []).append(entry)

    def _cut(self, now: float) -> Parcel | None:
        """The first entries of the queue, whose rooms are held from now on."""
        self._sift()
        if not (taken := self._queue.cut(now)):
            return None
        parcel = Parcel(taken, due=now)
        rooms = parcel.rooms()
        self._held |= rooms
        self._newly_held |= rooms
        self._tails.hold(rooms)
        return parcel
