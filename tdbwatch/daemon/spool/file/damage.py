"""What a damaged file is, and moving one aside."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tdbwatch.wire.codec import BodyError

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_OTHERS_ROWS: Final = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}
"""A number that must be free is taken: this is not the file that we wrote."""
NONSENSE: Final = (KeyError, ValueError, TypeError, OverflowError, BodyError)
"""What rows raise that no spool has written: bits of a file flip without SQLite seeing it."""
_SIDE_FILES: Final = ("-shm", "-wal")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, so that waiting and trying again cannot help."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF in _DAMAGED or code in _OTHERS_ROWS)


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk has no space left."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_FULL


def damaged(reason: str) -> sqlite3.DatabaseError:
    """Damage that SQLite does not see itself."""
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


@contextmanager
def trusting_nothing() -> Iterator[None]:
    """Rows that make no sense are damage too.

    Raises:
        sqlite3.DatabaseError: they make none.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if hasattr(error, "sqlite_errorcode"):
            raise
        raise damaged(f"a row makes no sense: {error}") from error  # text that is not UTF-8
    except NONSENSE as error:
        raise damaged(f"a row makes no sense: {error}") from error


def place_aside(path: Path, now: float) -> Path:
    """A free name for a damaged file: `<name>.damaged-<time>`."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    target, number = path.with_name(f"{path.name}.damaged-{stamp}"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    return target


def set_aside(path: Path) -> list[Path]:
    """The damaged files beside this spool, the oldest first."""
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(name for name in found if not name.name.endswith(_SIDE_FILES))


def move_aside(path: Path, target: Path) -> None:
    """Rename the spool's files. From the first step on the file is gone from its place."""
    with suppress(FileNotFoundError):
        path.rename(target)
    move_side_files(path, target)


def move_side_files(path: Path, target: Path) -> None:
    """What belongs to a file that has moved must follow it, or SQLite would apply it to the next one."""
    for suffix in _SIDE_FILES:
        with suppress(FileNotFoundError):
            side(path, suffix).rename(side(target, suffix))


def remove_files(path: Path) -> None:
    """Remove the spool's files, if there are any."""
    for suffix in (*_SIDE_FILES, ""):
        side(path, suffix).unlink(missing_ok=True)


def side(path: Path, suffix: str) -> Path:
    """The file beside it whose name is longer by `suffix`."""
    return path.with_name(path.name + suffix)


def sync_folder(path: Path) -> None:
    """Make what was renamed in the folder of `path` durable."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
