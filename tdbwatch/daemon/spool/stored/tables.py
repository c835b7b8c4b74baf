"""The spool's tables, ways to connect to them, and what is checked before a file is trusted."""

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tdbwatch.daemon.spool.errors import SpoolError, damaged
from tdbwatch.daemon.spool.file.disk import pragma
from tdbwatch.daemon.spool.file.place import APPLICATION_ID, NOT_OURS

FORMAT: Final = 4
"""Kept as SQLite's `user_version`. Those before were never released."""
_BUSY_TIMEOUT: Final = 5.0
# `born_us` is when a block begins to grow old: when its last event was received, or the copy was made.
_TABLES: Final = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE blocks(
    first_seq INTEGER PRIMARY KEY, count INTEGER NOT NULL, scope TEXT NOT NULL, room TEXT NOT NULL,
    target TEXT, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, born_us INTEGER NOT NULL,
    body BLOB NOT NULL);
CREATE INDEX blocks_by_lane ON blocks(room, scope, first_seq, count);
CREATE INDEX copies ON blocks(target, first_seq) WHERE target IS NOT NULL;
CREATE TABLE progress(sink TEXT PRIMARY KEY, floor INTEGER NOT NULL, left_at INTEGER) WITHOUT ROWID;
CREATE TABLE behind(
    sink TEXT NOT NULL, scope TEXT NOT NULL, room TEXT NOT NULL, first_seq INTEGER NOT NULL,
    beyond BLOB NOT NULL, tried BLOB NOT NULL, PRIMARY KEY(sink, scope, room)) WITHOUT ROWID;
CREATE TABLE dead_letters(
    number INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, seq INTEGER NOT NULL,
    scope TEXT NOT NULL, room TEXT NOT NULL, run BLOB NOT NULL, reason TEXT NOT NULL,
    attempts INTEGER NOT NULL, first_error TEXT NOT NULL, last_error TEXT NOT NULL,
    first_us INTEGER NOT NULL, dead_us INTEGER NOT NULL);
CREATE TABLE attempts(
    number INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, seqs BLOB NOT NULL,
    sink TEXT NOT NULL, attempt INTEGER NOT NULL, started_us INTEGER NOT NULL,
    duration_us INTEGER NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX attempts_by_seq ON attempts(last_seq);
CREATE TABLE orders(
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, sink TEXT NOT NULL, selection TEXT NOT NULL,
    position INTEGER NOT NULL, through INTEGER NOT NULL, missed INTEGER NOT NULL);
CREATE TABLE marks(
    route TEXT NOT NULL, key TEXT NOT NULL, part INTEGER NOT NULL, state BLOB NOT NULL,
    PRIMARY KEY(route, key, part)) WITHOUT ROWID;
CREATE TABLE sink_values(
    sink TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, UNIQUE(sink, key));
CREATE TABLE drops(
    reason TEXT NOT NULL, scope TEXT NOT NULL, room TEXT NOT NULL, count INTEGER NOT NULL,
    since_us INTEGER NOT NULL, until_us INTEGER NOT NULL, PRIMARY KEY(reason, scope, room)) WITHOUT ROWID;
"""
_NAMES: Final = frozenset(re.findall(r"CREATE TABLE (\w+)", _TABLES))


def connect(path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """A connection that commits when told to, and durably."""
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False, factory=factory
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to(path: Path, how: str, **options: Any) -> sqlite3.Connection:
    """A connection to a file that is there: none is made.

    Args:
        how: a parameter of https://www.sqlite.org/uri.html.
    """
    place = f"file:{quote(str(path.absolute()))}?{how}"
    connection: sqlite3.Connection = sqlite3.connect(place, uri=True, isolation_level=None, **options)
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables where there are none.

    Raises:
        SpoolError: not a spool, or one of another version.
        sqlite3.DatabaseError: damaged.
    """
    application = pragma(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application == 0 and tables == 0:
        _create(connection)
        return
    check_kind(connection, path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if missing := _NAMES - names:
        raise damaged(f"there is no table {min(missing)}")
    connection.execute("PRAGMA journal_mode = WAL")


def check_kind(connection: sqlite3.Connection, path: Path) -> None:
    """See that this is a spool that we know how to read.

    Raises:
        SpoolError: it is not.
        sqlite3.DatabaseError: damaged.
    """
    if pragma(connection, "application_id") != APPLICATION_ID:
        raise SpoolError(f"{path} {NOT_OURS}")
    if (version := pragma(connection, "user_version")) != FORMAT:
        raise SpoolError(
            f"{path} was written by another tdbwatch (spool format {version}, this one knows {FORMAT});"
            " use that version, or name another path"
        )


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES}"
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
    )


def fits(row: Sequence[Any], kinds: Sequence[type | tuple[type, ...]]) -> bool:
    """Whether the fields of a row that was read are of these kinds: SQLite does not see to it."""
    return len(row) == len(kinds) and all(map(isinstance, row, kinds))


def keep(connection: sqlite3.Connection, key: str, value: int | str) -> None:
    """Set a row of table `meta`. Within a transaction."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
