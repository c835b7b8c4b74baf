"""Files beside the spool: damaged ones that were moved aside; and others, which are nobody's to move."""

import json
import os
import re
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.safe_files import open_itself, read_file

_SIDE_FILES: Final = ("-shm", "-wal", "-journal")
APPLICATION_ID: Final = 0x7464_6277  # "tdbw": tells a spool from any other SQLite file
NOT_OURS: Final = "is an SQLite file but not a spool of tdbwatch; name another path"
MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = struct.Struct(">16sH50xL")  # magic, page size, application id
_ASIDE: Final = re.compile(r"\.damaged-\d{8}T\d{6}Z(-\d+)?$")
_OWNER: Final = re.compile(rb"\d{1,20}\n")


@dataclass(frozen=True, slots=True)
class DamageReport:
    """The spool's file was damaged, moved aside, and a new one begun.

    Attributes:
        moved_to: where the damaged file is now, if anything was left of it.
        error: what SQLite said of it.
        rescued: entries that were in memory, or still readable, and are in the new file.
        letters: dead letters that are.
        progress_lost: what sinks had finished could not be read: twice is better than never.
    """

    path: Path
    moved_to: Path
    error: str
    rescued: int
    letters: int = 0
    progress_lost: bool = False

    @property
    def kept(self) -> bool:
        """Whether there is a damaged file to look into: one that somebody removed is not."""
        return self.moved_to.exists()


def place_aside(path: Path, now: float) -> Path:
    """A free name for a damaged file: `<name>.damaged-<time>`."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    target, number = path.with_name(f"{path.name}.damaged-{stamp}"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    return target


def set_aside(path: Path) -> list[Path]:
    """The damaged files beside this spool, the oldest first."""
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(name for name in found if not name.name.endswith(_SIDE_FILES))


def move_aside(path: Path, target: Path) -> None:
    """Rename the spool's files. From the first step on the file is gone from its place."""
    with suppress(FileNotFoundError):
        path.rename(target)
    move_side_files(path, target)


def move_side_files(path: Path, target: Path) -> None:
    """What belongs to a file that has moved must follow it, or SQLite would apply it to the next one."""
    for suffix in _SIDE_FILES:
        with suppress(FileNotFoundError):
            side(path, suffix).rename(side(target, suffix))


def remove_files(path: Path) -> None:
    """Remove the spool's files, if there are any."""
    for suffix in (*_SIDE_FILES, ""):
        side(path, suffix).unlink(missing_ok=True)


def side(path: Path, suffix: str) -> Path:
    """The file beside it whose name is longer by `suffix`."""
    return path.with_name(path.name + suffix)


def sync_folder(path: Path) -> None:
    """Make what was renamed in the folder of `path` durable."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def refuse_foreign(path: Path) -> None:
    """See that nothing but a spool, or what is left of one, or nothing, is at `path`.

    To be asked before anything of ours is made beside it. Such signs are looked for first: where they are,
    this process may have the file open, and closing another descriptor of it would drop SQLite's locks.

    Raises:
        SpoolError: it is another program's file.
    """
    if _was_ours(path) or not path.is_file():
        return
    # What cannot be read is not moved either.
    with suppress(OSError), open(path, "rb", opener=open_itself) as file:
        head, size = file.read(_HEADER.size), path.stat().st_size
        _refuse(path, head, size)


def _refuse(path: Path, head: bytes, size: int) -> None:
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
        return any(_ASIDE.search(name.name) for name in set_aside(path))
    return False


def damage_text(report: DamageReport) -> str:
    """The report as it is kept in the new file."""
    what = (report.rescued, report.letters, report.progress_lost)
    return json.dumps([report.moved_to.name, report.error, *what])


def damage_of(text: str, path: Path) -> DamageReport:
    """The report of `damage_text`.

    Raises:
        ValueError, TypeError: it is none.
    """
    name, error, rescued, letters, progress_lost = json.loads(text)
    return DamageReport(path, path.with_name(name), error, rescued, letters, progress_lost)
