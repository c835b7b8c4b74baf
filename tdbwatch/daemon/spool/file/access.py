"""Who may read a spool: its owner alone, since events may be confidential."""

import os
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Final

from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.daemon.spool.file.aside import side
from tdbwatch.safe_files import open_file

_OTHERS: Final = 0o077
_FILES: Final = ("", "-wal", "-shm")


def keep_private(path: Path) -> str:
    """Take from others what somebody gave them, as a copy that was restored does; which mode that was.

    Empty: they had nothing.

    Raises:
        SpoolError: it is not ours to change, or to use at all.
    """
    found = ""
    for file in (side(path, suffix) for suffix in _FILES):
        with suppress(FileNotFoundError):
            status = file.lstat()
            if status.st_uid != os.geteuid() != 0:
                raise SpoolError(_not_ours(file, status.st_uid))
            if status.st_mode & _OTHERS:
                found = found or f"{status.st_mode & 0o777:04o}"
                _tighten(file, status.st_mode & 0o700)
    return found


def _tighten(file: Path, mode: int) -> None:
    try:
        descriptor = open_file(file, os.O_RDONLY)  # SQLite has no locks yet that closing it could drop
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)
    except OSError as error:
        remedy = f"put it where that can be done, and run `chmod 600 {quote(str(file))}`"
        raise SpoolError(
            f"others can read {file}, which cannot be changed: {error.strerror}; {remedy}"
        ) from error


def _not_ours(file: Path, owner: int) -> str:
    user = os.geteuid()
    return (
        f"{file} belongs to user {owner}, and this process runs as user {user}; "
        f"run `chown {user} {quote(str(file))}` as root"
    )
