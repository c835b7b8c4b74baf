"""The spool's file itself: opened once, watched, and let go of."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from tdbwatch.daemon.spool.file import wal
from tdbwatch.daemon.spool.file.damage import damaged
from tdbwatch.daemon.spool.file.foreign import MAGIC

Connect = Callable[[Path], sqlite3.Connection]


class Handle:
    """The one writing connection, and a descriptor of the same file.

    Raises:
        OSError, sqlite3.Error: it cannot be opened.
    """

    def __init__(self, path: Path, connect: Connect) -> None:
        self.path = path
        self._log: os.stat_result | None = None
        # Open as long as the connection is: closing any descriptor of the file would drop SQLite's locks
        # on it (fcntl(2)), and another process could take the log away under our feet.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self.connection = connect(path)
        except BaseException:
            os.close(self._file)
            raise

    def close(self) -> None:
        """Let go of the file. More than once does no harm."""
        self.connection.close()
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def watch_log(self) -> None:
        """From now on the log beside the file is watched, too; it is there once the file was read."""
        self._log = wal.opened(self.path)

    def check(self) -> None:
        """See what is there: SQLite's cache would hide for long that a file was removed or overwritten.

        Raises:
            sqlite3.DatabaseError: it is not the file that was opened, or not a database any more.
            OSError: they cannot be looked at.
        """
        if self.moved or os.pread(self._file, len(MAGIC), 0) != MAGIC:
            raise damaged("the file, or the log beside it, was removed, replaced or overwritten")

    @property
    def moved(self) -> bool:
        """Whether another file, or none, is in its place now, or in that of its log.

        The connection can read it all the same, and it alone can.

        Raises:
            OSError: they cannot be looked at.
        """
        if self._file < 0:
            return False
        try:
            same = os.path.samestat(self.path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return True
        return not same or wal.gone(self.path, self._log)
