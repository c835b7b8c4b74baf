"""The rows of the log, the ways through them, and the end of it in memory."""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, Final, NamedTuple

from tdbwatch.daemon.spool.api import Entry, Gone
from tdbwatch.daemon.spool.errors import trusting_nothing
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Block, Lane, unsqueeze
from tdbwatch.daemon.spool.stored.tables import fits

BLOCK: Final = "first_seq, count, scope, room, target, body"
"""The columns of `block_of`."""
_KINDS: Final = (int, int, str, str, (str, NoneType), bytes)
INSERT_BLOCK: Final = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SLACK: Final = 8
"""One part in so many goes beyond a bound in memory: a slice now and then costs less than one each time."""
ROW_BYTES: Final = 150
"""What a row takes in the file beside texts and blobs that vary, and with its place in an index, roughly."""


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
    if not fits(row, _KINDS):
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
    connection: sqlite3.Connection,
    terms: str,
    values: Sequence[Any] | Mapping[str, Any] = (),
    max_bytes: int | None = None,
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


def between(first: int, last: int, lane: Lane | None = None) -> tuple[str, dict[str, Any]]:
    """SQL, what comes after WHERE, for the blocks that have any of these entries; and its values.

    Args:
        lane: of this one only; None: of all.
    """
    which = "" if lane is None else "room = :room AND scope = :scope AND "
    terms = (
        f"{which}first_seq >= (SELECT ifnull(max(first_seq), 0) FROM blocks WHERE {which}first_seq <= :first)"  # noqa: S608
        " AND first_seq + count > :first AND first_seq <= :last"
    )
    return terms, {"first": first, "last": last, **(lane._asdict() if lane else {})}


def blocks_between(
    connection: sqlite3.Connection,
    first: int,
    last: int,
    lane: Lane | None = None,
    *,
    max_bytes: int,
    also: str = "",
) -> list[Block]:
    """The blocks that have any of these entries, in order; `also`: of which this SQL holds, too.

    Raises:
        sqlite3.DatabaseError: as `blocks_where`.
    """
    terms, values = between(first, last, lane)
    return blocks_where(connection, f"{terms}{also} ORDER BY first_seq", values, max_bytes)


def count_between(
    connection: sqlite3.Connection,
    first: int,
    last: int,
    lane: Lane | None = None,
    *,
    also: str = "",
    **more: Any,
) -> int:
    """How many of these entries there are; `also`: in blocks of which this SQL holds, too."""
    terms, values = between(first, last, lane)
    found = "SELECT ifnull(sum(min(first_seq + count, :last + 1) - max(first_seq, :first)), 0) FROM blocks"
    count: int = connection.execute(f"{found} WHERE {terms}{also}", values | more).fetchone()[0]
    return count


def weight(rows: Sequence[Sequence[Any]], *columns: int) -> int:
    """Bytes that these rows take in the file, roughly, with what is in these columns."""
    return sum([len(row[column]) for row in rows for column in columns], ROW_BYTES * len(rows))


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


class Window:
    """The end of the log in memory, bounded by its weight in bytes: what is not in it is not in the log."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._first_seq: int | None = None  # where it begins
        self._blocks: list[Block] = []
        self._ends: list[int] = []  # the last seq of each
        self._bytes = 0

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks)

    def extend(self, blocks: Sequence[Block]) -> None:
        """Take the blocks that follow; forget the oldest beyond the bound."""
        if self._first_seq is None and blocks:
            self._first_seq = blocks[0].first_seq
        for block in blocks:
            self._blocks.append(block)
            self._ends.append(block.last_seq)
            self._bytes += block.weight
        if self._bytes > self._max_bytes + self._max_bytes // _SLACK:
            self._shrink()

    def forget(self, gone: Iterable[Gone]) -> None:
        """The log has given these up: whoever has not read them yet does not get them any more."""
        first_seq = self._first_seq
        doomed = {one.first_seq for one in gone if first_seq is not None and one.first_seq >= first_seq}
        if doomed:
            self._blocks = [block for block in self._blocks if block.first_seq not in doomed]
            self._ends = [block.last_seq for block in self._blocks]
            self._bytes = sum(block.weight for block in self._blocks)

    def read(self, after: int, max_bytes: int) -> list[Block] | None:
        """The blocks with entries after `after`; None when the first of them may not be held."""
        if self._first_seq is None or after + 1 < self._first_seq:
            return None
        found: list[Block] = []
        for index in range(bisect_right(self._ends, after), len(self._blocks)):
            found.append(block := self._blocks[index])
            max_bytes -= len(block.body)
            if max_bytes <= 0:
                break
        return found

    def _shrink(self) -> None:
        count = 0
        while self._bytes > self._max_bytes and count < len(self._blocks):
            self._bytes -= self._blocks[count].weight
            count += 1
        self._first_seq = self._ends[count - 1] + 1
        del self._blocks[:count], self._ends[:count]
