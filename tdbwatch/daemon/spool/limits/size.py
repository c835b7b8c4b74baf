"""The file is no larger than it may be: what every sink has makes way first, then what `when_full` says."""

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.limits.chores import Step, undelivered
from tdbwatch.daemon.spool.spans import Span
from tdbwatch.daemon.spool.stored import orders
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.spool.stored.drops import MAX_SIZE, Tally
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store
from tdbwatch.daemon.spool.stored.tables import ROW_BYTES, free_bytes, used_bytes

_BLOCKS: Final = "SELECT first_seq, count, scope, room, target, length(body) FROM blocks WHERE"
_AFTER: Final = f"{_BLOCKS} first_seq > ? ORDER BY first_seq"
_COPIES: Final = f"{_BLOCKS} target = ? AND first_seq > ? ORDER BY first_seq"
_NEXT_TARGET: Final = "SELECT min(target) FROM blocks WHERE target > ?"
_OF_LANE: Final = (
    f"{_BLOCKS} room = ? AND scope = ? AND first_seq >= (SELECT ifnull(max(first_seq), 0) FROM blocks"  # noqa: S608
    " WHERE room = ? AND scope = ? AND first_seq <= ?) AND first_seq <= ? ORDER BY first_seq"
)
STEP: Final = 1_000
"""Blocks looked at in one step."""
STEP_BYTES: Final = 4 << 20
"""Bytes deleted in one step, where more must go."""
_COARSE, _FINE = 64, 1_024
"""One part in so many of `max_size` goes at once; the fine one where replays may still ask for it."""
_GAP_BYTES: Final = 500
"""What a gap record takes in the file, roughly."""
_ROUGHLY: Final = 4
"""What is inserted takes no more than so many times as much in the file."""
_AT_LEAST_US: Final = 1_000_000
"""Not only what is inserted takes space, so the file is measured now and then at least."""
_TIGHT: Final = 16
"""With less than one part in so many of `max_size` left there is no space for gap records."""


@dataclass(frozen=True, slots=True)
class Sized:
    """A block without what is in it, and about how many bytes of the file it takes."""

    block: Gone
    size: int


def blocks_after(store: Store, position: int) -> Iterator[Sized]:
    """The blocks behind this number, in order."""
    return _found(store, _AFTER, position)


def _found(store: Store, query: str, *values: Any) -> Iterator[Sized]:
    for first_seq, count, scope, room, target, size in store.connection.execute(query, values):
        yield Sized(Gone(first_seq, count, Lane(scope, room), target), size + ROW_BYTES)


@dataclass(slots=True)
class Delivered:
    """Looks at each block once, and at those that had to stay again when a sink has got further with them."""

    position: int = 0
    copies: dict[str, int] = field(default_factory=dict)

    def give_up(self, store: Store, reach: Reach, aim: int) -> list[Gone]:
        """Delete blocks of about `aim` bytes in all, the oldest; none: there is nothing."""
        found: dict[int, Gone] = {}
        for row in self._rows(store, reach, store.freed):
            if reach.finished(row.block) and row.block.first_seq not in found:
                found[row.block.first_seq] = row.block
                aim -= row.size
                if aim <= 0:
                    break
        doomed = list(found.values())
        try:
            store.delete(doomed, Tally(MAX_SIZE))
        except BaseException:
            self.position, self.copies = 0, {}  # they are still there
            raise
        return doomed

    def hold(self, store: Store, reach: Reach, enough: int) -> bool:
        """Whether there are so many bytes of them."""
        look, size = Delivered(self.position, dict(self.copies)), 0
        for row in look._rows(store, reach, dict(store.freed)):
            if size >= enough:
                break
            if reach.finished(row.block):
                size += row.size
        return size >= enough

    def _rows(self, store: Store, reach: Reach, freed: MutableMapping[Lane, Span]) -> Iterator[Sized]:
        yield from self._freed(store, freed)
        yield from self._onward(store, reach)
        yield from self._targeted(store, reach)

    def _freed(self, store: Store, freed: MutableMapping[Lane, Span]) -> Iterator[Sized]:
        """What a sink had not got when it was looked at."""
        while freed:
            lane, (first, last) = next(iter(freed.items()))
            place = (lane.room, lane.scope)
            for row in _found(store, _OF_LANE, *place, *place, first, last):
                freed[lane] = (row.block.last_seq + 1, last)
                yield row
            del freed[lane]

    def _onward(self, store: Store, reach: Reach) -> Iterator[Sized]:
        floor = store.last_seq if reach.floor is None else reach.floor
        for row in blocks_after(store, self.position):
            if row.block.last_seq > floor:
                return
            self.position = row.block.first_seq
            yield row

    def _targeted(self, store: Store, reach: Reach) -> Iterator[Sized]:
        """Those for one sink need not wait for the others."""
        for sink in _targets(store):
            floor = reach.floor_of(sink)
            for row in _found(store, _COPIES, sink, max(self.position, self.copies.get(sink, 0))):
                if floor is not None and row.block.last_seq > floor:
                    break
                self.copies[sink] = row.block.first_seq
                yield row


def _targets(store: Store) -> Iterator[str]:
    """The sinks that there are copies for."""
    sink = store.connection.execute(_NEXT_TARGET, ("",)).fetchone()[0]
    while sink is not None:
        yield sink
        sink = store.connection.execute(_NEXT_TARGET, (sink,)).fetchone()[0]


class Size:
    """The chore; and what others ask about the space that is left.

    Attributes:
        gap_records: how many of them, and then as many again, push out nothing undelivered.
    """

    def __init__(self, limits: Limits) -> None:
        self.gap_records = 0
        self._limits = limits
        self._delivered = Delivered()
        self._again_at = 0
        self._again_us = 0

    def due(self, store: Store, now_us: int) -> bool:
        return store.inserted_bytes >= self._again_at or now_us >= self._again_us

    def step(self, store: Store, reach: Reach, now_us: int) -> Step | None:
        surplus = self.measure(store, reach) - self._limits.max_size
        self._again_at = store.inserted_bytes + max(0, -surplus) // _ROUGHLY
        self._again_us = now_us + _AT_LEAST_US
        if surplus <= 0:
            return None
        parts = _FINE if orders.replays(store.connection) else _COARSE
        aim = min(surplus + self._limits.max_size // parts, STEP_BYTES)
        if gone := self._delivered.give_up(store, reach, aim):
            return Step(gone)
        if self._limits.when_full == "drop_newest":
            return None
        doomed = _oldest(store, aim)
        tally = undelivered(store, reach, doomed, MAX_SIZE)
        store.delete(doomed, tally)
        return Step(doomed, tally) if doomed else None

    def measure(self, store: Store, reach: Reach) -> int:
        """Bytes of the file that hold something."""
        used, limits = used_bytes(store.connection), self._limits
        floor = store.last_seq if reach.floor is None else reach.floor
        delivered = max(0, floor - store.first_seq + 1) / max(1, store.last_seq - store.first_seq + 1)
        left = limits.max_size - used + int(used * min(1, delivered))
        self.gap_records = left // 2 // _GAP_BYTES if left > limits.max_size // _TIGHT else 0
        return used

    def exceeded(self, store: Store) -> bool:
        """Whether the file is too large."""
        return used_bytes(store.connection) > self._limits.max_size

    def fit(self, store: Store, reach: Reach) -> Iterator[list[Gone]]:
        """Let what is delivered go until the file is no larger than it may be, as far as there is any."""
        return self._make_way(store, reach, lambda: used_bytes(store.connection) - self._limits.max_size)

    def takes_copies(self, store: Store, reach: Reach, size: int) -> bool:
        """Whether copies of `size` bytes take no space but that of what is delivered."""
        limits = self._limits
        surplus = used_bytes(store.connection) + size + limits.headroom - limits.max_size
        return surplus <= 0 or self._delivered.hold(store, reach, surplus)

    def relieve(self, store: Store, reach: Reach) -> Iterator[list[Gone]]:
        """Find space on the disk, and within the file, for what it does not take. Only the delivered goes.

        Raises:
            sqlite3.Error: not even that can be written.
        """
        store.empty_log()
        missing = lambda: store.space.reserve - free_bytes(store.connection)  # noqa: E731
        for gone in self._make_way(store, reach, missing):
            yield gone
            store.empty_log()

    def _make_way(self, store: Store, reach: Reach, missing: Callable[[], int]) -> Iterator[list[Gone]]:
        while (size := missing()) > 0:
            if not (gone := self._delivered.give_up(store, reach, min(size, STEP_BYTES))):
                return
            yield gone


def _oldest(store: Store, aim: int) -> list[Gone]:
    found: list[Gone] = []
    for row in blocks_after(store, 0):
        found.append(row.block)
        aim -= row.size
        if aim <= 0 or len(found) == STEP:
            break
    return found
