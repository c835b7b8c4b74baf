"""One lane of a courier: the unfinished entries of one room, and what of them goes to the sink. Pure.

They lie in three stretches, oldest first: those that the sink has now, those that are held for it, and those
that are in the log only. Of those that are held, the ones that failed come first.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import chain
from typing import Final

from tdbwatch.daemon.couriers.pieces import UNTRIED, Failure, Piece, pasts
from tdbwatch.daemon.spool.api import Behind, Past
from tdbwatch.daemon.spool.spans import Span, between, joined, next_outside, spans_of
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Lane
from tdbwatch.plugin.batch import Batch


class State(Enum):
    """What a lane waits for. It follows from what the lane holds; the table says what may follow what."""

    READY = auto()
    """Its turn."""
    IN_FLIGHT = auto()
    """The sink's answer."""
    WAITING = auto()
    """The time of another attempt."""
    READING = auto()
    """To be read: all that is unfinished is in the log only."""
    DONE = auto()
    """Nothing: all is finished."""


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.READY: frozenset({State.IN_FLIGHT}),
    State.IN_FLIGHT: frozenset({State.READY, State.WAITING, State.READING, State.DONE}),
    State.WAITING: frozenset({State.IN_FLIGHT}),
    State.READING: frozenset({State.READING, State.READY, State.WAITING, State.DONE}),
    State.DONE: frozenset(),
}


class TransitionError(RuntimeError):
    """A mistake in the courier: this may not follow that."""


@dataclass(slots=True)
class OnDisk:
    """What is in the log only.

    Attributes:
        first_seq: no entry of it is older.
        last_seq: nor newer.
        count: how many, as far as is known.
    """

    first_seq: int
    last_seq: int
    count: int


@dataclass(slots=True, eq=False)
class LaneQueue:
    """The unfinished entries of one lane, for one sink.

    Attributes:
        key: what its entries have in common; None: it is the whole room.
        taken: what the sink has now.
        held: what comes after that.
        count: entries that are held.
        size: bytes that they count for.
        disk: what is in the log only; None: nothing.
        beyond: where there are finished entries, from the first that may be unfinished on.
        remembered: what became, before a restart, of the first entries on disk.
    """

    lane: Lane
    disk: OnDisk | None = None
    key: str | None = None
    state: State = State.READING
    taken: list[Piece] = field(default_factory=list)
    held: deque[Piece] = field(default_factory=deque)
    count: int = 0
    size: int = 0
    beyond: tuple[Span, ...] = ()
    remembered: tuple[Past, ...] = ()

    def __repr__(self) -> str:
        return f"<LaneQueue {self.lane.scope} {self.lane.room}: {self.state.name}>"

    def move(self) -> State:
        """Go to the state that follows from what is held now.

        Raises:
            TransitionError: that may not be.
        """
        state = self._follows()
        if state not in TRANSITIONS[self.state]:
            raise TransitionError(f"{self!r} may not become {state.name}")
        self.state = state
        return state

    def _follows(self) -> State:
        if self.taken:
            return State.IN_FLIGHT
        if self.held:
            return State.READY if self.held[0].failure is UNTRIED else State.WAITING
        return State.READING if self.disk is not None else State.DONE

    @property
    def head(self) -> Piece | None:
        """The oldest piece in memory."""
        if self.taken:
            return self.taken[0]
        return self.held[0] if self.held else None

    @property
    def in_memory(self) -> Sequence[Piece]:
        """All pieces that are."""
        return (*self.taken, *self.held)

    @property
    def first_seq(self) -> int:
        """The first unfinished entry, or an older one; `MOST_SEQ`: all is finished."""
        if (head := self.head) is not None:
            return head.first_seq
        return self.disk.first_seq if self.disk is not None else MOST_SEQ

    @property
    def sick(self) -> bool:
        """Whether its next entries failed before."""
        return (head := self.head) is not None and head.failure is not UNTRIED

    @property
    def failure(self) -> Failure:
        """What became of the entries that go next."""
        return self.held[0].failure

    def behind(self) -> Behind:
        """What is durable of it."""
        return Behind(self.first_seq, self.beyond, pasts(self.in_memory, self.remembered))

    def put(self, piece: Piece) -> None:
        """This comes behind all that is in memory."""
        self.held.append(piece)
        self.count, self.size = self.count + piece.count, self.size + piece.size

    def take(self, count: int, size: int, *, at_least: int) -> Piece | None:
        """The next piece, or as much of it as fits, is with the sink from now on; None: nothing fits.

        Args:
            at_least: entries that are taken even though they are larger.
        """
        piece = self.held[0]
        if not (fitting := max(piece.fitting(count, size), at_least)):
            return None
        if fitting < piece.count:
            piece, self.held[0] = piece.split(fitting)
        else:
            self.held.popleft()
        self.count, self.size = self.count - piece.count, self.size - piece.size
        self.taken.append(piece)
        return piece

    def put_back(self, unfinished: Sequence[Piece]) -> None:
        """Of what the sink has, these come again, before all else, and the others are finished."""
        finished = list[int]()
        if unfinished:
            left = {seq for piece in unfinished for seq in piece.seqs}
            finished = [seq for piece in self.taken for seq in piece.seqs if seq not in left]
        self.taken = []
        for piece in reversed(unfinished):
            self.held.appendleft(piece)
            self.count, self.size = self.count + piece.count, self.size + piece.size
        if finished or self.beyond:
            spans = joined(sorted((*self.beyond, *spans_of(finished))))
            self.beyond = between(spans, self.first_seq, MOST_SEQ)

    def let_go(self) -> list[Piece]:
        """What was never tried, and comes after all that was, stays in the log only."""
        pieces = list[Piece]()
        while self.held and self.held[-1].failure is UNTRIED:
            pieces.append(piece := self.held.pop())
            self.count, self.size = self.count - piece.count, self.size - piece.size
            self.leave(piece.first_seq, piece.last_seq, piece.count)
        if self.remembered:
            self.remembered = pasts(pieces, self.remembered)
        return pieces

    def leave(self, first_seq: int, last_seq: int, count: int) -> None:
        """These entries, all before or all after those that are in the log only, stay there, too."""
        if (disk := self.disk) is None:
            self.disk = OnDisk(first_seq, last_seq, count)
        else:
            disk.first_seq, disk.last_seq = min(first_seq, disk.first_seq), max(last_seq, disk.last_seq)
            disk.count += count

    def gone(self, first_seq: int, last_seq: int, count: int) -> None:
        """The log has given these up."""
        disk = self.disk
        if disk is None or last_seq < disk.first_seq or first_seq > disk.last_seq:
            return
        count = min(count, last_seq - disk.first_seq + 1)
        if first_seq <= disk.first_seq:
            self.remembered = ()
            self.read(count, last_seq)
        else:
            disk.count = max(0, disk.count - count)

    def read(self, count: int, through: int) -> None:
        """Up to `through` nothing is on disk any more; so many entries of it were."""
        disk = self.disk
        assert disk is not None, "it was read"
        disk.count = max(0, disk.count - count)
        disk.first_seq = next_outside(self.beyond, max(disk.first_seq, through + 1))
        if disk.first_seq > disk.last_seq:
            self.disk, self.remembered = None, ()


Share = tuple[LaneQueue, Piece]
"""A piece, and the lane that it is of."""


@dataclass(slots=True, eq=False)
class Parcel:
    """Entries that the sink has now.

    Attributes:
        failure: what became of them before.
        since: when they went, by the monotonic clock.
        asked: the breaker's then; another answer may come before the sink is called.
        lanes: the lanes that they are of.
        back: what of them comes again, once that is known.
    """

    shares: list[Share]
    failure: Failure
    since: float
    asked: int
    lanes: list[LaneQueue] = field(init=False)
    back: Sequence[Share] = ()

    def __post_init__(self) -> None:
        self.lanes = list(dict.fromkeys([lane for lane, _ in self.shares]))

    def __len__(self) -> int:
        return sum([piece.count for piece in self.pieces])

    @property
    def pieces(self) -> list[Piece]:
        return [piece for _, piece in self.shares]

    @property
    def batch(self) -> Batch:
        """As the sink is given them."""
        return Batch(self.pieces)

    @property
    def seqs(self) -> list[int]:
        return list(chain.from_iterable([piece.seqs for piece in self.pieces]))
