"""How much of the attempts is kept: history must not take the place of events.

What goes first is what no restart asks for; then the delivered, of which small marks stay, and of failures
those between an entry's first and its newest; the rest only where all that is not enough.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tdbwatch.daemon.spool import marks
from tdbwatch.daemon.spool.pruning import Limits
from tdbwatch.wire.codec import decode

_SHARE: Final = 8
"""Attempts may take one part in so many of `max_size`."""
_MOST: Final = 1_000_000
_STEP: Final = 1_000
_ROW_BYTES: Final = 90
"""What an attempt takes beside the texts that vary, roughly."""
_SIZE: Final = f"length(seqs) + length(detail) + {_ROW_BYTES}"
_MOST_MARKS: Final = 20_000
"""Left in one step, roughly."""
_PASSED: Final = f"SELECT rowid, {_SIZE} FROM attempts WHERE last_seq <= ? ORDER BY last_seq LIMIT {_STEP}"  # noqa: S608 - our own words
_OLDEST: Final = f"""
SELECT rowid, {_SIZE}, last_seq, seqs, sink, outcome, number > 1 AND EXISTS (
    SELECT 1 FROM attempts AS newer WHERE newer.last_seq = attempts.last_seq AND newer.rowid > attempts.rowid
    AND newer.sink = attempts.sink AND newer.seqs = attempts.seqs)
FROM attempts WHERE rowid > ? ORDER BY rowid LIMIT {_STEP}
"""  # noqa: S608 - our own words


@dataclass(slots=True)
class _Doomed:
    """What goes in one step, and the marks that it leaves."""

    rows: list[tuple[int]] = field(default_factory=list)
    size: int = 0
    finished: list[marks.Mark] = field(default_factory=list)

    def add(self, rowid: int, size: int) -> None:
        self.rows.append((rowid,))
        self.size += size


def weigh(rows: Sequence[Sequence[Any]]) -> int:
    """Bytes that these rows of table `attempts` take, roughly."""
    return sum([len(row[2]) + len(row[8]) for row in rows]) + _ROW_BYTES * len(rows)


class AttemptBound:
    """Counts and bytes of the attempts, and what of them must go."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._count = self._bytes = 0
        self._trimming = self._ruthless = False
        self._after = 0
        self._recount()

    def added(self, rows: Sequence[Sequence[Any]]) -> None:
        """These rows of table `attempts` were written."""
        self._count += len(rows)
        self._bytes += weigh(rows)

    def gone(self, count: int) -> None:
        """So many went with their events: of the usual size, one may think."""
        self._bytes -= self._bytes * count // max(1, count, self._count)
        self._count -= count

    def too_many(self, limits: Limits) -> bool:
        """Whether a step is needed."""
        if self._trimming:
            self._trimming = self._surplus(limits) > 0 or self._count > _MOST - _MOST // 16
        elif self._bytes > limits.max_size // _SHARE or self._count > _MOST:
            self._recount()
            self._trimming, self._ruthless, self._after = True, False, 0
        return self._trimming

    def step(self, limits: Limits, floor: int, cursors: Mapping[str, int]) -> None:
        """Let some go. Within a transaction.

        Args:
            floor: entries up to this one are finished for every sink.
            cursors: up to where each sink is finished. Both as the file has it: a crash may come at any time.
        """
        doomed = _Doomed()
        for rowid, size in self._connection.execute(_PASSED, (floor,)):
            doomed.add(rowid, size)
        if not doomed.rows:
            self._look_at_the_oldest(doomed, self._surplus(limits), cursors)
        self._connection.executemany("DELETE FROM attempts WHERE rowid = ?", doomed.rows)
        marks.save(self._connection, doomed.finished)
        self._count -= len(doomed.rows)
        self._bytes -= doomed.size

    def _surplus(self, limits: Limits) -> int:
        """Bytes too many; a few more, rather than some with each attempt that comes."""
        most: int = limits.max_size // _SHARE
        return max(self._bytes - (most - most // 16), 0)

    def _look_at_the_oldest(self, doomed: _Doomed, surplus: int, cursors: Mapping[str, int]) -> None:
        rows = self._connection.execute(_OLDEST, (self._after,)).fetchall()
        for rowid, size, last_seq, packed, sink, outcome, superseded in rows:
            enough = doomed.size >= surplus and self._count - len(doomed.rows) <= _MOST
            if enough or len(doomed.finished) >= _MOST_MARKS:
                return
            self._after, cursor = rowid, cursors.get(sink, 0)
            delivered = outcome == "delivered"
            asked_for = last_seq > cursor and outcome in {"delivered", "retry", "error"}
            if self._ruthless or superseded or delivered or not asked_for:
                doomed.add(rowid, size)
                if delivered:
                    doomed.finished += [(seq, sink) for seq in _seqs(packed) if seq > cursor]
        if not (rows or self._after):
            self._count = self._bytes = 0  # whatever was estimated
        if len(rows) < _STEP:
            self._after, self._ruthless = 0, True

    def _recount(self) -> None:
        query = f"SELECT count(*), ifnull(sum({_SIZE}), 0) FROM attempts"  # noqa: S608 - our own words
        self._count, self._bytes = self._connection.execute(query).fetchone()


def _seqs(packed: bytes) -> list[int]:
    return [seq for first, last in decode(packed) for seq in range(first, last + 1)]
