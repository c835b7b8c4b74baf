"""The spool's tables, and what is checked before a file is trusted."""

import re
import sqlite3
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool import copies, marks
from tdbwatch.daemon.spool.api import SpoolError
from tdbwatch.daemon.spool.damage import damaged
from tdbwatch.daemon.spool.foreign import APPLICATION_ID, NOT_OURS

SCHEMA_VERSION: Final = 1
_BUSY_TIMEOUT: Final = 5.0

# What events of one room have in common is kept once, in `streams`: half the work for each event.
_TABLES: Final = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE streams(
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, scope TEXT NOT NULL, room TEXT NOT NULL, room_id INTEGER,
    arg_names TEXT NOT NULL, target TEXT);
CREATE TABLE events(
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, stream INTEGER NOT NULL, received_us INTEGER NOT NULL,
    event TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE cursors(sink TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead_letters(
    number INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL,
    stream INTEGER NOT NULL, received_us INTEGER NOT NULL, event TEXT NOT NULL, payload BLOB NOT NULL,
    reason TEXT NOT NULL, attempts INTEGER NOT NULL, first_error TEXT NOT NULL, last_error TEXT NOT NULL,
    first_us INTEGER NOT NULL, dead_us INTEGER NOT NULL);
CREATE TABLE attempts(
    first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, seqs BLOB NOT NULL, sink TEXT NOT NULL,
    number INTEGER NOT NULL, started_us INTEGER NOT NULL, duration_us INTEGER NOT NULL,
    outcome TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX attempts_by_seq ON attempts(last_seq);
CREATE TABLE requests(
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, sink TEXT NOT NULL, selection TEXT NOT NULL,
    position INTEGER NOT NULL, through INTEGER NOT NULL, made_us INTEGER NOT NULL);
CREATE TABLE drops(
    reason TEXT NOT NULL, scope TEXT NOT NULL, room TEXT NOT NULL, count INTEGER NOT NULL,
    since_us INTEGER NOT NULL, until_us INTEGER NOT NULL, PRIMARY KEY(reason, scope, room)) WITHOUT ROWID;
CREATE VIEW records AS
    SELECT seq, events.id AS id, kind, datetime(received_us / 1000000, 'unixepoch') AS received,
           scope, room, room_id, event, payload, target
    FROM events JOIN streams ON streams.id = events.stream;
"""


_NAMES: Final = frozenset(re.findall(r"CREATE TABLE (\w+)", _TABLES))


def connect(path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """A connection that commits when told to, and durably."""
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False, factory=factory
    )
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables where there are none.

    Raises:
        SpoolError: not a spool, or one of a newer version.
        sqlite3.DatabaseError: damaged.
    """
    application = _pragma(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application == 0 and tables == 0:
        _create(connection)
        return
    check_kind(connection, path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if missing := _NAMES - names:
        raise damaged(f"there is no table {min(missing)}")
    marks.add(connection)
    copies.add(connection)
    connection.execute("PRAGMA journal_mode = WAL")


def check_kind(connection: sqlite3.Connection, path: Path) -> None:
    """See that this is a spool that we know how to read.

    Raises:
        SpoolError: it is not.
        sqlite3.DatabaseError: damaged.
    """
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise SpoolError(f"{path} {NOT_OURS}")
    version = _pragma(connection, "user_version")
    if version > SCHEMA_VERSION:
        raise SpoolError(
            f"{path} was written by a newer tdbwatch (spool format {version}, this one knows "
            f"{SCHEMA_VERSION}); use that version, or name another path"
        )


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES}{marks.ADDED}{copies.ADDED}"
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something; pages that pruning has freed are used again."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def free_bytes(connection: sqlite3.Connection) -> int:
    """Bytes within the file that hold nothing."""
    return _pragma(connection, "freelist_count") * _pragma(connection, "page_size")
