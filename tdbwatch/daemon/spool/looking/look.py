"""What a look into a spool finds."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Literal

from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry, Progress
from tdbwatch.daemon.spool.errors import SpoolError, trusting_nothing
from tdbwatch.daemon.spool.file.place import check_place, side
from tdbwatch.daemon.spool.looking.log import DeadLetters, Log
from tdbwatch.daemon.spool.stored import drops, orders, progress
from tdbwatch.daemon.spool.stored.history import attempts_at, letter_at
from tdbwatch.daemon.spool.stored.log import blocks_where
from tdbwatch.daemon.spool.stored.orders import Order, OrderKind, Selection
from tdbwatch.daemon.spool.stored.tables import check_kind, connect_to

_PATIENCE: Final = 5.0
"""Seconds to wait for another process that writes."""
_BLOCKS: Final = "SELECT first_seq FROM blocks NOT INDEXED ORDER BY first_seq"
_LETTERS: Final = "SELECT number FROM dead_letters ORDER BY number"


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of one event: where it is in the log, and what its sinks said."""

    entries: tuple[Entry, ...]
    letters: tuple[DeadLetter, ...]
    attempts: tuple[Attempt, ...]
    progress: Mapping[str, Progress]


class NoSpoolError(SpoolError):
    """There is no spool at this place."""


class Look:
    """What can be asked of a spool's file.

    Every method, those of its parts included, raises `sqlite3.Error` where the file is damaged, or cannot be
    read or written.

    Attributes:
        connection: to the file; for what no method asks.
        log: the entries.
        letters: the dead letters.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.log = Log(connection)
        self.letters = DeadLetters(connection)

    def sinks(self) -> set[str]:
        """All sinks with progress or dead letters."""
        rows = self.connection.execute("SELECT sink FROM progress UNION SELECT sink FROM dead_letters")
        return {sink for (sink,) in rows}

    # -- single events -----------------------------------------------------------------------------------

    def ids_like(self, beginning: str, *, dead_only: bool = False) -> list[str]:
        """The ids of events that begin so, two at most."""
        dead = (letter.entry.event.id for letter in self.letters.some(Selection()))
        found: set[str] = set()
        for event_id in chain(dead, () if dead_only else self.log.ids_like(beginning)):
            if event_id.startswith(beginning):
                found.add(event_id)
            if len(found) > 1:
                break
        return sorted(found)

    def story(self, event_id: str) -> Story:
        """All that is known of an event."""
        selection = Selection(ids=(event_id,))
        found = tuple(self.log.some(selection))
        dead = tuple(self.letters.some(selection))
        seqs = {entry.seq for entry in found} | {letter.entry.seq for letter in dead}
        with trusting_nothing():
            attempts = [attempt for seq in sorted(seqs) for attempt in attempts_at(self.connection, seq)]
            done = progress.load(self.connection)
        attempts.sort(key=lambda attempt: attempt.started_us)
        return Story(found, dead, tuple(attempts), done)

    # -- orders ------------------------------------------------------------------------------------------

    def orders(self) -> list[Order]:
        """What people asked for and is not done."""
        return orders.waiting(self.connection)

    def wake(self, sink: str) -> None:
        """Ask the daemon that runs to try this sink now."""
        orders.insert(self.connection, "wake", sink, Selection(), 0)

    def order(self, kind: OrderKind, sink: str, selection: Selection) -> int:
        """Leave an order; how many records or dead letters it is about. Safe beside a running daemon."""
        if kind == "requeue":
            about = [number for number, letter in self.letters.numbered(selection) if letter.sink == sink]
        else:
            about = [entry.seq for entry in self.log.some(selection) if entry.target is None]
        if about:
            orders.insert(self.connection, kind, sink, selection, about[-1])
        return len(about)


@contextmanager
def opened(path: Path, mode: Literal["ro", "rw"] = "ro") -> Iterator[Look]:
    """A look into the spool at `path`, which is never made.

    Raises:
        NoSpoolError: there is none.
        SpoolError: it is no spool, or one of another version, or not to be opened (see `check_place`).
        PermissionError: it, or its folder, may not be read.
        sqlite3.Error: it is damaged, or cannot be read or written.
    """
    if not path.is_file():
        raise NoSpoolError(f"there is no spool at {path}")
    if not os.access(path, os.R_OK, effective_ids=True):  # SQLite would say that it cannot open it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    check_place(path)
    with trusting_nothing():
        connection = _connect(path, mode)
    with closing(connection):
        with trusting_nothing():
            check_kind(connection, path)
        yield Look(connection, path)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = connect_to(path, f"mode={mode}", timeout=_PATIENCE)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.OperationalError:
        connection.close()
        if mode != "ro" or side(path, "-wal").exists():
            raise
        # Nobody has it open, and the folder cannot be written: SQLite wants to be told that it is safe.
        return connect_to(path, "immutable=1")
    except BaseException:  # also what is no text in a spoilt file
        connection.close()
        raise
    return connection


def faults(connection: sqlite3.Connection, most: int) -> list[str]:
    """What SQLite finds wrong, and then rows that make no sense; so many at most.

    Raises:
        sqlite3.DatabaseError: it is so damaged that SQLite does not even say where.
    """
    with trusting_nothing():
        found = [row[0] for row in connection.execute(f"PRAGMA integrity_check({most})")]
    return list(islice(_nonsense(connection), most)) if found == ["ok"] else found


def _nonsense(connection: sqlite3.Connection) -> Iterator[str]:
    blocks = (partial(blocks_where, terms="first_seq = ?", values=row) for row in connection.execute(_BLOCKS))
    letters = (partial(letter_at, number=number) for (number,) in connection.execute(_LETTERS))
    questions: Iterator[Callable[[sqlite3.Connection], Any]]
    questions = chain((progress.load, drops.unsettled), blocks, letters)
    for question in questions:
        try:
            with trusting_nothing():
                question(connection)
        except sqlite3.DatabaseError as error:
            yield str(error)
