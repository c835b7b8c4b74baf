"""Marks of entries that a sink is finished with while its cursor is still before them.

Where a dead letter is, it says so itself. When it is deleted, requeued or trimmed, a trigger leaves a mark in
the same transaction, whichever process deletes: else a restart would offer the original again, at its old
place. Delivered entries get one, too, when their attempts must make room.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

Mark = tuple[int, str]
"""(seq, sink)"""

ADDED: Final = """
CREATE TABLE IF NOT EXISTS finished(
    seq INTEGER NOT NULL, sink TEXT NOT NULL, PRIMARY KEY(seq, sink)) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS letter_gone AFTER DELETE ON dead_letters
    WHEN OLD.seq > ifnull((SELECT seq FROM cursors WHERE sink = OLD.sink), 0)
    BEGIN INSERT OR IGNORE INTO finished VALUES (OLD.seq, OLD.sink); END;
"""
"""Not in the first spools. A version that does not know of it makes marks all the same, and ignores them."""


def add(connection: sqlite3.Connection) -> None:
    """Make room for marks in a file of a version that had none. Safe beside a running daemon."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name IN ('finished', 'letter_gone')"
    if connection.execute(query).fetchone()[0] < 2:
        connection.executescript(f"BEGIN IMMEDIATE; {ADDED} COMMIT;")


def there(connection: sqlite3.Connection) -> bool:
    """Whether there may be any: a file of a version that had none has no room for them."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name = 'finished'"
    return bool(connection.execute(query).fetchone()[0])


def of(connection: sqlite3.Connection, sink: str, cursor: int) -> Iterator[tuple[int]]:
    """The entries beyond its cursor that this sink is finished with, as rows."""
    return connection.execute("SELECT seq FROM finished WHERE seq > ? AND sink = ?", (cursor, sink))


def all_of(connection: sqlite3.Connection) -> list[Mark]:
    """All of them, as far as they make sense."""
    rows = connection.execute("SELECT seq, sink FROM finished").fetchall()
    return [(seq, sink) for seq, sink in rows if isinstance(seq, int) and isinstance(sink, str)]


def at(connection: sqlite3.Connection, seqs: Iterable[int]) -> frozenset[Mark]:
    """Those of these entries."""
    if not there(connection):
        return frozenset()
    select = "SELECT seq, sink FROM finished WHERE seq = ?"
    return frozenset(mark for seq in seqs for mark in connection.execute(select, (seq,)))


def save(connection: sqlite3.Connection, marks: Iterable[Mark]) -> None:
    """Keep these. Within a transaction."""
    connection.executemany("INSERT OR IGNORE INTO finished VALUES (?, ?)", marks)


def forget(connection: sqlite3.Connection, through: int) -> None:
    """No sink can get what is up to this entry any more. Within a transaction."""
    connection.execute("DELETE FROM finished WHERE seq <= ?", (through,))
