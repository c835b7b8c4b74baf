"""When copies were made: their age counts from then, since they keep the time of their originals.

Counted from that, a dead letter that is requeued after some days would be too old as soon as it is a copy.
"""

import sqlite3
from typing import Final

ADDED: Final = """
CREATE TABLE IF NOT EXISTS copies(seq INTEGER PRIMARY KEY, made_us INTEGER NOT NULL);
"""
"""Copies from entry `seq` on were made then, up to the next row. Not in the first spools."""
MADE_US: Final = (
    "(SELECT made_us FROM copies WHERE copies.seq <= events.seq ORDER BY copies.seq DESC LIMIT 1)"
)
"""SQL beside `events`: when an entry was made, if it is a copy; NULL: by a version that did not say."""


def add(connection: sqlite3.Connection) -> None:
    """Make room for these times in a file of a version that had none."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name = 'copies'"
    if not connection.execute(query).fetchone()[0]:
        connection.executescript(f"BEGIN IMMEDIATE; {ADDED} COMMIT;")


def note(connection: sqlite3.Connection, seq: int, now_us: int) -> None:
    """Copies from this entry on are made now. Within a transaction."""
    connection.execute("INSERT OR REPLACE INTO copies VALUES (?, ?)", (seq, now_us))


def forget(connection: sqlite3.Connection, through: int) -> None:
    """What is up to this entry is gone; the last row before it is of what follows, too. In a transaction."""
    query = "DELETE FROM copies WHERE seq < (SELECT max(seq) FROM copies WHERE seq <= ?)"
    connection.execute(query, (through + 1,))
