"""Looking into a spool from another process, whether a daemon uses it or not; and leaving orders in it.

Each question is a statement of its own: a reader that stays in one transaction would keep SQLite from
recycling its log while the daemon goes on writing.
"""

import errno
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from tdbwatch.daemon.spool.api import Order, OrderKind
from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.daemon.spool.file.damage import side, trusting_nothing
from tdbwatch.daemon.spool.file.foreign import refuse_foreign
from tdbwatch.daemon.spool.looking import numbers
from tdbwatch.daemon.spool.looking.faults import faults
from tdbwatch.daemon.spool.looking.found import Figures, Stats, Story
from tdbwatch.daemon.spool.looking.letters import DeadLetters
from tdbwatch.daemon.spool.looking.log import ByName, Log
from tdbwatch.daemon.spool.stored import orders, progress
from tdbwatch.daemon.spool.stored.history import attempts_at
from tdbwatch.daemon.spool.stored.schema import check_kind
from tdbwatch.daemon.spool.stored.selection import Selection

_PATIENCE: Final = 5.0
"""Seconds to wait for another process that writes."""


class NoSpoolError(SpoolError):
    """There is no spool at this place."""


class Look:
    """What can be asked of a spool's file.

    Every method, those of its parts included, raises `sqlite3.Error` where the file is damaged, or cannot be
    read or written.

    Attributes:
        log: the entries.
        letters: the dead letters.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path
        self.log = Log(connection)
        self.letters = DeadLetters(connection)

    def figures(self) -> Figures:
        """Sizes, and the dead letters by sink."""
        return numbers.figures(self._connection, self.path)

    def stats(self, wants: Mapping[str, ByName] | None = None) -> Stats:
        """The spool in numbers.

        Args:
            wants: by sink, what the routes send there; of others all that they have not finished counts.
        """
        with trusting_nothing():
            return numbers.stats(self._connection, self.path, wants or {})

    def sinks(self) -> set[str]:
        """All sinks with progress or dead letters."""
        rows = self._connection.execute("SELECT sink FROM progress UNION SELECT sink FROM dead_letters")
        return {sink for (sink,) in rows}

    def faults(self, most: int) -> list[str]:
        """What is wrong with the file; so many things at most."""
        return faults(self._connection, most)

    # -- single events -----------------------------------------------------------------------------------

    def ids_like(self, beginning: str, *, dead_only: bool = False) -> list[str]:
        """The ids of events that begin so, two at most."""
        found: set[str] = set()
        for event_id in self._ids_like(beginning, dead_only):
            found.add(event_id)
            if len(found) > 1:
                break
        return sorted(found)

    def _ids_like(self, beginning: str, dead_only: bool) -> Iterator[str]:
        dead = (letter.entry.event.id for letter in self.letters.some(Selection()))
        yield from (event_id for event_id in dead if event_id.startswith(beginning))
        if not dead_only:
            yield from self.log.ids_like(beginning)

    def story(self, event_id: str) -> Story:
        """All that is known of an event."""
        selection = Selection(ids=(event_id,))
        found = tuple(self.log.some(selection))
        dead = tuple(self.letters.some(selection))
        seqs = {entry.seq for entry in found} | {letter.entry.seq for letter in dead}
        with trusting_nothing():
            attempts = [attempt for seq in sorted(seqs) for attempt in attempts_at(self._connection, seq)]
            done = progress.load(self._connection)
        attempts.sort(key=lambda attempt: attempt.started_us)
        return Story(found, dead, tuple(attempts), done)

    # -- orders ------------------------------------------------------------------------------------------

    def orders(self) -> list[Order]:
        """What people asked for and is not done."""
        return orders.waiting(self._connection)

    def strange_orders(self) -> int:
        """Orders that this version does not understand."""
        return orders.unknown(self._connection)

    def order(self, kind: OrderKind, sink: str, selection: Selection) -> int:
        """Leave an order; how many records or dead letters it is about. Safe beside a running daemon."""
        if kind == "requeue":
            about = [number for number, letter in self.letters.numbered(selection) if letter.sink == sink]
        else:
            about = [entry.seq for entry in self.log.some(selection) if entry.target is None]
        if about:
            now_us = time.time_ns() // 1000
            orders.insert(self._connection, kind, sink, selection, about[-1], now_us)
        return len(about)


@contextmanager
def opened(path: Path, mode: Literal["ro", "rw"] = "ro") -> Iterator[Look]:
    """A look into the spool at `path`, which is never made.

    Raises:
        NoSpoolError: there is none.
        SpoolError: it is no spool, or one of another version.
        PermissionError: it, or its folder, may not be read.
        sqlite3.Error: it is damaged, or cannot be read or written.
    """
    if not path.is_file():
        raise NoSpoolError(f"there is no spool at {path}")
    if not os.access(path, os.R_OK, effective_ids=True):  # SQLite would say that it cannot open it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    refuse_foreign(path)
    with trusting_nothing():
        connection = _connect(path, mode)
    with closing(connection):
        with trusting_nothing():
            check_kind(connection, path)
        yield Look(connection, path)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    place = f"file:{quote(str(path.absolute()))}"
    connection = sqlite3.connect(f"{place}?mode={mode}", uri=True, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.OperationalError:
        connection.close()
        if mode != "ro" or side(path, "-wal").exists():
            raise
        # Nobody has it open, and the folder cannot be written: SQLite wants to be told that it is safe.
        return sqlite3.connect(f"{place}?immutable=1", uri=True, isolation_level=None)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
