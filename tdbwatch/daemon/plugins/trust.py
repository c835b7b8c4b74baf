"""Whose code to run: plugins can do all that tdbwatch can, so nobody else may be able to write them."""

import os
import stat
from pathlib import Path
from shlex import quote
from typing import NamedTuple


class Distrust(NamedTuple):
    """Why nothing may be loaded from a path, and what to do about it."""

    reason: str
    remedy: str


def why_not_trusted(path: Path) -> Distrust | None:
    """Why nothing may be loaded from `path` (a link stands for what it points to); None: it may.

    Raises:
        OSError: it cannot be looked at.
    """
    real = path.resolve(strict=True)
    info = real.stat()
    return judge(real, info.st_uid, info.st_mode, os.geteuid())


def judge(path: Path, owner: int, mode: int, user: int) -> Distrust | None:
    """As `why_not_trusted`, for a file of this owner and mode when run by `user`."""
    if owner not in (0, user):
        reason = f"{path} belongs to user {owner}, who could put any code into it"
        return Distrust(reason, f"run `chown {user} {quote(str(path))}`")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "everyone" if mode & stat.S_IWOTH else "its group"
        return Distrust(f"{path} is writable by {who}", f"run `chmod go-w {quote(str(path))}`")
    return None
