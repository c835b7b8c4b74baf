"""Finds blocks that every sink has, wherever they are in the log. They make way before any other."""

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.spool.stored.drops import MAX_SIZE, Tally
from tdbwatch.daemon.spool.stored.progress import Reach, Span
from tdbwatch.daemon.spool.stored.store import ROW_BYTES, Store

_BLOCKS: Final = "SELECT first_seq, count, scope, room, target, length(body) FROM blocks WHERE"
_AFTER: Final = f"{_BLOCKS} first_seq > ? ORDER BY first_seq"
_COPIES: Final = f"{_BLOCKS} target = ? AND first_seq > ? ORDER BY first_seq"
_NEXT_TARGET: Final = "SELECT min(target) FROM blocks WHERE target > ?"
_OF_LANE: Final = (
    f"{_BLOCKS} room = ? AND scope = ? AND first_seq >= (SELECT ifnull(max(first_seq), 0) FROM blocks"  # noqa: S608
    " WHERE room = ? AND scope = ? AND first_seq <= ?) AND first_seq <= ? ORDER BY first_seq"
)


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
            if _finished(reach, row.block) and row.block.first_seq not in found:
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
            if _finished(reach, row.block):
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


def _finished(reach: Reach, block: Gone) -> bool:
    return reach.finished(block.last_seq, block.lane, block.target)
