"""Looking into a spool from another process, whether a daemon uses it or not. Reads only.

Each question is a statement of its own: a reader that stays in one transaction would keep SQLite from
recycling its log while the daemon goes on writing.
"""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from tdbwatch.daemon.spool import marks, times
from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry, SpoolError
from tdbwatch.daemon.spool.drops import Tally, unsettled
from tdbwatch.daemon.spool.extent import Extent, extent_of
from tdbwatch.daemon.spool.foreign import refuse_foreign
from tdbwatch.daemon.spool.history import attempts_at, finished_beyond
from tdbwatch.daemon.spool.paging import paged
from tdbwatch.daemon.spool.requests import Request, waiting
from tdbwatch.daemon.spool.rows import entry_of, letter_of
from tdbwatch.daemon.spool.schema import check_kind
from tdbwatch.daemon.spool.selection import LETTERS, LOG, Selection, teach_globs
from tdbwatch.plugin.event import Event

_PATIENCE: Final = 5.0
"""Seconds to wait for another process that writes."""
_ENTRY: Final = "number, id, stream, received_us, event, payload"
_LETTER: Final = (
    "sink, seq, id, stream, received_us, event, payload, reason, attempts, first_error, last_error, first_us,"
    " dead_us"
)


class NoSpoolError(SpoolError):
    """There is no spool at this place."""


@dataclass(frozen=True, slots=True)
class SinkState:
    """How far a sink is: `behind` counts the entries in the log that it has not finished, routed or not."""

    sink: str
    cursor: int
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
    requests: tuple[Request, ...]
    drops: tuple[Tally, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of one event: where it is in the log, and what its sinks said.

    `finished` are the marks of sinks that are finished with it beyond their cursor.
    """

    entries: tuple[Entry, ...]
    letters: tuple[DeadLetter, ...]
    attempts: tuple[Attempt, ...]
    finished: frozenset[marks.Mark]


@contextmanager
def opened(path: Path, mode: Literal["ro", "rw"] = "ro") -> Iterator[sqlite3.Connection]:
    """A connection to the spool at `path`, which is never made.

    Raises:
        NoSpoolError: there is none.
        SpoolError: it is no spool, or one of a newer version.
        PermissionError: it, or its folder, may not be read.
        sqlite3.Error: it is damaged, or cannot be read or written.
    """
    if not path.is_file():
        raise NoSpoolError(f"there is no spool at {path}")
    if not os.access(path, os.R_OK, effective_ids=True):  # SQLite would say that it cannot open it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    refuse_foreign(path)
    with closing(_connect(path, mode)) as connection:
        check_kind(connection, path)
        teach_globs(connection)
        yield connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    place = f"file:{quote(str(path.absolute()))}"
    connection = sqlite3.connect(f"{place}?mode={mode}", uri=True, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.OperationalError:
        connection.close()
        if mode != "ro" or path.with_name(path.name + "-wal").exists():
            raise
        # Nobody has it open, and the folder cannot be written: SQLite wants to be told that it is safe.
        return sqlite3.connect(f"{place}?immutable=1", uri=True, isolation_level=None)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def stats(connection: sqlite3.Connection, path: Path) -> Stats:
    """The spool in numbers."""
    extent = extent_of(connection)
    first, last = extent.first, extent.last
    oldest_us, newest_us = times.ends(connection)
    cursors = cursors_of(connection)
    dead = dict(connection.execute("SELECT sink, count(*) FROM dead_letters GROUP BY sink").fetchall())
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
    return Stats(
        size=sum(file.stat().st_size for file in files if file.exists()),
        count=extent.count,
        first_seq=first,
        last_seq=last,
        oldest_us=oldest_us,
        newest_us=newest_us,
        sinks=tuple(
            SinkState(
                sink,
                cursors.get(sink, last),
                _behind(connection, sink, max(cursors.get(sink, last), first - 1), extent),
                dead.get(sink, 0),
            )
            for sink in sorted({*cursors, *dead})
        ),
        requests=tuple(waiting(connection)),
        drops=tuple(unsettled(connection)),
    )


def cursors_of(connection: sqlite3.Connection) -> dict[str, int]:
    """By sink, up to where all is finished."""
    return dict(connection.execute("SELECT sink, seq FROM cursors").fetchall())


def known_sinks(connection: sqlite3.Connection) -> set[str]:
    """All sinks with a cursor or dead letters."""
    rows = connection.execute("SELECT sink FROM cursors UNION SELECT sink FROM dead_letters")
    return {sink for (sink,) in rows}


def _behind(connection: sqlite3.Connection, sink: str, cursor: int, extent: Extent) -> int:
    finished = finished_beyond(connection, sink, cursor, extent.last)
    if not extent.missing:
        return max(0, extent.last - cursor) - len(finished)
    rows = connection.execute("SELECT seq FROM events WHERE seq > ?", (cursor,))
    return sum(1 for (seq,) in rows if seq not in finished)


def entries(connection: sqlite3.Connection, selection: Selection, *, last: int = -1) -> Iterator[Entry]:
    """The entries of the log, in order.

    Args:
        last: only so many, the newest; -1: all.
    """
    terms, values = selection.conditions()
    return paged(connection, LOG, _ENTRY, terms, values, last, entry_of)


def unfinished(
    connection: sqlite3.Connection,
    selection: Selection,
    sink: str,
    wants: Callable[[Event], bool] | None = None,
    *,
    last: int = -1,
) -> Iterator[Entry]:
    """The entries that this sink is still to get, in order.

    Args:
        wants: whether the routes send an event to it; None: they are not known.
        last: only so many, the newest; -1: all.
    """
    cursor = cursors_of(connection).get(sink, 0)
    finished = finished_beyond(connection, sink, cursor, extent_of(connection).last)
    terms, values = selection.conditions()
    terms += " AND number > ? AND ifnull(target, ?) = ?"

    def is_for_it(entry: Entry) -> bool:
        routed = wants is None or entry.target is not None or wants(entry.event)
        return routed and entry.seq not in finished

    return paged(connection, LOG, _ENTRY, terms, [*values, cursor, sink, sink], last, entry_of, is_for_it)


def letters(connection: sqlite3.Connection, selection: Selection, *, last: int = -1) -> Iterator[DeadLetter]:
    """The dead letters, in the order in which they became so."""
    terms, values = selection.conditions()
    columns = f"number, {_LETTER}"
    return paged(
        connection, LETTERS, columns, terms, values, last, lambda row, streams: letter_of(row[1:], streams)
    )


def ids_like(connection: sqlite3.Connection, beginning: str) -> list[str]:
    """The ids of events that begin so, two at most."""
    return _ids_like(connection, "SELECT id FROM events UNION ALL SELECT id FROM dead_letters", beginning)


def dead_ids_like(connection: sqlite3.Connection, beginning: str) -> list[str]:
    """The ids of events with dead letters that begin so, two at most."""
    return _ids_like(connection, "SELECT id FROM dead_letters", beginning)


def _ids_like(connection: sqlite3.Connection, source: str, beginning: str) -> list[str]:
    query = f"SELECT DISTINCT id FROM ({source}) WHERE id >= ? AND id < ? LIMIT 2"  # noqa: S608 - our own words
    return [event_id for (event_id,) in connection.execute(query, (beginning, beginning + "~"))]


def last_of(connection: sqlite3.Connection) -> int:
    """The number of the log's last entry."""
    return extent_of(connection).last


def copied(connection: sqlite3.Connection, last: int) -> frozenset[str]:
    """The ids of events that were put into the log again, up to this entry."""
    if not connection.execute("SELECT count(*) FROM streams WHERE target IS NOT NULL").fetchone()[0]:
        return frozenset()
    terms = "target IS NOT NULL AND number <= ?"
    return frozenset(paged(connection, LOG, "number, id", terms, [last], -1, lambda row, _: str(row[1])))


def story(connection: sqlite3.Connection, event_id: str) -> Story:
    """All that is known of an event."""
    selection = Selection(ids=(event_id,))
    found = tuple(entries(connection, selection))
    dead = tuple(letters(connection, selection))
    seqs = {entry.seq for entry in found} | {letter.entry.seq for letter in dead}
    attempts = [attempt for seq in sorted(seqs) for attempt in attempts_at(connection, seq)]
    attempts.sort(key=lambda attempt: attempt.started_us)
    return Story(found, dead, tuple(attempts), marks.at(connection, seqs))
