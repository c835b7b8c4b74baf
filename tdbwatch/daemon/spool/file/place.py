"""Where a spool is: the one name that its files have, and what may lie there.

SQLite opens its files by their names, so they are looked at before.
"""

import os
import re
import struct
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Final

from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.safe_files import UnsafeFileError, look_at, open_file, open_itself, read_file, real_path

APPLICATION_ID: Final = 0x7464_6277  # "tdbw": tells a spool from any other SQLite file
NOT_OURS: Final = "is an SQLite file but not a spool of tdbwatch; name another path"
MAGIC: Final = b"SQLite format 3\0"
SIDE_FILES: Final = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a file, by what their names add to its own."""
MAKING: Final = ".renewing"
"""The same of a new file in the making."""
_NAMES: Final = (*(form + suffix for form in ("", MAKING) for suffix in ("", *SIDE_FILES)), ".lock")
_ASIDE: Final = re.compile(r"\.damaged-\d{8}T\d{6}Z(-\d+)?$")
_HEADER: Final = struct.Struct(">16sH50xL")  # magic, page size, application id
_OWNER: Final = re.compile(rb"\d{1,20}\n")
_OTHERS: Final = 0o077


def side(path: Path, suffix: str) -> Path:
    """The file beside it whose name is longer by `suffix`."""
    return path.with_name(path.name + suffix)


def set_aside(path: Path) -> list[Path]:
    """The damaged files beside this spool, the oldest first."""
    beside = (file for file in path.parent.iterdir() if file.name.startswith(path.name))
    return sorted(file for file in beside if _ASIDE.match(file.name, len(path.name)))


def is_in_place(path: Path, file: int) -> bool:
    """Whether what lies at `path` is still what was opened there, of which this is a descriptor.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Make a file durable; of a folder, what was made or renamed in it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def spool_file(path: Path) -> Path:
    """The one name of the spool at `path`, whatever links lead to it.

    Raises:
        SpoolError: a link leads nowhere, or is not to be followed.
    """
    try:
        real = real_path(path)
    except OSError as error:
        raise SpoolError(f"the spool's path cannot be followed: {error}") from error
    if os.path.islink(path) and not os.path.exists(real):  # noqa: PTH110, PTH114 - they never raise
        raise SpoolError(
            f"{path} is a link to {real}, where nothing is; mount that disk, or name the spool's own path"
        )
    return real


def check_place(path: Path) -> None:
    """See that nothing lies where the spool's files go but plain files of ours, of what is or was a spool.

    To be asked before anything of ours is made there.

    Raises:
        SpoolError: something else does, or the folder is another user's and we are root.
    """
    try:
        if os.geteuid() == 0 and (owner := path.parent.stat().st_uid) != 0:
            raise SpoolError(
                f"the folder {path.parent} belongs to user {owner}, who could lead root astray there; "
                f"run this as that user, or chown root the folder"
            )
        for name in _NAMES:
            look_at(side(path, name))
    except FileNotFoundError:  # no folder yet: it is made
        return
    except UnsafeFileError as error:
        raise SpoolError(str(error)) from error
    except OSError as error:
        raise SpoolError(f"the spool's folder cannot be used: {error}") from error
    # Where there are signs of a spool, this process may have the file open, and closing another descriptor of
    # it would drop SQLite's locks.
    if not _was_ours(path):
        with suppress(OSError), open(path, "rb", opener=open_itself) as file:
            _refuse_foreign(path, file.read(_HEADER.size), path.stat().st_size)


def _was_ours(path: Path) -> bool:
    """Whether a daemon or a command has used a spool of this name, by what they leave beside it.

    A `-wal` says nothing: other programs have such, too, for files without SQLite's header.
    """
    if _ASIDE.search(path.name):
        return True
    with suppress(OSError):
        if _OWNER.fullmatch(read_file(side(path, ".lock"))[:32]):
            return True
    with suppress(OSError):
        return bool(set_aside(path))
    return False


def _refuse_foreign(path: Path, head: bytes, size: int) -> None:
    if not head:
        return  # an empty one loses nothing
    if not head.startswith(MAGIC):
        raise SpoolError(
            f"{path} is no spool, so it is left as it is; name another path; "
            "or, if it was a spool that got overwritten, move it away yourself"
        )
    if len(head) == _HEADER.size:
        _, page_size, application = _HEADER.unpack(head)
        if application != APPLICATION_ID and size > page_size:  # else there are no tables yet
            raise SpoolError(f"{path} {NOT_OURS}")


def keep_private(path: Path) -> str:
    """Take from others what somebody gave them, as a copy that was restored does; which mode that was.

    Events may be confidential. Empty: they had nothing.

    Raises:
        SpoolError: it is not ours to change, or to use at all.
    """
    found, user = "", os.geteuid()
    for file in (side(path, suffix) for suffix in ("", *SIDE_FILES)):
        with suppress(FileNotFoundError):
            status = file.lstat()
            if status.st_uid != user != 0:
                raise SpoolError(
                    f"{file} belongs to user {status.st_uid}, and this process runs as user {user}; "
                    f"run `chown {user} {quote(str(file))}` as root"
                )
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
