"""What the attempts in the file say of entries, for those who ask later: a restarted courier, a person."""

import sqlite3
from typing import Final

from tdbwatch.daemon.spool import marks
from tdbwatch.daemon.spool.api import Attempt, History, Past
from tdbwatch.daemon.spool.finished import Finished
from tdbwatch.daemon.spool.rows import attempt_of
from tdbwatch.wire.codec import decode

_MOST_FAILURES: Final = 20_000
"""Read at a restart, the newest; what failed before these only begins to count its attempts anew."""

_FAILED: Final = (
    "SELECT * FROM attempts WHERE last_seq > ? AND sink = ? AND outcome IN ('retry', 'error')"
    " ORDER BY rowid DESC LIMIT ?"
)
_DELIVERED: Final = "SELECT seqs FROM attempts WHERE last_seq > ? AND sink = ? AND outcome = 'delivered'"
_DEAD: Final = "SELECT seq FROM dead_letters WHERE seq > ? AND sink = ?"

NO_HISTORY: Final = History({}, Finished())


def attempts_at(connection: sqlite3.Connection, seq: int) -> list[Attempt]:
    """What was tried with this entry, in order."""
    rows = connection.execute(
        "SELECT * FROM attempts WHERE last_seq >= ? AND first_seq <= ? ORDER BY started_us, rowid", (seq, seq)
    )
    return [attempt for attempt in map(attempt_of, rows) if seq in attempt.seqs]


def finished_beyond(connection: sqlite3.Connection, sink: str, cursor: int, last_seq: int) -> Finished:
    """What this sink is finished with beyond its cursor, up to the log's last entry."""
    finished = Finished(cursor, last_seq)
    for (packed,) in connection.execute(_DELIVERED, (cursor, sink)):
        for first, last in decode(packed):
            finished.add(first, last)
    if marks.there(connection):
        for (seq,) in marks.of(connection, sink, cursor):
            finished.add(seq, seq)
    for (seq,) in connection.execute(_DEAD, (cursor, sink)):
        finished.add(seq, seq)
    return finished


def history_of(connection: sqlite3.Connection, sink: str, cursor: int, last_seq: int) -> History:
    """What was tried with the entries of this sink beyond its cursor, up to the log's last."""
    finished = finished_beyond(connection, sink, cursor, last_seq)
    failed: dict[int, Past] = {}
    newest = connection.execute(_FAILED, (cursor, sink, _MOST_FAILURES)).fetchall()
    for attempt in map(attempt_of, reversed(newest)):
        for seq in attempt.seqs:
            if seq not in finished:
                _fail(failed, seq, attempt)
    return History(failed, finished)


def _fail(failed: dict[int, Past], seq: int, attempt: Attempt) -> None:
    past = failed.setdefault(seq, Past(0, attempt.started_us, attempt.detail, attempt.detail))
    past.attempts, past.last_error, past.company = attempt.number, attempt.detail, attempt.seqs
