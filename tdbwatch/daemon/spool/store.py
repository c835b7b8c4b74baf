"""The spool's file, as the writer's thread sees it: plain blocking calls on the one writing connection."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry, WhenFull
from tdbwatch.daemon.spool.drops import Tally
from tdbwatch.daemon.spool.inbox import Group
from tdbwatch.daemon.spool.rows import (
    INSERT_ATTEMPT,
    INSERT_EVENT,
    INSERT_LETTER,
    Streams,
    attempt_rows,
    event_rows,
    letter_rows,
)
from tdbwatch.daemon.spool.schema import prepare, used_bytes

_MAGIC: Final = b"SQLite format 3\0"
Connect = Callable[[Path], sqlite3.Connection]

_PRUNE_STEP: Final = 2_000
"""Entries deleted at once: few enough that no commit of new events waits long for it."""
_ROW_BYTES: Final = 80
"""What a row takes beside its payload, roughly."""
_WAL_LIMIT: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the spool keeps.

    Attributes:
        max_size: bytes of the file.
        max_age: seconds since an event was received.
        when_full: what is given up when even the undelivered is too much.
        max_dead_letters: the oldest beyond this many are given up.
    """

    max_size: int = 1 << 30
    max_age: float = 7 * 86_400.0
    when_full: WhenFull = "drop_oldest"
    max_dead_letters: int = 100_000


class Store:
    """The tables, and the numbering of entries."""

    def __init__(self, path: Path, connect: Connect) -> None:
        self.path = path
        self._connection = connect(path)
        try:
            self.fresh = prepare(self._connection, path)
            self._connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
            self._streams = Streams(self._connection)
            self.cursors: dict[str, int] = dict(self._connection.execute("SELECT sink, seq FROM cursors"))
            self.first_seq, self.last_seq = self._bounds()
            self._inode = path.stat().st_ino
        except BaseException:
            self._connection.close()
            raise

    def _bounds(self) -> tuple[int, int]:
        first, last = self._connection.execute(
            "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)"
        ).fetchone()
        kept = self._connection.execute("SELECT value FROM meta WHERE key = 'last_seq'").fetchone()
        last = max(last or 0, kept[0] if kept else 0, *self.cursors.values(), 0)
        return first or last + 1, last

    def close(self) -> None:
        self._connection.close()

    def check(self) -> None:
        """Look at the file itself: SQLite's cache would hide for long that it was removed or overwritten.

        Raises:
            sqlite3.DatabaseError: it is not the file that was opened, or not a database any more.
        """
        try:
            with self.path.open("rb") as file:
                found, header = os.fstat(file.fileno()).st_ino, file.read(len(_MAGIC))
        except FileNotFoundError:
            found, header = None, b""
        if found != self._inode or header != _MAGIC:
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
        self.last_seq += len(entries)
        self.cursors.update(group.cursors)
        return entries

    def restore(self, entries: Sequence[Entry], cursors: dict[str, int], last_seq: int) -> None:
        """Begin a new file with what is left of a damaged one, under the old numbers."""
        with self._transaction():
            self._insert(entries)
            self._save_cursors(cursors)
            self._keep_last_seq(last_seq)
        self.first_seq = entries[0].seq if entries else last_seq + 1
        self.last_seq, self.cursors = last_seq, dict(cursors)

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
            reason, through = "max_size", self._oldest(surplus + limits.max_size // 64)
            if floor >= self.first_seq or limits.when_full == "drop_newest":
                through = min(through, floor)  # what is delivered goes first
        else:
            reason, through = "max_age", self._older_than(now_us - int(limits.max_age * 1e6))
        if through < self.first_seq:
            return None
        return self._delete(Tally(reason), through, floor)

    def trim_dead_letters(self, limits: Limits) -> int:
        """Give up the oldest dead letters beyond the limit; how many."""
        row = self._connection.execute("SELECT max(number) FROM dead_letters").fetchone()
        with self._transaction():
            done = self._connection.execute(
                "DELETE FROM dead_letters WHERE number <= ?", ((row[0] or 0) - limits.max_dead_letters,)
            )
        return done.rowcount

    def _oldest(self, size: int) -> int:
        """The last of the oldest entries that take about `size` bytes, within one step."""
        rows = self._connection.execute(
            "SELECT seq, length(payload) FROM events WHERE seq >= ? ORDER BY seq LIMIT ?",
            (self.first_seq, _PRUNE_STEP),
        )
        through = 0
        for seq, length in rows:
            through, size = seq, size - length - _ROW_BYTES
            if size <= 0:
                break
        return through

    def _older_than(self, limit_us: int) -> int:
        """The last of the oldest entries that were all received before `limit_us`, within one step."""
        rows = self._connection.execute(
            "SELECT seq, received_us FROM events WHERE seq >= ? ORDER BY seq LIMIT ?",
            (self.first_seq, _PRUNE_STEP),
        )
        through = 0
        for seq, received_us in rows:
            if received_us >= limit_us:
                break
            through = seq
        return through

    def _delete(self, tally: Tally, through: int, floor: int) -> Tally:
        undelivered = self._connection.execute(
            "SELECT scope, room, count(*), min(received_us), max(received_us) FROM events"
            " JOIN streams ON streams.id = stream WHERE seq > ? AND seq <= ? GROUP BY scope, room",
            (floor, through),
        ).fetchall()
        for row in undelivered:
            tally.add(*row)
        with self._transaction():
            self._connection.execute("DELETE FROM events WHERE seq <= ?", (through,))
            self._connection.execute("DELETE FROM attempts WHERE last_seq <= ?", (through,))
            self._keep_last_seq(self.last_seq)
        self.first_seq = through + 1
        return tally

    def _insert(self, entries: Iterable[Entry]) -> None:
        self._connection.executemany(INSERT_EVENT, event_rows(entries, self._streams))

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
