"""What the daemon asks of a spool, whatever engine is behind it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from tdbwatch.daemon.spool.finished import Finished
from tdbwatch.daemon.spool.pending import Pending
from tdbwatch.plugin.event import Event

WhenFull = Literal["drop_oldest", "drop_newest"]
"""What a full spool gives up: the oldest undelivered entries, or what comes in."""


class SpoolError(Exception):
    """The spool cannot be used; the text says why and what to do."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event in the log. Hundreds of thousands are in memory, so the garbage collector leaves them alone.

    Attributes:
        seq: its place: growing, never used twice, not necessarily without gaps.
        event: what was appended, with the same id after every restart.
        target: the only sink that gets it (a replay or a requeue); None: every sink.
    """

    seq: int
    event: Event
    target: str | None = None


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
    """One call of a sink with some entries, and what it said.

    Attributes:
        seqs: the entries that this outcome holds for.
        number: 1 for the first attempt.
        started_us: in microseconds since the Unix epoch.
        outcome: `delivered`, `retry`, `paused`, `rejected` or `error`.
        detail: the sink's answer or the error, shortened.
    """

    sink: str
    seqs: tuple[int, ...]
    number: int
    started_us: int
    duration_us: int
    outcome: str
    detail: str


@dataclass(slots=True)
class Past:
    """What became of one unfinished entry before a restart. Times in microseconds since the Unix epoch.

    Attributes:
        company: the entries, itself among them, that had the same answer in its last attempt.
    """

    attempts: int
    first_us: int
    first_error: str
    last_error: str
    company: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """What a sink's attempts say of the entries beyond its cursor.

    Attributes:
        failed: by seq, those that were tried in vain.
        finished: those that the sink took, or that are dead letters of its.
    """

    failed: Mapping[int, Past]
    finished: Finished


@dataclass(frozen=True, slots=True)
class DropReport:
    """Undelivered events that were given up, so that a gap record can tell of them.

    Attributes:
        reason: `max_size`, `max_age`, or that the disk did not take them.
        count: how many in all.
        since_us: when the first of them was received, in microseconds since the Unix epoch.
        until_us: when the last of them was received.
        rooms: how many, by (scope, room).
        again: how many of them were in a report before, whose gap record was given up, too.
        times: the first and the last time, by (scope, room).
    """

    reason: str
    count: int
    since_us: int
    until_us: int
    rooms: Mapping[tuple[str, str], int]
    again: int = 0
    times: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DamageReport:
    """The spool's file was damaged, moved aside, and a new one begun.

    Attributes:
        moved_to: where the damaged file is now, if anything was left of it.
        error: what SQLite said of it.
        rescued: entries that were in memory, or still readable, and are in the new file.
        letters: dead letters that are.
    """

    path: Path
    moved_to: Path
    error: str
    rescued: int
    letters: int = 0

    @property
    def kept(self) -> bool:
        """Whether there is a damaged file to look into: one that somebody removed is not."""
        return self.moved_to.exists()


class Spool(Protocol):
    """One append-only log with a cursor per sink. All methods belong to the event loop's thread."""

    async def open(self) -> None:
        """Get ready.

        Raises:
            SpoolError: another process uses it, a newer version wrote it, or its place cannot be written.
        """

    async def close(self) -> None:
        """Make everything durable and let go of the file. More than once does no harm."""

    def append(self, events: Sequence[Event]) -> None:
        """Take these events, in order. Never blocks and never raises for trouble with the disk."""

    async def flush(self) -> None:
        """Return when all that was appended and advanced so far is durable."""

    @property
    def last_seq(self) -> int:
        """The newest durable entry; 0 when there never was one."""

    @property
    def first_seq(self) -> int:
        """The oldest entry that is still kept; `last_seq` + 1 when there is none."""

    async def read(self, after: int, limit: int, max_bytes: int) -> list[Entry]:
        """Durable entries after `after`, in order: at most `limit` and about `max_bytes`, at least one."""

    async def wait_after(self, seq: int) -> None:
        """Return when `last_seq` is greater than `seq`."""

    def cursor(self, sink: str) -> int:
        """The entries up to this one are finished for `sink`.

        A sink that is asked for the first time starts at the end of the log; at the beginning when the
        log is new. Asking also says that the sink exists: what it has not got counts as undelivered.
        """

    def reads(
        self,
        sink: str,
        wants: Callable[[Event], bool],
        backlog: Callable[[int], int],
        asked: Callable[[], None] = lambda: None,
        pending: Callable[[], Pending] | None = None,
    ) -> None:
        """`sink` is read for from now on; until then what people ask to be delivered to it again waits.

        Args:
            wants: what of a replay is for it. Called in other threads.
            backlog: given the newest entry, how many there are that it could get now and has not; a long one
                puts such requests off. Called in other threads.
            asked: called once for each such request, in the event loop.
            pending: what of the log it has read and not finished: all else may make room, though its cursor
                is before it. Called in the event loop. None: nobody knows.
        """

    def history(self, sink: str) -> History:
        """What was tried before the start with the entries beyond the cursor, as far as it is known."""

    def advance(self, sink: str, seq: int) -> None:
        """Move the cursor of `sink` to `seq`; durable with one of the next commits."""

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these; durable on return."""

    def note(self, attempt: Attempt) -> None:
        """Keep this attempt for those who ask what became of an event; written with a later commit."""
