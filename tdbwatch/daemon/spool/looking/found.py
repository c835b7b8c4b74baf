"""What a look into a spool finds."""

from collections.abc import Mapping
from dataclasses import dataclass

from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry, Order, Progress
from tdbwatch.daemon.spool.stored.drops import Tally


@dataclass(frozen=True, slots=True)
class Letters:
    """One sink's dead letters: how many, and why the latest became one."""

    count: int = 0
    last_reason: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """What only the file can tell.

    Attributes:
        size: bytes on disk, side files included.
        used: bytes of the file that hold something, which is what `spool.max_size` limits: the file never
            shrinks, and the side files come on top.
        letters: dead letters by sink.
    """

    size: int
    used: int
    letters: Mapping[str, Letters]


@dataclass(frozen=True, slots=True)
class SinkState:
    """How far a sink is: `behind` counts the entries in the log that it has not finished, as far as the
    routes send them there; where these are not known, all of them."""

    sink: str
    floor: int
    behind: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Stats:
    """A spool in numbers. Times in microseconds since the Unix epoch; None where the log is empty.

    Attributes:
        count: entries, copies included.
        oldest_us, newest_us: between which times they were received.
    """

    size: int
    count: int
    first_seq: int
    last_seq: int
    oldest_us: int | None
    newest_us: int | None
    sinks: tuple[SinkState, ...]
    orders: tuple[Order, ...]
    drops: tuple[Tally, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of one event: where it is in the log, and what its sinks said."""

    entries: tuple[Entry, ...]
    letters: tuple[DeadLetter, ...]
    attempts: tuple[Attempt, ...]
    progress: Mapping[str, Progress]
