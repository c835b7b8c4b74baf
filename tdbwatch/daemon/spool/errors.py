"""What the spool raises, and what errors of SQLite mean."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tdbwatch.wire.codec import BodyError

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_OTHERS_ROWS: Final = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}
"""A number that must be free is taken: this is not the file that we wrote."""
_DISK_TROUBLE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
NONSENSE: Final = (KeyError, ValueError, TypeError, OverflowError, BodyError)
"""What rows raise that no spool has written: bits of a file flip without SQLite seeing it."""


UNREADABLE: Final = (sqlite3.Error, *NONSENSE)
"""What is raised where a file is damaged."""


class SpoolError(Exception):
    """The spool cannot be used; the text says why and what to do."""


class DiskError(SpoolError):
    """The disk does not take the spool now: it is full or broken, which is nothing of the spool's."""


def is_the_disks(error: OSError | sqlite3.Error) -> bool:
    """Whether the disk is to blame, so that trying again may help: it is full, broken or read-only."""
    if isinstance(error, OSError):
        return error.errno in _DISK_TROUBLE
    return _code(error) & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


def is_damage(error: Exception) -> bool:
    """Whether the file itself is broken, so that waiting and trying again cannot help."""
    if not (code := _code(error)):
        return isinstance(error, (*NONSENSE, sqlite3.OperationalError))  # of SQLite: text that is not UTF-8
    return code & 0xFF in _DAMAGED or code in _OTHERS_ROWS


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk has no space left."""
    return _code(error) & 0xFF == sqlite3.SQLITE_FULL


def _code(error: Exception) -> int:
    """SQLite's word for it; 0: it is none of SQLite's."""
    return getattr(error, "sqlite_errorcode", 0)


def damaged(reason: str) -> sqlite3.DatabaseError:
    """Damage that SQLite does not see itself."""
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def full(text: str) -> sqlite3.OperationalError:
    """What SQLite raises where there is no space."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@contextmanager
def trusting_nothing() -> Iterator[None]:
    """Rows that make no sense are damage too.

    Raises:
        sqlite3.DatabaseError: they make none.
    """
    try:
        yield
    except UNREADABLE as error:
        if hasattr(error, "sqlite_errorcode") or not is_damage(error):
            raise
        raise damaged(f"a row makes no sense: {error}") from error
