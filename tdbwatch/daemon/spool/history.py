"""What the attempts in the file say of entries, for those who ask later: a restarted courier, a person."""

import sqlite3
from typing import Final

from tdbwatch.daemon.spool import marks
from tdbwatch.daemon.spool.api import Attempt, History, Past
from tdbwatch.daemon.spool.rows import attempt_of

_MOST: Final = 20_000
"""Attempts read at a restart; deliveries beyond the cursor that are older than these are repeated."""

NO_HISTORY: Final = History({}, frozenset())


def attempts_at(connection: sqlite3.Connection, seq: int) -> list[Attempt]:
    """What was tried with this entry, in order."""
    rows = connection.execute(
        "SELECT * FROM attempts WHERE last_seq >= ? AND first_seq <= ? ORDER BY started_us, rowid", (seq, seq)
    )
    return [attempt for attempt in map(attempt_of, rows) if seq in attempt.seqs]


def history_of(connection: sqlite3.Connection, sink: str, cursor: int) -> History:
    """What was tried with the entries of this sink beyond its cursor."""
    rows = connection.execute(
        "SELECT * FROM attempts WHERE last_seq > ? AND sink = ? ORDER BY rowid DESC LIMIT ?",
        (cursor, sink, _MOST),
    ).fetchall()
    failed: dict[int, Past] = {}
    finished = _dead(connection, sink, cursor) | marks.of(connection, sink, cursor)
    for attempt in map(attempt_of, reversed(rows)):
        if attempt.outcome == "delivered":
            finished.update(attempt.seqs)
        elif attempt.outcome in {"retry", "error"}:
            for seq in attempt.seqs:
                _fail(failed, seq, attempt)
    for seq in finished:
        failed.pop(seq, None)
    return History(failed, frozenset(finished))


def _dead(connection: sqlite3.Connection, sink: str, cursor: int) -> set[int]:
    rows = connection.execute("SELECT seq FROM dead_letters WHERE sink = ? AND seq > ?", (sink, cursor))
    return {seq for (seq,) in rows}


def _fail(failed: dict[int, Past], seq: int, attempt: Attempt) -> None:
    past = failed.setdefault(seq, Past(0, attempt.started_us, attempt.detail, attempt.detail))
    past.attempts, past.last_error = attempt.number, attempt.detail
