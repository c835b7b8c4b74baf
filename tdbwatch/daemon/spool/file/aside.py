"""A damaged file moves aside: where to, and what is told of it."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tdbwatch.daemon.spool.file.place import SIDE_FILES, side


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

    moved_to: Path
    error: str
    rescued: int
    letters: int = 0
    progress_lost: bool = False

    @property
    def kept(self) -> bool:
        """Whether there is a damaged file to look into: one that somebody removed is not."""
        return self.moved_to.exists()

    def to_json(self) -> str:
        """As it is kept in the new file."""
        return json.dumps([self.moved_to.name, self.error, self.rescued, self.letters, self.progress_lost])

    @classmethod
    def from_json(cls, text: str, path: Path) -> "DamageReport":
        """The report of `to_json`, in the file at `path`.

        Raises:
            ValueError, TypeError: it is none.
        """
        name, *what = json.loads(text)
        return cls(path.with_name(name), *what)


def place_aside(path: Path, now: float) -> Path:
    """A free name for a damaged file: `<name>.damaged-<time>`."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    target, number = side(path, f".damaged-{stamp}"), 1
    while target.exists():
        number += 1
        target = side(path, f".damaged-{stamp}-{number}")
    return target


def move_aside(path: Path, target: Path) -> None:
    """Rename the spool's files. From the first step on the file is gone from its place."""
    with suppress(FileNotFoundError):
        path.rename(target)
    move_side_files(path, target)


def move_side_files(path: Path, target: Path) -> None:
    """What belongs to a file that has moved must follow it, or SQLite would apply it to the next one."""
    for suffix in SIDE_FILES:
        with suppress(FileNotFoundError):
            side(path, suffix).rename(side(target, suffix))


def remove_files(path: Path) -> None:
    """Remove the spool's files, if there are any."""
    for suffix in (*SIDE_FILES, ""):
        side(path, suffix).unlink(missing_ok=True)
