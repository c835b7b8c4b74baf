"""What to do with a file that SQLite cannot read any more: move it aside, take from it what can be read."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.api import Entry
from tdbwatch.daemon.spool.rows import SELECT_EVENTS, Streams, entry_of

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SIDE_FILES: Final = ("", "-wal", "-shm")
_STEP: Final = 500


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, so that waiting and trying again cannot help."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


def move_aside(path: Path, now: float) -> Path:
    """Rename the spool's files to `<name>.damaged-<time>`; the new name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    target, number = path.with_name(f"{path.name}.damaged-{stamp}"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for suffix in _SIDE_FILES:
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(target.with_name(target.name + suffix))
    return target


def rescue(damaged: Path, floor: int, limit: int) -> tuple[list[Entry], dict[str, int]]:
    """The entries after `floor`, at most `limit`, and the cursors, as far as they can be read."""
    entries: list[Entry] = []
    cursors: dict[str, int] = {}
    try:
        with closing(sqlite3.connect(f"file:{damaged}?mode=ro", uri=True)) as connection:
            cursors.update(connection.execute("SELECT sink, seq FROM cursors").fetchall())
            _read_on(connection, max(floor, min(cursors.values(), default=0)), limit, entries)
    except (sqlite3.Error, KeyError, ValueError, TypeError):
        pass  # as far as it goes
    return entries, cursors


def _read_on(connection: sqlite3.Connection, after: int, limit: int, entries: list[Entry]) -> None:
    """Read forward, and step over places that cannot be read."""
    streams = Streams(connection)
    last = connection.execute("SELECT max(seq) FROM events").fetchone()[0] or 0
    while after < last and len(entries) < limit:
        through = min(after + _STEP, last)
        try:
            rows = connection.execute(SELECT_EVENTS, (after, through, _STEP)).fetchall()
            entries.extend(entry_of(row, streams) for row in rows)
        except sqlite3.Error:
            pass
        after = through
