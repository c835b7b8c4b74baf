"""One file that records are appended to: whole lines or none, whatever crashes."""

import contextlib
import errno
import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Final

from tdbwatch.safe_files import others_can_write, real_path
from tdbwatch.sinks.file.guarded import guarded

_FILE_MODE: Final = 0o640
_SHARED: Final = "the file {}, and others can write its folder; remedy: chmod go-w the folder"
_FOLDER_MODE: Final = 0o750
_RECORD_START: Final = b'{"id":"'
_BLOCK: Final = 1 << 16
_MAX_RECORD: Final = 1 << 26  # bytes; no record is longer
_sync: Final = getattr(os, "fdatasync", os.fsync)


class Appender:
    """An open file, locked against other writers, whose content ends with a whole line.

    All methods block on the disk and raise `OSError`.

    Attributes:
        path: where it was opened.
        size: bytes in it.
        last_write: when it was last written to, in seconds since the Unix epoch.
        repaired: bytes of a torn line that were cut off at opening.
    """

    def __init__(self, path: str, *, durable: bool = True) -> None:
        self.path = path
        self.repaired = 0
        guarded.refuse(path)
        self._fd = _open(path, durable)
        try:
            self._claim()
            info = os.fstat(self._fd)
            self._identity = (info.st_dev, info.st_ino)
            self.size = info.st_size
            self.last_write = info.st_mtime
            self._repair()
            if durable and self.size == 0:  # perhaps new: by us, or by one who died before this
                sync_folder(_folder_of(path))
        except BaseException:
            self.close()
            raise

    def is_current(self) -> bool:
        """Whether the path still names this file: logrotate may have moved it, a user removed it."""
        try:
            info = Path(self.path).stat()
        except FileNotFoundError:
            return False
        self.size = info.st_size  # copytruncate shortens it under us
        return (info.st_dev, info.st_ino) == self._identity

    def append(self, data: bytes, now: float, *, sync: bool) -> None:
        """Write `data`, all of it or nothing, and wait for the disk if `sync`."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
            if sync:
                _sync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):  # else the next opening repairs it
                os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)
        self.last_write = now

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _claim(self) -> None:
        info = os.fstat(self._fd)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", self.path)
        if info.st_nlink > 1 and others_can_write(Path(self.path).parent):
            raise OSError(errno.EMLINK, _SHARED.format("has another name"), self.path)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(errno.EAGAIN, "another sink or process writes to it", self.path) from None

    def _repair(self) -> None:
        """Cut off a line that a crash left torn: its event was never acknowledged, so it comes again.

        A last line that is whole, or not a record of ours, gets the newline that it lacks.
        """
        start = self._last_line()
        if start == self.size:
            return
        head = os.pread(self._fd, len(_RECORD_START), start).rstrip(b"\0")  # a power cut may leave zeros
        if _RECORD_START.startswith(head) and not self._is_whole(start):
            self.repaired = self.size - start
            self.size = start
            os.ftruncate(self._fd, self.size)
        else:
            os.write(self._fd, b"\n")
            self.size += 1

    def _last_line(self) -> int:
        """Where what follows the last newline begins."""
        end = self.size
        while end > 0:
            start = max(0, end - _BLOCK)
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0

    def _is_whole(self, start: int) -> bool:
        """Whether a record that begins there only lacks its newline, as some editors leave it."""
        if self.size - start > _MAX_RECORD or os.pread(self._fd, 1, self.size - 1) != b"}":
            return False
        with open(self._fd, "rb", closefd=False) as file:
            file.seek(start)
            try:
                return isinstance(json.load(file), dict)
            except (ValueError, RecursionError):
                return False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, not only the content behind them.

    Raises:
        OSError: the disk refuses.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _open(path: str, durable: bool) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not make opening wait
    real_path(Path(path).parent)  # which refuses links that lead us astray on the way
    if others_can_write(Path(path).parent):
        flags |= os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW:
            raise OSError(errno.ELOOP, _SHARED.format("is a link"), path) from None
        if error.errno != errno.ENOENT:
            raise
        _make_folder(_folder_of(path), durable)
        return os.open(path, flags | os.O_CREAT, _FILE_MODE)


def _folder_of(path: str) -> Path:
    """The folder that names the file itself: of a path that is a link, the one it points into."""
    return Path(os.path.realpath(path)).parent


def _make_folder(folder: Path, durable: bool) -> None:
    """Make a folder and those above it, all with our mode; `parents=True` gives it to the last one only."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(_FOLDER_MODE, exist_ok=True)
        if durable:
            sync_folder(one.parent)
