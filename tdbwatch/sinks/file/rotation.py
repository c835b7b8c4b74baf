"""Rotation: a file is set aside under its name with the time behind it, `alerts.jsonl.20261123T072400Z`."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from tdbwatch.safe_files import real_path
from tdbwatch.sinks.file.appender import Appender
from tdbwatch.sinks.file.compression import PART
from tdbwatch.sinks.file.names import ROTATED_STAMP
from tdbwatch.sinks.file.options import Rotate

_ASIDE: Final = rf"({ROTATED_STAMP})(?:\.(\d+))?(\.gz|\.zst)?"


class Aside(NamedTuple):
    """A file that was set aside; they sort from the oldest to the newest."""

    stamp: str
    number: int
    path: str
    compressed: bool


def is_due(rule: Rotate, file: Appender, incoming: int, now: float) -> bool:
    """Whether `file` must be set aside before `incoming` more bytes are written at `now`."""
    if file.size == 0:
        return False
    if rule.size is not None and file.size + incoming > rule.size:
        return True
    return rule.every is not None and file.last_write // rule.every != now // rule.every


def set_aside(path: str, now: float) -> str:
    """Rename the file at `path`, or that which a link there points to, and return its new path.

    Files aside sort by when they were set aside, whatever the clock says: where it was set back, the new one
    is named after the newest, with a number.

    Raises:
        OSError: it cannot be renamed.
    """
    path = str(real_path(Path(path)))
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    taken = [(match[1], int(match[2] or 0)) for _, match in _named(path, _ASIDE)]
    newest, number = max(taken, default=("", 0))
    target = f"{path}.{stamp}" if stamp > newest else f"{path}.{newest}.{number + 1}"
    Path(path).rename(target)
    return target


def files_aside(path: str) -> list[Aside]:
    """The files that rotation set aside from `path`, from the oldest to the newest."""
    found = _named(path, _ASIDE)
    return sorted(
        Aside(match[1], int(match[2] or 0), entry.path, match[3] is not None)
        for entry, match in found
        if entry.is_file(follow_symlinks=False)  # whatever else has such a name is somebody else's
    )


def leftovers(path: str) -> list[str]:
    """What compressing files set aside from `path` began and a crash cut short."""
    found = _named(path, rf"{ROTATED_STAMP}(?:\.\d+)?(?:\.gz|\.zst){re.escape(PART)}")
    return [entry.path for entry, _ in found]


def _named(path: str, end: str) -> list[tuple[os.DirEntry[str], re.Match[str]]]:
    """What is beside the file at `path` and has its name, a dot and `end`, a pattern, for a name."""
    folder, name = os.path.split(real_path(Path(path)))
    pattern = re.compile(rf"{re.escape(name)}\.{end}")
    with os.scandir(folder) as entries:
        return [(entry, match) for entry in entries if (match := pattern.fullmatch(entry.name))]


def surplus(files: list[Aside], keep: int | None) -> list[Aside]:
    """Those to delete so that `keep` remain; both forms of one half-compressed file count as one."""
    if keep is None:
        return []
    moments = sorted({(file.stamp, file.number) for file in files}, reverse=True)[keep:]
    return [file for file in files if (file.stamp, file.number) in set(moments)]
