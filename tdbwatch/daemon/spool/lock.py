"""One process at a time owns a spool: a lock that dies with its process, whatever kills it."""

import fcntl
import os
from pathlib import Path

from tdbwatch.daemon.spool.api import SpoolError


class SpoolLock:
    """An exclusive lock on `<spool>.lock`."""

    def __init__(self, spool: Path) -> None:
        self._path = spool.with_name(spool.name + ".lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """Take it.

        Raises:
            SpoolError: another process has it, or the folder cannot be written.
        """
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(f"the spool's folder cannot be used: {error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise SpoolError(
                f"another tdbwatch (process {owner}) holds {self._path}; stop it, or name another spool path"
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files of one name."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
