"""Which blocks may go: what every sink has, wherever it is; and what of others is a loss."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.spans import Span
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.spool.stored.drops import MAX_SIZE, Tally
from tdbwatch.daemon.spool.stored.log import ROW_BYTES, between
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store

_AFTER: Final = "first_seq > ? ORDER BY first_seq"
_COPIES: Final = "target = ? AND first_seq > ? ORDER BY first_seq"
_TARGETS: Final = (
    "WITH RECURSIVE targets(sink) AS (SELECT min(target) FROM blocks WHERE target IS NOT NULL UNION ALL"
    " SELECT (SELECT min(target) FROM blocks WHERE target > sink) FROM targets WHERE sink IS NOT NULL)"
    " SELECT sink FROM targets WHERE sink IS NOT NULL"
)
"""The sinks that there are copies for: one step in the index for each."""


Sized = tuple[Gone, int, int]
"""A block without its body, about how many bytes of the file it takes, and since when it grows old."""


def oldest(store: Store) -> Iterator[Sized]:
    """All blocks, in order."""
    return _found(store, _AFTER, (0,))


def undelivered(store: Store, reach: Reach, doomed: Sequence[Gone], reason: str) -> Tally:
    """What of these blocks some sink is still to get."""
    tally = Tally(reason)
    unfinished = [one for one in doomed if not reach.finished(one)]
    for block in store.load(unfinished):
        lost = reach.unfinished(block.seqs, block.lane, block.target)
        tally.add_events(event for seq, event in block.numbered() if seq in lost)
    return tally


@dataclass(slots=True)
class Delivered:
    """Looks at each block once, and at those that had to stay again when a sink has got further with them.

    Attributes:
        seen: up to which block it has looked at all of them; by sink, at the copies for it.
    """

    seen: dict[str | None, int] = field(default_factory=dict)

    def give_up(self, store: Store, reach: Reach, aim: int) -> list[Gone]:
        """Delete blocks of about `aim` bytes in all, the oldest; none: there is nothing."""
        found: dict[int, Gone] = {}
        for block, size, _ in self._rows(store, reach, store.freed):
            if reach.finished(block) and block.first_seq not in found:
                found[block.first_seq] = block
                aim -= size
                if aim <= 0:
                    break
        doomed = list(found.values())
        try:
            store.delete(doomed, Tally(MAX_SIZE))
        except BaseException:
            self.seen = {}  # they are still there
            raise
        return doomed

    def hold(self, store: Store, reach: Reach, enough: int) -> bool:
        """Whether there are so many bytes of them."""
        look, held = Delivered(dict(self.seen)), 0
        for block, size, _ in look._rows(store, reach, dict(store.freed)):
            if held >= enough:
                break
            if reach.finished(block):
                held += size
        return held >= enough

    def _rows(self, store: Store, reach: Reach, freed: MutableMapping[Lane, Span]) -> Iterator[Sized]:
        while freed:  # what a sink had not got when it was looked at
            lane, (first, last) = next(iter(freed.items()))
            for row in _found(store, *between(first, last, lane)):
                freed[lane] = (row[0].last_seq + 1, last)
                yield row
            del freed[lane]
        yield from self._onward(None, reach.floor, _found(store, _AFTER, (self._after(None),)))
        for (sink,) in store.connection.execute(_TARGETS):  # these need not wait for other sinks
            yield from self._onward(
                sink, reach.floor_of(sink), _found(store, _COPIES, (sink, self._after(sink)))
            )

    def _after(self, sink: str | None) -> int:
        return max(self.seen.get(None, 0), self.seen.get(sink, 0))

    def _onward(self, sink: str | None, floor: int | None, rows: Iterator[Sized]) -> Iterator[Sized]:
        for row in rows:
            if floor is not None and row[0].last_seq > floor:
                return
            self.seen[sink] = row[0].first_seq
            yield row


def _found(store: Store, terms: str, values: Sequence[Any] | Mapping[str, Any]) -> Iterator[Sized]:
    query = f"SELECT first_seq, count, scope, room, target, length(body), born_us FROM blocks WHERE {terms}"  # noqa: S608
    for first_seq, count, scope, room, target, size, born_us in store.connection.execute(query, values):
        yield Gone(first_seq, count, Lane(scope, room), target), size + ROW_BYTES, born_us
