"""What goes to a sink together, and what becomes of each entry of it. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain
from math import ceil

from tdbwatch.daemon.couriers.lane import LaneQueue
from tdbwatch.daemon.couriers.pieces import Failure, Piece
from tdbwatch.plugin.event import Batch, Event
from tdbwatch.plugin.outcome import Retry

Share = tuple[LaneQueue, Piece]
"""A piece, and the lane that it is of."""


class Fate(Enum):
    """What becomes of an entry after a call of the sink."""

    FINISHED = auto()
    FAILED = auto()
    """It comes again, when it is due."""
    UNTRIED = auto()
    """It comes again as if nothing had been."""


@dataclass(slots=True, eq=False)
class Parcel:
    """Entries that the sink has now.

    Attributes:
        failure: what became of them before; None: they were never tried.
        since: when they went, by the monotonic clock.
    """

    shares: list[Share]
    failure: Failure | None
    since: float

    def __len__(self) -> int:
        return sum([piece.count for piece in self.pieces])

    def may_be_large(self, size: int) -> bool:
        """Whether one of the events can have a payload of more bytes."""
        return any(piece.largest > size for piece in self.pieces)

    @property
    def pieces(self) -> list[Piece]:
        return [piece for _, piece in self.shares]

    @property
    def attempts(self) -> int:
        """Made with these before."""
        return self.failure.attempts if self.failure is not None else 0

    @property
    def events(self) -> list[Event]:
        """All of them, in a list of the caller's own."""
        return list(chain.from_iterable([piece.events for piece in self.pieces]))

    @property
    def batch(self) -> Batch:
        """As the sink is given them."""
        return Batch(self.pieces)

    @property
    def seqs(self) -> list[int]:
        return list(chain.from_iterable([piece.seqs for piece in self.pieces]))

    @property
    def lanes(self) -> list[LaneQueue]:
        return list(dict.fromkeys(lane for lane, _ in self.shares))

    def with_fates(self, fates: Sequence[Fate]) -> Iterator[tuple[LaneQueue, Piece, Sequence[Fate]]]:
        """Each share, and what becomes of its entries."""
        start = 0
        for lane, piece in self.shares:
            yield lane, piece, fates[start : start + piece.count]
            start += piece.count

    @property
    def lane_of_each(self) -> list[LaneQueue]:
        """The lane of each entry."""
        return [lane for lane, piece in self.shares for _ in piece.seqs]


def waits_of(again: Iterable[tuple[LaneQueue, Retry]], most: float) -> dict[LaneQueue, float]:
    """For how many seconds each lane is to wait, as the sink named them; 0 for none.

    Equally long means to the second: a sink that names times a moment apart still gets its events together.

    Args:
        again: the lane of each entry that failed, and what was answered.
        most: seconds; no wait is longer.
    """
    waits: dict[LaneQueue, float] = {}
    for lane, retry in again:
        after = min(retry.after, most) if retry.after is not None and retry.after > 0 else 0.0
        waits[lane] = max(waits.get(lane, 0.0), after)
    together: dict[int, float] = {}
    for after in waits.values():
        together[ceil(after)] = max(together.get(ceil(after), 0.0), after)
    return {lane: together[ceil(after)] for lane, after in waits.items()}


def tried(fates: Iterable[Fate]) -> bool:
    """Whether the sink has tried any of these."""
    return any(fate is not Fate.UNTRIED for fate in fates)


def kept(piece: Piece, fates: Sequence[Fate], failure: Failure | None) -> tuple[list[Piece], list[int]]:
    """Of a piece that was offered what comes again, with its failure, and what is finished."""
    parts: dict[Fate, list[int]] = {Fate.FINISHED: [], Fate.FAILED: [], Fate.UNTRIED: []}
    for index, fate in enumerate(fates):
        parts[fate].append(index)
    pieces = []
    if failed := parts[Fate.FAILED]:
        assert failure is not None, "it failed"
        pieces.append(piece.only(failed).failed(failure))
    if untried := parts[Fate.UNTRIED]:
        pieces.append(piece.only(untried))
    return pieces, [piece.seqs[index] for index in parts[Fate.FINISHED]]
