"""The spool's file, as the writer's thread sees it: plain blocking calls on the one writing connection."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool import drops, requests
from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry, History
from tdbwatch.daemon.spool.damage import Rescued
from tdbwatch.daemon.spool.drops import Tally
from tdbwatch.daemon.spool.history import NO_HISTORY, history_of
from tdbwatch.daemon.spool.inbox import Group
from tdbwatch.daemon.spool.pruning import Limits, older_than, oldest, undelivered
from tdbwatch.daemon.spool.requests import Request
from tdbwatch.daemon.spool.rows import (
    INSERT_ATTEMPT,
    INSERT_LETTER,
    Streams,
    attempt_rows,
    insert_events,
    letter_rows,
)
from tdbwatch.daemon.spool.schema import prepare, used_bytes
from tdbwatch.daemon.spool.selection import teach_globs
from tdbwatch.plugin.event import Event

_MAGIC: Final = b"SQLite format 3\0"
Connect = Callable[[Path], sqlite3.Connection]
_WAL_LIMIT: Final = 64 * 1024 * 1024


class Store:
    """The tables, and the numbering of entries."""

    def __init__(self, path: Path, connect: Connect) -> None:
        self.path = path
        # Open as long as the connection is: closing any descriptor of the file would drop SQLite's locks
        # on it (fcntl(2)), and another process could take the log away under our feet.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._connection = connect(path)
        except BaseException:
            os.close(self._file)
            raise
        try:
            self.fresh = prepare(self._connection, path)
            self._connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
            teach_globs(self._connection)
            self._streams = Streams(self._connection)
            self.cursors: dict[str, int] = dict(self._connection.execute("SELECT sink, seq FROM cursors"))
            self.first_seq, self.last_seq = self._bounds()
        except BaseException:
            self.close()
            raise

    def _bounds(self) -> tuple[int, int]:
        first, last = self._connection.execute(
            "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)"
        ).fetchone()
        kept = self._connection.execute("SELECT value FROM meta WHERE key = 'last_seq'").fetchone()
        last = max(last or 0, kept[0] if kept else 0, *self.cursors.values(), 0)
        return first or last + 1, last

    def close(self) -> None:
        """Let go of the file. More than once does no harm."""
        self._connection.close()
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def check(self) -> None:
        """Look at the file itself: SQLite's cache would hide for long that it was removed or overwritten.

        Raises:
            sqlite3.DatabaseError: it is not the file that was opened, or not a database any more.
        """
        try:
            there = os.path.samestat(self.path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            there = False
        if not there or os.pread(self._file, len(_MAGIC), 0) != _MAGIC:
            error = sqlite3.DatabaseError("the file was removed, replaced or overwritten")
            error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
            raise error

    def commit(self, group: Group) -> list[Entry]:
        """Make the group durable, all or nothing; its events as entries.

        Raises:
            sqlite3.Error: nothing of it was written.
        """
        entries = list(map(Entry, count(self.last_seq + 1), group.events))
        with self._transaction():
            self._insert(entries)
            self._save_cursors(group.cursors)
            self._save_letters(group.letters)
            self._save_attempts(group.attempts)
            drops.save(self._connection, group.drops.values())
            if group.settled:
                drops.settle(self._connection, group.settled)
        self.last_seq += len(entries)
        self.cursors.update(group.cursors)
        return entries

    def requests(self) -> list[Request]:
        """What people ask to be delivered again."""
        return requests.waiting(self._connection)

    def serve(self, request: Request, wants: Callable[[Event], bool]) -> tuple[list[Entry], Request | None]:
        """One small step of a request: what it adds to the log, and what is left of it.

        Raises:
            sqlite3.Error: nothing of it was written.
        """
        with self._transaction():
            events, rest = requests.step(self._connection, self._streams, request, wants)
            entries = [Entry(seq, event, request.sink) for seq, event in enumerate(events, self.last_seq + 1)]
            self._insert(entries)
        self.last_seq += len(entries)
        return entries, rest

    def history(self, sink: str) -> History:
        """What was tried with the entries beyond the sink's cursor, as far as it can be read."""
        try:
            return history_of(self._connection, sink, self.cursors[sink])
        except (sqlite3.DatabaseError, ValueError):  # damage will show soon enough; it is history only
            return NO_HISTORY

    def unsettled(self) -> list[Tally]:
        """What was dropped before the start, and not yet told of."""
        return drops.unsettled(self._connection)

    def restore(self, found: Rescued, last_seq: int) -> None:
        """Begin a new file with what is left of a damaged one, under the old numbers."""
        with self._transaction():
            self._insert(found.entries)
            self._save_cursors(found.cursors)
            self._save_letters(found.letters)
            drops.save(self._connection, found.drops)
            self._keep_last_seq(last_seq)
        self.first_seq = found.entries[0].seq if found.entries else last_seq + 1
        self.last_seq, self.cursors = last_seq, dict(found.cursors)
        self.fresh = False

    def full(self, limits: Limits) -> bool:
        """Whether the file holds more than it may."""
        return used_bytes(self._connection) > limits.max_size

    def prune(self, limits: Limits, floor: int, now_us: int) -> Tally | None:
        """One small step towards the limits; what it gave up undelivered, or None when it did nothing.

        Args:
            floor: entries up to this one are finished for every sink.
            now_us: microseconds since the Unix epoch.
        """
        surplus = used_bytes(self._connection) - limits.max_size
        if surplus > 0:
            reason, through = (
                "max_size",
                oldest(self._connection, self.first_seq, surplus + limits.max_size // 64),
            )
            if floor >= self.first_seq or limits.when_full == "drop_newest":
                through = min(through, floor)  # what is delivered goes first
        else:
            limit_us = now_us - int(limits.max_age * 1e6)
            reason, through = "max_age", older_than(self._connection, self.first_seq, limit_us)
        if through < self.first_seq:
            return None
        tally = undelivered(self._connection, reason, floor, through)
        with self._transaction():
            self._connection.execute("DELETE FROM events WHERE seq <= ?", (through,))
            self._connection.execute("DELETE FROM attempts WHERE last_seq <= ?", (through,))
            self._keep_last_seq(self.last_seq)
            drops.save(self._connection, [tally])
        self.first_seq = through + 1
        return tally

    def trim_dead_letters(self, limits: Limits) -> int:
        """Give up the oldest dead letters beyond the limit; how many."""
        row = self._connection.execute("SELECT max(number) FROM dead_letters").fetchone()
        with self._transaction():
            done = self._connection.execute(
                "DELETE FROM dead_letters WHERE number <= ?", ((row[0] or 0) - limits.max_dead_letters,)
            )
        return done.rowcount

    def _insert(self, entries: Sequence[Entry]) -> None:
        insert_events(self._connection, entries, self._streams)

    def _save_cursors(self, cursors: dict[str, int]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?)", list(cursors.items()))

    def _save_letters(self, letters: Sequence[DeadLetter]) -> None:
        self._connection.executemany(INSERT_LETTER, letter_rows(letters, self._streams))

    def _save_attempts(self, attempts: Sequence[Attempt]) -> None:
        self._connection.executemany(INSERT_ATTEMPT, attempt_rows(attempts))

    def _keep_last_seq(self, last_seq: int) -> None:
        """Numbers are never used twice, also when pruning leaves no entry that shows the last one."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('last_seq', ?)", (last_seq,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._streams.settle(committed=False)
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._streams.settle(committed=True)
