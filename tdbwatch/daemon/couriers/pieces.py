"""Pieces: neighbouring entries of one lane, as they travel through a courier together. Pure."""

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Final, TypeVar

from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.spool.api import Past
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.plugin.batch import json_lines
from tdbwatch.plugin.event import Event, Header

OVERHEAD: Final = 400
"""Bytes that an event takes in memory beside its payload and its name, roughly."""
_MOST_HELD: Final = 8
"""A block is held for no entries that count for less than one part in so many of what it takes."""
_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class Failure:
    """What became of some entries so far. Those that failed together share one, and go together again.

    Attributes:
        attempts: made with them.
        first_at: when the first attempt was made, by the monotonic clock without pauses.
        first_us: the same in microseconds since the Unix epoch.
        first_errors: by seq, where the first failure was not the same for all.
        most: so many of them go together at most: one of them may be to blame for all.
        unended: attempts in a row before these that began and never ended (`unended`).
        due: no attempt before this time, by the monotonic clock.
    """

    attempts: int
    first_at: float
    first_us: int
    first_error: str
    last_error: str
    first_errors: dict[int, str] = field(default_factory=dict)
    most: int = sys.maxsize
    unended: int = 0
    due: float = 0.0

    def first_error_of(self, seq: int) -> str:
        return self.first_errors.get(seq, self.first_error)


UNTRIED: Final = Failure(0, 0.0, 0, "", "")
"""What became of entries that were never tried."""


def begun(failure: Failure, at: float, us: int) -> Failure:
    """The same, of entries that may have been tried for the first time at this time."""
    return Failure(0, at, us, "", "") if failure is UNTRIED else failure


def another(failure: Failure, at: float, us: int) -> Failure:
    """With one more attempt, made at this time, of which nobody knows yet what came of it."""
    most = sys.maxsize if failure.unended else failure.most
    return replace(begun(failure, at, us), attempts=failure.attempts + 1, most=most, unended=0)


class Piece:
    """Entries of one lane, oldest first; between them there may be others that are not for this sink.

    Attributes:
        count: entries.
        size: bytes that they count for, no less than `OVERHEAD` and a payload and a name for each.
        failure: what became of them.
    """

    __slots__ = ("_source", "count", "failure", "seqs", "size")

    def __init__(
        self,
        source: Block | Sequence[Event],
        seqs: Sequence[int],
        size: int,
        failure: Failure = UNTRIED,
    ) -> None:
        self._source = source
        """The block that they are of, which all who read it share; or events that are not, or not just so."""
        self.seqs = seqs
        self.count = len(seqs)
        self.size = size
        self.failure = failure

    @classmethod
    def of(cls, block: Block) -> "Piece":
        """All of a block."""
        return cls(block, block.seqs, len(block.body) + OVERHEAD * block.count)

    def __repr__(self) -> str:
        return f"<Piece {self.first_seq}-{self.last_seq}: {self.count}>"

    @property
    def first_seq(self) -> int:
        return self.seqs[0]

    @property
    def last_seq(self) -> int:
        return self.seqs[-1]

    @property
    def events(self) -> Sequence[Event]:
        source = self._source
        return self.of_each(source, source.events) if isinstance(source, Block) else source

    @property
    def lines(self) -> Sequence[bytes]:
        """The record of each, as JSON."""
        source = self._source
        return self.of_each(source, source.lines) if isinstance(source, Block) else json_lines(source)

    @property
    def headers(self) -> Sequence[Header | Event]:
        """What each says beside its id and its arguments."""
        source = self._source
        return self.of_each(source, source.headers) if isinstance(source, Block) else source

    @property
    def received_us(self) -> int:
        """When the first was received, in microseconds since the Unix epoch."""
        source = self._source
        return source.received_us(self.first_seq) if isinstance(source, Block) else source[0].received_us

    @property
    def largest(self) -> int:
        """No payload has more bytes."""
        return len(self._source.body) if isinstance(self._source, Block) else self.size

    def failed(self, failure: Failure) -> "Piece":
        """The same entries, of which this became."""
        return Piece(self._source, self.seqs, self.size, failure).trimmed()

    def trimmed(self) -> "Piece":
        """The same, without a block that is far larger: who waits would hold all of it."""
        source = self._source
        if isinstance(source, Block) and source.weight > _MOST_HELD * self.size:
            return Piece(source.some(self.seqs), self.seqs, self.size, self.failure)
        return self

    def fitting(self, count: int, size: int) -> int:
        """How many of the first entries are neither more nor larger than this."""
        most = min(count, self.count)
        return most if self.size <= size else bisect_right(list(accumulate(self._sizes(most))), size)

    def split(self, count: int) -> tuple["Piece", "Piece"]:
        """The first `count` entries, and the others."""
        source, size = self._source, sum(self._sizes(count))
        head, rest = (source, source) if isinstance(source, Block) else (source[:count], source[count:])
        first = Piece(head, self.seqs[:count], size, self.failure)
        return first, Piece(rest, self.seqs[count:], self.size - size, self.failure)

    def only(self, indexes: Sequence[int]) -> "Piece":
        """Some of the entries, in order."""
        if len(indexes) == self.count:
            return self
        all_seqs, sizes = self.seqs, self._sizes(self.count)
        source: Block | Sequence[Event] = self._source
        if not isinstance(source, Block):
            source = [source[index] for index in indexes]
        seqs, size = [all_seqs[index] for index in indexes], sum([sizes[index] for index in indexes])
        return Piece(source, seqs, size, self.failure).trimmed()

    def changed(self, events: Mapping[int, Event]) -> "Piece":
        """Those of the entries that are here, by their seqs, with these events instead."""
        seqs = [seq for seq in self.seqs if seq in events]
        chosen = [events[seq] for seq in seqs]
        return Piece(chosen, seqs, sum(map(_weight, chosen)), self.failure)

    def by_key(self, key_of: Callable[[Event], str]) -> dict[str, "Piece"]:
        """The entries of each key. They do not hold the block: what fails may be spread over many."""
        parts: dict[str, tuple[list[Event], list[int]]] = {}
        for seq, event in zip(self.seqs, self.events, strict=True):
            events, seqs = parts.setdefault(key_of(event), ([], []))
            events.append(event)
            seqs.append(seq)
        return {
            key: Piece(own, seqs, sum(map(_weight, own)), self.failure) for key, (own, seqs) in parts.items()
        }

    def _sizes(self, count: int) -> Sequence[int]:
        """Bytes that each of the first `count` entries counts for."""
        source = self._source
        if not isinstance(source, Block):
            return list(map(_weight, source[:count]))
        return [size + OVERHEAD for size in self.of_each(source, source.sizes)[:count]]

    def of_each(self, block: Block, each: Sequence[_T]) -> Sequence[_T]:
        """Of what their block has of each of its entries, what is of these."""
        first, seqs = block.first_seq, self.seqs
        if isinstance(seqs, range):
            return each if self.count == len(each) else each[seqs.start - first : seqs.stop - first]
        return [each[seq - first] for seq in seqs]


def _weight(event: Event) -> int:
    return len(event.payload) + len(event.event) + len(event.packed_fields) + OVERHEAD


def pasts(pieces: Sequence[Piece], then: Sequence[Past] = ()) -> tuple[Past, ...]:
    """What is durable of the past of all entries of these pieces, in order.

    What follows was never tried, so nothing needs to be said of the last ones that were not.

    Args:
        then: of those after them.
    """
    if not then and all(piece.failure is UNTRIED for piece in pieces):
        return ()
    each = [(seq, piece.failure) for piece in pieces for seq in piece.seqs]
    entries = [(failure, failure.first_error_of(seq)) for seq, failure in sorted(each, key=itemgetter(0))]
    found = list[Past]()
    for (failure, error), run in groupby(entries):
        us, last, unended = failure.first_us, failure.last_error, failure.unended
        found.append(Past(sum(1 for _ in run), failure.attempts, us, error, last, unended))
    found += then
    while found and not (found[-1].attempts or found[-1].unended):
        found.pop()
    return tuple(found)


_MOST_BYTES: Final = 16 << 20
_FIRST_GUESS: Final = 256.0


class Memory:
    """Counts the unfinished entries of one sink that are in memory.

    Attributes:
        batch: entries that the sink gets at once, at most.
        count: entries.
        size: bytes that they count for.
    """

    def __init__(self, settings: CourierSettings) -> None:
        self.batch = settings.batch.count
        batch, batches = settings.batch, settings.max_in_flight + 1  # one is made while others go
        self._max_count = max(settings.max_ahead, batch.count * batches)
        self._max_bytes = max(_MOST_BYTES, batch.max_bytes * batches)
        self._body_bytes = _FIRST_GUESS
        self.count = 0
        self.size = 0

    @property
    def full(self) -> bool:
        return self.count >= self._max_count or self.size >= self._max_bytes

    def take(self, pieces: Iterable[Piece]) -> None:
        """These are kept."""
        for piece in pieces:
            self.count += piece.count
            self.size += piece.size

    def give(self, pieces: Iterable[Piece]) -> None:
        """These are kept no longer."""
        for piece in pieces:
            self.count -= piece.count
            self.size -= piece.size

    def learn(self, blocks: Sequence[Block]) -> None:
        """These were read."""
        if count := sum([block.count for block in blocks]):
            mean = sum([len(block.body) for block in blocks]) / count
            self._body_bytes += (mean - self._body_bytes) / 4

    def to_read(self, count: int | None = None) -> int:
        """How many bytes of entries to read: as many as there is space for, or about as `count` have."""
        space = max(1, self._max_count - self.count) if count is None else count
        return max(1, int(min(self._max_bytes - self.size, space * self._body_bytes)))
