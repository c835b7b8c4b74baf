"""Stores whose connection dies when told to, and what is in their files."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tdbwatch.daemon.spool.api import Entry, Progress
from tdbwatch.daemon.spool.inbox import Inbox
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.stored import orders, progress
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.daemon.spool.stored.drops import unsettled
from tdbwatch.daemon.spool.stored.history import letters_after
from tdbwatch.daemon.spool.stored.log import Row, blocks_where, entries_of
from tdbwatch.daemon.spool.stored.orders import Order
from tdbwatch.daemon.spool.stored.store import Store
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.plugin import Event

IN_MEMORY = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)
"""Where no disk has to write files: crashes are copies here, and waiting for a disk tells nothing."""


class PowerCutError(Exception):
    """The machine went down here."""


class Trapped(sqlite3.Connection):
    """Calls `trap` before and after each statement."""

    trap: Callable[[], None] | None = None

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self.spring()
        done = super().execute(*args)
        self.spring()
        return done

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        self.spring()
        done = super().executemany(*args)
        self.spring()
        return done

    def spring(self) -> None:
        if self.trap is not None:
            self.trap()


class Machine:
    """A store on a machine that may go down.

    A crash is made real by copying the database and its log at that very moment, as a power cut would leave
    them, and going on with the copy.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=IN_MEMORY))
        self.generation = 0
        self.open()

    def open(self) -> None:
        self.path = self.folder / f"{self.generation}.db"
        self.store = Store(self.path, lambda path: connect(path, Trapped))

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def crash_in(self, action: Callable[[], Any], statement: int) -> None:
        """Do it, but for a power cut at this statement, if it comes so far; go on with what the disk has."""
        left = statement

        def trap() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise PowerCutError

        connection: Any = self.store.connection
        connection.trap = trap
        with contextlib.suppress(PowerCutError):
            action()
        self.generation += 1
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.path}{suffix}", self.folder / f"{self.generation}.db{suffix}")
        connection.trap = None
        self.reopen()

    def end(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


class Content:
    """All that a file says, by a connection of its own. Contents are equal if they say the same."""

    def __init__(self, path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            self.entries = [
                entry
                for block in blocks_where(connection, "1 ORDER BY first_seq", ())
                for entry in entries_of(block)
            ]
            self.letters = [(n, one.sink, one.entry) for n, one in letters_after(connection, 0, 1 << 60)]
            query = "SELECT seq FROM sqlite_sequence WHERE name = 'dead_letters'"
            self.letters_ever = (connection.execute(query).fetchone() or [0])[0]
            self.orders: list[Order] = orders.waiting(connection)
            self.progress: dict[str, Progress] = progress.load(connection)
            self.drops = {
                (tally.reason, lane): loss.count
                for tally in unsettled(connection)
                for lane, loss in tally.rooms.items()
            }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Content({vars(self)})"


def rows_of(events: Iterable[Event]) -> list[Row]:
    """What the store gets when these were heard."""
    inbox = Inbox(Limits(), 0, 0)
    inbox.put(heard(events), "")
    group = inbox.take(0)
    assert group is not None
    return [packing.row() for packing in group.packings]


def by_lane(events: Iterable[Event]) -> list[Event]:
    """In the order in which a commit writes them."""
    lanes: dict[Lane, list[Event]] = {}
    for event in events:
        lanes.setdefault(Lane(event.scope, event.room), []).append(event)
    return [event for lane in lanes.values() for event in lane]


def numbered(events: Iterable[Event], after: int, target: str | None = None) -> list[Entry]:
    return [Entry(seq, event, target) for seq, event in enumerate(events, after + 1)]
