"""The spool's file itself and SQLite's write-ahead log beside it: opened once, watched, and let go of.

SQLite takes damage in its log for the end of it: what was committed behind it would be gone without a word.
A commit that a power cut tore looks alike, but there is at most one such, since each is durable before the
next one begins. The format: https://www.sqlite.org/walformat.html.
"""

import os
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tdbwatch.daemon.spool.errors import damaged, trusting_nothing
from tdbwatch.daemon.spool.file.place import MAGIC, is_in_place, side
from tdbwatch.safe_files import open_file, open_itself

_HEADER: Final = struct.Struct(">8xL4xLL8x")  # page size, both salts
_FRAME: Final = struct.Struct(">LLLL8x")  # page, size of the file after a commit (else 0), both salts
_SHM_FRAMES: Final = struct.Struct("=16xL")
"""The last valid frame, in the byte order of the machine."""
_MAGIC: Final = b"\x37\x7f\x06"
"""How every log begins, whatever the byte order of its checksums."""
_MOST_TORN: Final = 1
USUAL_LOG_BYTES: Final = 64 << 20
"""A log that was larger for a while is cut to this size."""
Connect = Callable[[Path], sqlite3.Connection]


def log_size(path: Path) -> int:
    """Bytes of the log beside the file."""
    log = side(path, "-wal")
    return log.stat().st_size if log.exists() else 0


def check_log(path: Path) -> None:
    """See that nothing was committed behind a damaged place of the log.

    Raises:
        sqlite3.DatabaseError: something was; or the file is damaged as well.
        OSError: the log cannot be read.
    """
    log = side(path, "-wal")
    if not log.exists() or log.stat().st_size <= _HEADER.size:
        return
    place = f"file:{quote(str(path.absolute()))}?mode=ro"  # closing it leaves the log as it is
    with closing(sqlite3.connect(place, uri=True, isolation_level=None)) as connection:
        with trusting_nothing():
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        # Now it knows the last valid frame.
        valid = _valid_frames(path)
    lost = _commits_behind(log, valid)
    if lost > _MOST_TORN:
        raise damaged(f"the log beside the file is damaged; {lost} commits behind that place are lost")


def _valid_frames(path: Path) -> int:
    """How many frames of the log SQLite takes for its own, now that it has read it."""
    try:
        with open(side(path, "-shm"), "rb", opener=open_itself) as index:
            (valid,) = _SHM_FRAMES.unpack(index.read(_SHM_FRAMES.size))
    except FileNotFoundError:
        raise damaged("the file says that it has no log, but there is one beside it") from None
    return int(valid)


def _commits_behind(log: Path, valid: int) -> int:
    """Commits of this log's present life behind its last valid frame."""
    with open(log, "rb", opener=open_itself) as file:
        header = file.read(_HEADER.size)
        if any(header) and not header.startswith(
            _MAGIC
        ):  # all zeros: torn, before the first commit was durable
            raise damaged("the log beside the file was overwritten; all that was committed to it is lost")
        page_size, *salts = _HEADER.unpack(header)
        size = _FRAME.size + page_size
        commits = 0
        file.seek(_HEADER.size + valid * size)
        while len(head := file.read(_FRAME.size)) == _FRAME.size:
            _, file_pages, *own = _FRAME.unpack(head)
            commits += bool(file_pages) and own == salts
            file.seek(page_size, 1)
    return commits


class Handle:
    """The one writing connection, and a descriptor of the file, and later of the log, that it has open.

    Raises:
        OSError, sqlite3.Error: it cannot be opened.
    """

    def __init__(self, path: Path, connect: Connect) -> None:
        self.path = path
        self._log = side(path, "-wal")
        # Open as long as the connection is: closing any descriptor of the file would drop SQLite's locks
        # on it (fcntl(2)), and another process could take the log away under our feet.
        self._open = {path: open_file(path, os.O_RDWR | os.O_CREAT)}
        try:
            self.connection = connect(path)
        except BaseException:
            self._let_go()
            raise

    def close(self) -> None:
        """Let go of the file. More than once does no harm."""
        self.connection.close()
        self._let_go()

    def _let_go(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def watch_log(self) -> None:
        """From now on the log beside the file is watched, too; it is there once the file was read."""
        self._open[self._log] = open_file(self._log, os.O_RDONLY)

    @property
    def fault(self) -> sqlite3.Error | None:
        """What is wrong with what is there: SQLite's cache would hide for long that a file is gone or spoilt.

        What the disk does not let us look at shows at the next commit.
        """
        with suppress(OSError):
            if self.moved or os.pread(self._open[self.path], len(MAGIC), 0) != MAGIC:
                return damaged("the file, or the log beside it, was removed, replaced or overwritten")
        return None

    @property
    def moved(self) -> bool:
        """Whether something else, or nothing, is in the place of the file now, or of its log.

        The connection can read it all the same, and it alone can.

        Raises:
            OSError: they cannot be looked at.
        """
        log = self._open.get(self._log)
        if log is not None and os.pread(log, len(_MAGIC), 0) not in {b"", _MAGIC}:
            return True
        return not all(is_in_place(path, file) for path, file in self._open.items())
