"""Whose code to run: plugins can do all that tdbwatch can, so nobody else may be able to write them."""

import os
import stat
from pathlib import Path


def why_not_trusted(path: Path) -> str | None:
    """Why nothing may be loaded from `path` (a link stands for what it points to), and the remedy; or None.

    Raises:
        OSError: it cannot be looked at.
    """
    real = path.resolve(strict=True)
    info = real.stat()
    return judge(real, info.st_uid, info.st_mode, os.geteuid())


def judge(path: Path, owner: int, mode: int, user: int) -> str | None:
    """As `why_not_trusted`, for a file of this owner and mode when run by `user`."""
    if owner not in (0, user):
        return f"{path} belongs to user {owner}, who could put any code into it; remedy: chown {user} {path}"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "everyone" if mode & stat.S_IWOTH else "its group"
        return f"{path} is writable by {who}; remedy: chmod go-w {path}"
    return None
