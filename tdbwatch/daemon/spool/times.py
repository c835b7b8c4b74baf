"""When the entries were received: copies keep the time of their originals, so the log's ends do not tell.

An index would cost something with each event. Instead, whoever makes copies notes what they hide: the newest
entry that is none, and the copy that is the oldest.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from tdbwatch.daemon.spool.api import Entry

_LOOK: Final = 200
"""Entries looked at, at each end of the log: clocks are set, and notes may be of what is gone."""
_ENDS: Final = f"""
SELECT min(received_us), max(received_us) FROM (
    SELECT * FROM (SELECT received_us FROM events ORDER BY seq LIMIT {_LOOK})
    UNION ALL SELECT * FROM (SELECT received_us FROM events ORDER BY seq DESC LIMIT {_LOOK})
    UNION ALL SELECT received_us FROM events WHERE seq IN (
        SELECT value FROM meta WHERE key IN ('newest_heard', 'oldest_copy')))
"""  # noqa: S608 - our own words
_SOURCE: Final = "FROM events JOIN streams ON streams.id = stream"
_AT: Final = f"SELECT received_us, target {_SOURCE} WHERE seq = ?"
_OLDEST_COPY: Final = (
    "SELECT received_us FROM events WHERE seq = (SELECT value FROM meta WHERE key = 'oldest_copy')"
)


def ends(connection: sqlite3.Connection) -> tuple[int | None, int | None]:
    """When the first and the last of all entries were received, in microseconds since the Unix epoch."""
    oldest_us, newest_us = connection.execute(_ENDS).fetchone()
    return oldest_us, newest_us


def note_copies(connection: sqlite3.Connection, last_seq: int, copies: Sequence[Entry]) -> None:
    """These will follow the entry `last_seq`. Within a transaction."""
    if not copies:
        return
    last = connection.execute(_AT, (last_seq,)).fetchone()
    if last is not None and last[1] is None:
        _keep(connection, "newest_heard", last_seq)
    noted = connection.execute(_OLDEST_COPY).fetchone()
    oldest = min(copies, key=lambda copy: copy.event.received_us)
    if noted is None or noted[0] > oldest.event.received_us:
        _keep(connection, "oldest_copy", oldest.seq)


def note_all(connection: sqlite3.Connection) -> None:
    """The same for a log that is new as a whole. Within a transaction."""
    heard = connection.execute(f"SELECT max(seq) {_SOURCE} WHERE target IS NULL").fetchone()[0]
    query = f"SELECT seq, min(received_us) {_SOURCE} WHERE target IS NOT NULL"
    copy = connection.execute(query).fetchone()[0]
    for key, seq in (("newest_heard", heard), ("oldest_copy", copy)):
        if seq is not None:
            _keep(connection, key, seq)


def _keep(connection: sqlite3.Connection, key: str, seq: int) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, seq))
