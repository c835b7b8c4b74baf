"""Files in folders that somebody else can write: what lies there may lead elsewhere.

Whoever can write a folder can put a link into it, a second name of somebody's file, or a pipe on which
opening waits for ever. So nothing of that kind is opened there, and what was opened is looked at again.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

_SAFE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make opening wait
_MOST_LINKS: Final = 40
_KINDS: Final = (
    (stat.S_ISLNK, "is a link"),
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a pipe"),
)


class UnsafeFileError(OSError):
    """What lies at a path is not the plain file that it should be; the text has the remedy."""

    def __init__(self, number: int, path: Path, what: str, remedy: str) -> None:
        super().__init__(number, f"{path} {what}; remedy: {remedy}", str(path))

    def __str__(self) -> str:
        return str(self.strerror)


def others_can_write(folder: Path) -> bool:
    """Whether anybody but us and root can put something into the folder; False where there is none."""
    try:
        info = folder.stat()
    except OSError:
        return False
    return info.st_uid not in (0, os.geteuid()) or bool(info.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def open_file(path: Path, flags: int, mode: int = 0o600) -> int:
    """A descriptor of the plain file at `path` itself, which has no other name.

    Raises:
        UnsafeFileError: something else is there.
        OSError: it cannot be opened.
    """
    file = open_itself(path, flags & ~os.O_TRUNC, mode)
    try:
        judge(path, os.fstat(file))
        if flags & os.O_TRUNC:  # not before it is known what is cut
            os.ftruncate(file, 0)
    except BaseException:
        os.close(file)
        raise
    return file


def open_itself(path: Path | str, flags: int, mode: int = 0o600) -> int:
    """A descriptor of whatever is at `path`, but no link; it does not wait for a pipe. An opener of `open`.

    Raises:
        UnsafeFileError: a link is there.
        OSError: it cannot be opened.
    """
    try:
        return os.open(path, flags | _SAFE, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _unsafe(Path(path), Path(path).lstat()) from None
        raise


def read_file(path: Path) -> bytes:
    """The content of the plain file at `path` itself.

    Raises:
        OSError: as `open_file`.
    """
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        return file.read()


def look_at(path: Path) -> os.stat_result | None:
    """What is known of the plain file at `path` itself, without opening it; None: there is nothing.

    Raises:
        UnsafeFileError: something else is there.
        OSError: it cannot be looked at.
    """
    try:
        info = path.lstat()
    except FileNotFoundError:
        return None
    judge(path, info)
    return info


def judge(path: Path, info: os.stat_result) -> None:
    """See that this is a plain file with one name, and not put there by somebody else.

    Raises:
        UnsafeFileError: it is not.
    """
    if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
        raise _unsafe(path, info)
    if info.st_uid not in (0, os.geteuid()) and others_can_write(path.parent):
        what = f"belongs to user {info.st_uid}"
        raise UnsafeFileError(errno.EPERM, path, what, "run this as that user, or chown the file")


def _unsafe(path: Path, info: os.stat_result) -> UnsafeFileError:
    if stat.S_ISREG(info.st_mode):
        remedy = "remove one of the names, or copy the file"
        return UnsafeFileError(errno.EMLINK, path, "has another name (a hard link)", remedy)
    what = next((words for test, words in _KINDS if test(info.st_mode)), "is a device or a socket")
    return UnsafeFileError(
        errno.ELOOP if stat.S_ISLNK(info.st_mode) else errno.EINVAL,
        path,
        f"{what}, not a file",
        "see who put it there, and move it away",
    )


def _trust_link(link: Path) -> None:
    ours = link.lstat().st_uid in (0, os.geteuid())
    sticky = bool(link.parent.stat().st_mode & stat.S_ISVTX)  # as /tmp: nobody replaces what is another's
    if others_can_write(link.parent) and not (ours and sticky):
        what = "is a link, in a folder that others can write"
        raise UnsafeFileError(errno.ELOOP, link, what, "name what it leads to, or chmod go-w the folder")


def real_path(path: Path, trust: Callable[[Path], None] = _trust_link) -> Path:
    """As `os.path.realpath`, but no link is followed that somebody else could have put there.

    A path without links stays as it is, be it relative.

    Args:
        trust: told of each link before it is followed; raises where it is not to be.

    Raises:
        UnsafeFileError: there is such a link.
        OSError: a link cannot be read, or they lead in a circle.
    """
    real, rest, links = *_begun(path), 0
    while rest:
        part = rest.pop()
        step = real / part
        if part == "..":
            real = step if real.name in {"", ".."} and not real.is_absolute() else real.parent
        elif not os.path.islink(step):  # noqa: PTH114 - which may raise where a folder may not be looked into
            real = step
        else:
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            trust(step)
            target = step.readlink()
            begin, more = _begun(target)
            real, rest = (begin if target.is_absolute() else real), rest + more
    return real


def _begun(path: Path) -> tuple[Path, list[str]]:
    """Where a path begins, and its parts from there on, the last one first."""
    parts = list(reversed(path.parts))
    return (Path(parts.pop()), parts) if path.is_absolute() else (Path(), parts)
