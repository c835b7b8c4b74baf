"""A spool in numbers."""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.api import Progress
from tdbwatch.daemon.spool.errors import trusting_nothing
from tdbwatch.daemon.spool.file.place import side
from tdbwatch.daemon.spool.looking.log import Wants
from tdbwatch.daemon.spool.looking.look import Look
from tdbwatch.daemon.spool.spans import outside
from tdbwatch.daemon.spool.stored import progress
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ
from tdbwatch.daemon.spool.stored.drops import Tally, unsettled
from tdbwatch.daemon.spool.stored.log import count_between, extent
from tdbwatch.daemon.spool.stored.orders import Order

_LETTERS: Final = "SELECT sink, count(*), reason, max(number) FROM dead_letters GROUP BY sink"
"""With max(), SQLite takes the other columns from the row that has the maximum."""
_ITS: Final = " AND (target IS NULL OR target = :sink)"
_ABOUT_ROOMS: Final = " AND (scope <> '' OR room <> '')"
"""Records of nodes apart: few sinks want them, and each stop makes some when no sink takes any more."""
_ENDS: Final = (
    "SELECT min(first_us), max(last_us) FROM ("
    "SELECT * FROM (SELECT first_us, last_us FROM blocks WHERE target IS NULL ORDER BY first_seq LIMIT 100)"
    " UNION ALL SELECT * FROM"
    " (SELECT first_us, last_us FROM blocks WHERE target IS NULL ORDER BY first_seq DESC LIMIT 100))"
)
"""Between which times entries were received: clocks are set, so a few are looked at."""


@dataclass(frozen=True, slots=True)
class Letters:
    """One sink's dead letters: how many, and why the latest became one."""

    count: int = 0
    last_reason: str = ""


@dataclass(frozen=True, slots=True)
class SinkState:
    """How far a sink is: `behind` counts the entries in the log that it has not finished, as far as the
    routes send them there; where these are not known, all of them but what came last about nodes."""

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


def stats(look: Look, wants: Mapping[str, Wants] | None = None) -> Stats:
    """The spool in numbers.

    Args:
        wants: by sink, what the routes send there; of others all that they have not finished counts.

    Raises:
        sqlite3.Error: the file is damaged, or cannot be read.
    """
    connection = look.connection
    with trusting_nothing():
        first_seq, last_seq, count = extent(connection)
        oldest_us, newest_us = connection.execute(_ENDS).fetchone()
        return Stats(
            size_of(look.path),
            count,
            first_seq,
            last_seq,
            oldest_us,
            newest_us,
            tuple(_sinks(look, last_seq, wants or {})),
            tuple(look.orders()),
            tuple(unsettled(connection)),
        )


def letters_by_sink(connection: sqlite3.Connection) -> Mapping[str, Letters]:
    """How many dead letters there are, and why the latest became one."""
    rows = connection.execute(_LETTERS)
    return {sink: Letters(count, reason) for sink, count, reason, _ in rows}


def _sinks(look: Look, last_seq: int, wants: Mapping[str, Wants]) -> Iterator[SinkState]:
    known, letters = progress.load(look.connection), letters_by_sink(look.connection)
    for sink in sorted({*known, *letters}):
        done = known.get(sink, Progress(last_seq))
        if sink in wants:
            behind = look.log.behind(sink, done, wants[sink])
        else:
            behind = _unfinished(look.connection, sink, done)
        yield SinkState(sink, done.floor, behind, letters.get(sink, Letters()).count)


def size_of(path: Path) -> int:
    """Bytes on disk, side files included."""
    files = (path, side(path, "-wal"), side(path, "-shm"))
    return sum(file.stat().st_size for file in files if file.exists())


def _unfinished(connection: sqlite3.Connection, sink: str, done: Progress) -> int:
    """Entries that the sink has not finished, routed or not; copies for others apart."""
    end = MOST_SEQ if done.left_at is None else done.left_at
    total = count_between(connection, done.floor + 1, end, also=_ITS + _ABOUT_ROOMS, sink=sink)
    for lane, behind in done.behind.items():
        for first, last in outside(behind.beyond, behind.first_seq, done.floor):
            total += count_between(connection, first, last, lane, also=_ITS, sink=sink)
    return total
