"""A whole copy of a spool as of one moment, beside a running daemon or without one. Blocks: for commands."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.errors import damaged, is_full
from tdbwatch.daemon.spool.file.place import check_place, side, sync
from tdbwatch.daemon.spool.looking.look import Look, faults, opened
from tdbwatch.daemon.spool.looking.stats import Stats, stats

_MAKING: Final = ".part"
_PAGES: Final = 1_000
"""Copied at once. In between the command can be interrupted; no commit ever waits for it."""


def backup(spool: Look, target: Path) -> Stats:
    """Copy the spool to `target`, a new file that only its owner can read; what is in the copy.

    The copy is under another name until it is whole, sound and on disk. Of the spool no further file is
    opened, so it may be another user's than who runs this.

    Raises:
        FileExistsError: `target`, or what a backup that was cut short left of it, is there.
        SpoolError: the place of `target` is not to be trusted.
        sqlite3.DatabaseError: the spool is damaged; no copy is left.
        OSError: the copy cannot be written.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    making = side(target, _MAKING)
    os.close(os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        check_place(making)
        _copy(spool.connection, making)
        with opened(making) as look:
            if found := faults(look.connection, 1):
                raise damaged(found[0])
            contents = stats(look)
        sync(making)
        making.rename(target)
    except BaseException:
        making.unlink()
        raise
    sync(target.parent)
    return contents


def _copy(spool: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        # One moment for all steps: otherwise each commit of the daemon would begin the copy anew.
        spool.execute("BEGIN")
        spool.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        try:
            spool.backup(copy, pages=_PAGES, progress=lambda *_: None)
        except sqlite3.OperationalError as error:
            if is_full(error):  # of the spool nothing is written
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
            raise
        spool.execute("ROLLBACK")
        # All of it is in this one file. The daemon puts a log beside it again.
        copy.execute("PRAGMA journal_mode = DELETE").fetchone()
