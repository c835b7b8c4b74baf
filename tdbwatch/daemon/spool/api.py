"""What the daemon asks of a spool, whatever engine is behind it.

The log is a sequence of entries with growing numbers (seqs). It is written and read in blocks: neighbouring
entries of one lane. What a sink has finished is its progress: a floor, and the lanes that are behind it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from tdbwatch.daemon.spool.errors import SpoolError as SpoolError  # noqa: PLC0414 - of the seam, too
from tdbwatch.daemon.spool.spans import Span, holds
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import Block, Heard, Lane
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.daemon.spool.stored.orders import Order
from tdbwatch.plugin.event import Event

WhenFull = Literal["drop_oldest", "drop_newest"]
"""What a full spool gives up: the oldest undelivered entries, or what comes in."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event and its place, for those who look at single ones.

    Attributes:
        seq: its number in the log: growing, never used twice.
        event: what was appended, with the same id after every restart.
        target: the only sink that gets it (a replay or a requeue); None: every sink.
    """

    seq: int
    event: Event
    target: str | None = None


class Past(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of some entries in a row so far: they failed together, and share this.

    Attributes:
        count: how many entries.
        attempts: made with them.
        first_us: when the first attempt was made, in microseconds since the Unix epoch.
        unended: attempts in a row that began and never ended, as far as these were written down.
    """

    count: int
    attempts: int
    first_us: int
    first_error: str
    last_error: str
    unended: int = 0


@dataclass(frozen=True, slots=True)
class Behind:
    """A lane whose entries are not finished from `first_seq` on, though the floor may be beyond.

    Attributes:
        first_seq: the first entry that is not finished.
        beyond: between which numbers after it entries are finished all the same. At most as many as one batch
            has; more where a sink does not keep the room's order.
        tried: of the unfinished ones from `first_seq` on, in order, those that were tried in vain. Where a
            sink does not keep the room's order, others may be between them; they have no attempts.
    """

    first_seq: int
    beyond: tuple[Span, ...] = ()
    tried: tuple[Past, ...] = ()

    def finished(self, first_seq: int, last_seq: int) -> bool:
        """Whether all entries of this lane between these, up to the floor, are finished."""
        return last_seq < self.first_seq or holds(self.beyond, first_seq, last_seq)


@dataclass(slots=True)
class Progress:
    """What a sink has finished.

    An entry is finished if it is not beyond the floor and its lane is not behind, or says that it is.

    Attributes:
        left_at: the last entry before the sink was gone from the configuration; None: it is not gone.
    """

    floor: int
    behind: dict[Lane, Behind] = field(default_factory=dict)
    left_at: int | None = None

    def finished(self, seq: int, lane: Lane) -> bool:
        """Whether this entry is finished."""
        return self.all_finished(seq, seq, lane)

    def all_finished(self, first_seq: int, last_seq: int, lane: Lane) -> bool:
        """Whether all entries of this lane between these are finished."""
        behind = self.behind.get(lane)
        return last_seq <= self.floor and (behind is None or behind.finished(first_seq, last_seq))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a sink will not get any more, and why. Times in microseconds since the Unix epoch."""

    sink: str
    entry: Entry
    reason: str
    attempts: int
    first_error: str
    last_error: str
    first_us: int
    dead_us: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a sink with some entries, and what it said. History for people: nothing depends on it.

    Attributes:
        seqs: the entries that this outcome holds for.
        number: 1 for the first attempt.
        started_us: in microseconds since the Unix epoch.
        outcome: `delivered`, `retry`, `paused`, `rejected` or `error`.
        detail: the sink's answer or the error, shortened.
    """

    sink: str
    seqs: Sequence[int]
    number: int
    started_us: int
    duration_us: int
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A block that the log has given up, delivered or not."""

    first_seq: int
    count: int
    lane: Lane
    target: str | None

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.count - 1


class Spool(Protocol):
    """One append-only log that every sink reads for itself. All methods belong to the event loop's thread.

    Those that ask for what is in the file raise `SpoolError` where it cannot be read; try again later.

    Attributes:
        interrupted: whether the last deliveries of the process that had this spool before may have begun and
            never ended: it was killed, or of a crash. Whoever is through with them may say that it is not.
        last_beat: the last sign of life of the daemon that had this spool before; None: there was none.
    """

    interrupted: bool
    last_beat: Beat | None

    async def open(self) -> None:
        """Get ready.

        Raises:
            SpoolError: another process uses it, a newer version wrote it, or its place cannot be written.
        """

    async def close(self) -> None:
        """Make everything durable and let go of the file. More than once does no harm."""

    # -- the way in --------------------------------------------------------------------------------------

    def append(self, heard: Sequence[Heard]) -> None:
        """Take these events, in order. Never blocks and never raises for trouble with the disk."""

    def remember(self, marks: Sequence[Mark]) -> None:
        """Keep what routes remember, durable with or after all that was appended before. Never blocks."""

    async def flush(self) -> None:
        """Return when all that was appended and saved so far is durable."""

    def beat(self, beat: Beat) -> None:
        """Keep this sign of life, durable with all that was appended before. Never blocks."""

    async def unhurried(self) -> None:
        """Return when what waits for the disk leaves time for anything else: taking events in goes first."""

    # -- the way out -------------------------------------------------------------------------------------

    @property
    def last_seq(self) -> int:
        """The newest durable entry; 0 when there never was one."""

    @property
    def first_seq(self) -> int:
        """The oldest entry that is still kept; `last_seq` + 1 when there is none."""

    async def wait_after(self, seq: int) -> None:
        """Return when `last_seq` is greater than `seq`."""

    async def read(self, after: int, max_bytes: int) -> list[Block]:
        """Whole blocks, in order, of which the first has an entry after `after`; about `max_bytes` of them.

        At least one, if there is any.
        """

    async def read_lane(self, lane: Lane, after: int, through: int, max_bytes: int) -> list[Block]:
        """As `read`, but the blocks of one lane only, as far as they begin at `through` or before."""

    async def count_lane(self, lane: Lane, after: int, through: int) -> int:
        """How many entries of one lane there are from `after` (not included) to `through` (included)."""

    def watch(self, told: Callable[[Sequence[Gone]], None]) -> Callable[[], None]:
        """Have `told` called, in the event loop, with the blocks that the log gives up from now on.

        Until what is returned is called.
        """

    # -- what sinks have finished ------------------------------------------------------------------------

    def progress(self, sink: str) -> Progress:
        """What `sink` has finished, as it was saved last; it changes with what is saved.

        A sink that is new starts at the end of the log; at the beginning when the log is new.
        """

    def use_sinks(self, names: Collection[str], left: Mapping[str, Progress | None]) -> None:
        """From now on these are the sinks of the configuration; others hold nothing back any more.

        Args:
            left: what `left` says of those that were none of them; None: they begin at the end of the log.
        """

    async def left(self, sink: str) -> Progress | None:
        """What a sink had finished that is gone from the configuration; None: nothing is known of it."""

    def save(self, sink: str, floor: int, changed: Mapping[Lane, Behind | None]) -> None:
        """The progress of `sink`, durable with one of the next commits.

        Args:
            changed: the lanes that are behind otherwise than when it was saved last; None: no longer.
        """

    async def dead_letter(
        self,
        sink: str,
        floor: int,
        changed: Mapping[Lane, Behind | None],
        letters: Sequence[DeadLetter],
    ) -> None:
        """As `save`, and keep these letters: both with one commit, durable on return.

        So an event that became a dead letter is never offered again, and never gets a second one.
        """

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Keep these for those who ask what became of an event; written with a later commit."""

    async def values(self) -> dict[str, dict[str, bytes]]:
        """What sinks keep for themselves, as of the last commit, by sink and key."""

    def keep(self, sink: str, key: str, value: bytes | None) -> None:
        """Keep a value for a sink, durable no later than what it finishes from now on; None: delete it.

        May be called from any thread.
        """

    # -- delivering again --------------------------------------------------------------------------------

    async def marks(self) -> list[Mark]:
        """What routes that hold events back remember, as of the last commit."""

    async def orders(self) -> list[Order]:
        """What people asked for and is not done."""

    async def letters(self, order: Order, limit: int, max_bytes: int) -> list[tuple[int, Entry]]:
        """The next dead letters of a requeue, each with its number; at least one, if there is any."""

    @property
    def redelivery_bytes(self) -> int:
        """Bytes of events that should be redelivered in one step."""

    async def redeliver(
        self, order: Order, heard: Sequence[Heard], position: int, letters: Sequence[int] = ()
    ) -> bool:
        """Put copies of these events at the end of the log, for the order's sink, and move the order on.

        All in one commit, durable on return: `letters` (numbers) end with it.

        Returns:
            False: there is no room that is not needed for other things; try again later.
        """
