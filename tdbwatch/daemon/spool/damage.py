"""What to do with a file that SQLite cannot read any more: move it aside, take from it what can be read."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tdbwatch.daemon.spool.api import DeadLetter, Entry
from tdbwatch.daemon.spool.drops import Tally, unsettled
from tdbwatch.daemon.spool.rows import SELECT_EVENTS, SELECT_LETTERS, Streams, entry_of, letter_of

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
    move_files(path, target)
    return target


def move_files(path: Path, target: Path) -> None:
    """Rename the spool's files."""
    for suffix in reversed(_SIDE_FILES):  # the file itself last: it is what tells that all are there
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(target.with_name(target.name + suffix))


def remove_files(path: Path) -> None:
    """Remove the spool's files, if there are any."""
    for suffix in _SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@dataclass(slots=True)
class Rescued:
    """What could be read of a damaged file."""

    entries: list[Entry] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    drops: list[Tally] = field(default_factory=list)


def rescue(damaged: Path, floor: int | None, limit: int) -> Rescued:
    """As much as can be read: at most `limit` entries and as many dead letters.

    Args:
        floor: entries up to this one are not needed; None: those that no sink in the file needs.
    """
    found = Rescued()
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(damaged.absolute()))}?mode=ro", uri=True)
        ) as connection:
            streams = Streams(connection)
            for read in (_cursors, _drops, _entries, _letters):
                with suppress(sqlite3.Error, KeyError, ValueError, TypeError):  # as far as it goes
                    read(connection, streams, found, floor, limit)
    except (sqlite3.Error, ValueError, TypeError):
        pass  # not even the streams: nothing can be understood
    return found


def _cursors(connection: sqlite3.Connection, _: Streams, found: Rescued, *__: object) -> None:
    found.cursors.update(connection.execute("SELECT sink, seq FROM cursors").fetchall())


def _drops(connection: sqlite3.Connection, _: Streams, found: Rescued, *__: object) -> None:
    found.drops.extend(unsettled(connection))


def _entries(
    connection: sqlite3.Connection, streams: Streams, found: Rescued, floor: int | None, limit: int
) -> None:
    after = min(found.cursors.values(), default=0) if floor is None else floor
    for first, last in _steps(connection, "events", "seq", after):
        if len(found.entries) >= limit:
            return
        with suppress(sqlite3.Error, KeyError):
            rows = connection.execute(SELECT_EVENTS, (first, last, _STEP)).fetchall()
            found.entries.extend(entry_of(row, streams) for row in rows)


def _letters(
    connection: sqlite3.Connection, streams: Streams, found: Rescued, _: int | None, limit: int
) -> None:
    for first, last in _steps(connection, "dead_letters", "number", 0):
        if len(found.letters) >= limit:
            return
        with suppress(sqlite3.Error, KeyError):
            rows = connection.execute(SELECT_LETTERS, (first, last)).fetchall()
            found.letters.extend(letter_of(row, streams) for row in rows)


def _steps(connection: sqlite3.Connection, table: str, key: str, after: int) -> Iterator[tuple[int, int]]:
    """(after, through) from the first to the last, so that places that cannot be read are stepped over."""
    first = connection.execute(f"SELECT min({key}) FROM {table}").fetchone()[0]  # noqa: S608 - our own names
    last = connection.execute(f"SELECT max({key}) FROM {table}").fetchone()[0] or 0  # noqa: S608
    for start in range(max(after, (first or 1) - 1), last, _STEP):
        yield start, min(start + _STEP, last)
