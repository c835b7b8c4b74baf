"""The spool's tables, what is checked before a file is trusted, and the rows of the log."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tdbwatch.daemon.spool.api import Entry, SpoolError
from tdbwatch.daemon.spool.errors import damaged, trusting_nothing
from tdbwatch.daemon.spool.file.aside import APPLICATION_ID, NOT_OURS
from tdbwatch.daemon.spool.stored.blocks import (
    MOST_SEQ,
    Block,
    Lane,
    unsqueeze,
)

FORMAT: Final = 3
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
    position INTEGER NOT NULL, through INTEGER NOT NULL, missed INTEGER NOT NULL, made_us INTEGER NOT NULL);
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
BLOCK: Final = "first_seq, count, scope, room, target, body"
"""The columns of `block_of`."""
INSERT_BLOCK: Final = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
ROW_BYTES: Final = 150
"""What a row takes in the file beside texts and blobs that vary, and with its place in an index, roughly."""


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
    version = pragma(connection, "user_version")
    if version > FORMAT:
        raise SpoolError(
            f"{path} was written by a newer tdbwatch (spool format {version}, this one knows "
            f"{FORMAT}); use that version, or name another path"
        )
    if version < FORMAT:
        raise SpoolError(
            f"{path} has the format {version} of a preview of tdbwatch, which this version cannot read;"
            " let that one deliver what is in it, then move the file away, or name another path"
        )


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES}"
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
    )


def pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something; pages that were freed are used again."""
    pages = pragma(connection, "page_count") - pragma(connection, "freelist_count")
    return pages * pragma(connection, "page_size")


def free_bytes(connection: sqlite3.Connection) -> int:
    """Bytes within the file that hold nothing."""
    return pragma(connection, "freelist_count") * pragma(connection, "page_size")


class Row(NamedTuple):
    """A block that is to be written, all but its number, which is given when it is.

    Attributes:
        entries: how many it has.
        first_us, last_us: between which times its events were received, in microseconds since the Unix epoch.
        born_us: from when on it grows old.
    """

    entries: int
    scope: str
    room: str
    target: str | None
    first_us: int
    last_us: int
    born_us: int
    body: bytes

    def block(self, first_seq: int) -> Block:
        """The block under this number."""
        return Block(first_seq, self.entries, Lane(self.scope, self.room), self.target, self.body)


def block_of(row: Sequence[Any]) -> Block:
    """The block of a row of `BLOCK`.

    Raises:
        ValueError, TypeError: the row makes no sense.
    """
    first_seq, count, scope, room, target, body = row
    kinds = (type(first_seq), type(count), type(scope), type(room), type(body))
    if kinds != (int, int, str, str, bytes) or not isinstance(target, str | None):
        raise TypeError(f"block {first_seq} has fields of wrong types")
    if count < 1 or first_seq + count > MOST_SEQ:
        raise ValueError(f"block {first_seq} cannot have {count} entries")
    return Block(first_seq, count, Lane(scope, room), target, unsqueeze(body))


def row_of(block: Block, now_us: int) -> Row:
    """The row of a block that was read; a copy begins to grow old anew."""
    times = [run.received_us for run in block.runs]
    ends = (min(times), max(times))
    born_us = ends[1] if block.target is None else now_us
    return Row(block.count, *block.lane, block.target, *ends, born_us, block.body)


def entries_of(block: Block) -> Iterator[Entry]:
    """Its entries, one by one."""
    return (Entry(seq, event, block.target) for seq, event in block.numbered())


def blocks_where(
    connection: sqlite3.Connection, terms: str, values: Sequence[Any], max_bytes: int | None = None
) -> list[Block]:
    """The blocks of which `terms` (SQL, what comes after WHERE) hold; about `max_bytes`, at least one.

    Raises:
        sqlite3.DatabaseError: one of them does not decode: nobody further on need think of damage.
    """
    found: list[Block] = []
    with trusting_nothing():
        for row in connection.execute(f"SELECT {BLOCK} FROM blocks WHERE {terms}", values):  # noqa: S608
            found.append(block := block_of(row))
            block.runs  # noqa: B018 - raises, if they do not decode
            if max_bytes is not None:
                max_bytes -= len(block.body)
                if max_bytes <= 0:
                    break
    return found


def weight(rows: Sequence[Sequence[Any]], *columns: int) -> int:
    """Bytes that these rows take in the file, roughly, with what is in these columns."""
    return sum([len(row[column]) for row in rows for column in columns], ROW_BYTES * len(rows))


def keep(connection: sqlite3.Connection, key: str, value: int | str) -> None:
    """Set a row of table `meta`. Within a transaction."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def extent(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """The first and the last number of the log, and how many entries there are."""
    entries = connection.execute(
        "SELECT ifnull(sum(count), 0) FROM blocks INDEXED BY blocks_by_lane"
    ).fetchone()[0]
    last = connection.execute(
        "SELECT first_seq + count - 1 FROM blocks ORDER BY first_seq DESC LIMIT 1"
    ).fetchone()
    kept = connection.execute("SELECT value FROM meta WHERE key = 'last_seq'").fetchone()
    last_seq = max(last[0] if last else 0, kept[0] if kept else 0)
    return first_of(connection, last_seq), last_seq, entries


def first_of(connection: sqlite3.Connection, last_seq: int) -> int:
    """The oldest entry; `last_seq` + 1 when there is none."""
    found = connection.execute("SELECT min(first_seq) FROM blocks").fetchone()[0]
    first: int = last_seq + 1 if found is None else found
    return first
