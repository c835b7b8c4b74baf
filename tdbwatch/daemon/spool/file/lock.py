"""One process at a time owns a spool: a lock that dies with its process, whatever kills it."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from weakref import WeakSet

from tdbwatch.daemon.spool.errors import DiskError, SpoolError, is_the_disks
from tdbwatch.daemon.spool.file.place import is_in_place, side
from tdbwatch.safe_files import open_file

_TRIES: Final = 5
_PAUSE: Final = 0.02
"""Seconds. All in a thread of its own, while the daemon starts."""


class InUseError(SpoolError):
    """Another process owns the spool."""


class SpoolLock:
    """An exclusive lock on `<spool>.lock`."""

    def __init__(self, spool: Path) -> None:
        self._path = side(spool, ".lock")
        self._file: int | None = None
        _all.add(self)

    def acquire(self) -> None:
        """Take it.

        Raises:
            SpoolError: another process has it, or the folder cannot be written.
        """
        try:
            file = open_file(self._path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            kind = DiskError if is_the_disks(error) else SpoolError
            raise kind(f"the spool's folder cannot be used: {error}") from error
        self._take(file)
        with suppress(OSError):  # the disk may be full: the number is for people only
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def hold(self) -> None:
        """See that it is still ours: someone may have removed its file, and locked a new one.

        A folder that cannot be written now is looked at again the next time.

        Raises:
            InUseError: another process has it.
        """
        lost = self._file
        assert lost is not None
        try:
            if is_in_place(self._path, lost):
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self.acquire()
        except InUseError:
            raise
        except (OSError, SpoolError):
            return
        os.close(lost)

    def _take(self, file: int) -> None:
        for left in range(_TRIES, -1, -1):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if left:  # a command may be looking just now whether anybody has it
                    time.sleep(_PAUSE)
                    continue
                owner = _owner(file)
                os.close(file)
                raise InUseError(
                    f"another tdbwatch (process {owner}) holds {self._path}; stop it, or name another spool"
                ) from error

    def holder(self) -> str | None:
        """Who has it now: the number of a process, or `unknown`; None: nobody. Makes no file."""
        try:
            file = open_file(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError:
            return "unknown"
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _owner(file)
        finally:
            os.close(file)
        return None

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files of one name."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _owner(file: int) -> str:
    return os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"


def _let_go() -> None:
    """Of a child that anybody forks: it may outlive us, and has no part in the spool."""
    for lock in _all:
        lock.release()


_all: Final = WeakSet[SpoolLock]()
os.register_at_fork(after_in_child=_let_go)
