"""What goes to a sink together. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from tdbwatch.daemon.couriers.lane import LaneQueue
from tdbwatch.daemon.couriers.pieces import Failure, Piece
from tdbwatch.plugin.batch import Batch

Share = tuple[LaneQueue, Piece]
"""A piece, and the lane that it is of."""


@dataclass(slots=True, eq=False)
class Parcel:
    """Entries that the sink has now.

    Attributes:
        failure: what became of them before; None: they were never tried.
        since: when they went, by the monotonic clock.
        lanes: the lanes that they are of.
        back: what of them comes again, once that is known.
    """

    shares: list[Share]
    failure: Failure | None
    since: float
    lanes: list[LaneQueue] = field(init=False)
    back: Sequence[Share] = ()

    def __post_init__(self) -> None:
        self.lanes = list(dict.fromkeys([lane for lane, _ in self.shares]))

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
    def batch(self) -> Batch:
        """As the sink is given them."""
        return Batch(self.pieces)

    @property
    def seqs(self) -> list[int]:
        return list(chain.from_iterable([piece.seqs for piece in self.pieces]))
