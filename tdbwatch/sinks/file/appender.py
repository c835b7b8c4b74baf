"""One file that records are appended to: whole lines or none, whatever crashes."""

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Final

_FILE_MODE: Final = 0o640
_FOLDER_MODE: Final = 0o750
_RECORD_START: Final = b'{"id":"'
_BLOCK: Final = 1 << 16
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
        self._fd, created = _open(path)
        try:
            self._claim()
            info = os.fstat(self._fd)
            self._identity = (info.st_dev, info.st_ino)
            self.size = info.st_size
            self.last_write = info.st_mtime
            self._repair()
            if created and durable:
                _sync_folder(path)
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
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", self.path)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(errno.EAGAIN, "another sink or process writes to it", self.path) from None

    def _repair(self) -> None:
        """Cut off a line that a crash left torn: its event was never acknowledged, so it comes again.

        A last line that is not a record of ours, in a file that somebody else began, gets a newline.
        """
        tail = self._tail()
        if not tail:
            return
        record = tail.rstrip(b"\0")  # a power cut may leave zeros where data was to be
        if record.startswith(_RECORD_START) or _RECORD_START.startswith(record):
            self.size -= len(tail)
            os.ftruncate(self._fd, self.size)
            self.repaired = len(tail)
        else:
            os.write(self._fd, b"\n")
            self.size += 1

    def _tail(self) -> bytes:
        """What follows the last newline."""
        tail, end = b"", self.size
        while end > 0:
            start = max(0, end - _BLOCK)
            block = os.pread(self._fd, end - start, start)
            newline = block.rfind(b"\n")
            tail = block[newline + 1 :] + tail
            if newline >= 0:
                break
            end = start
        return tail


def _open(path: str) -> tuple[int, bool]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not make opening wait
    try:
        return os.open(path, flags), False
    except FileNotFoundError:
        Path(path).parent.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
        return os.open(path, flags | os.O_CREAT, _FILE_MODE), True


def _sync_folder(path: str) -> None:
    """Make a new file's name durable, not only its content."""
    fd = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
