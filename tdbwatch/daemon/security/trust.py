"""Whose files to believe: who can write a plugin or the configuration can have tdbwatch do anything."""

import grp
import os
import pwd
import stat
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from tdbwatch.safe_files import real_path


class Distrust(NamedTuple):
    """Why a path is not believed, and what to do about it.

    Attributes:
        is_owner: somebody else owns it; who runs this matters, not its mode.
    """

    reason: str
    remedy: str
    is_owner: bool = False


def why_not_trusted(path: Path) -> Distrust | None:
    """Why what `path` leads to is not to be believed; None: it is.

    A folder above it, or above a link on the way to it, that others can write lets them put something else
    in its place, unless it is sticky, as `/tmp` is: there nobody replaces what is another's.

    Raises:
        OSError: it cannot be looked at.
    """
    links: list[Path] = []
    real = real_path(path.absolute(), links.append)
    user = os.geteuid()
    for end in (real, *links):
        for place in (end, *end.parents):
            info = place.lstat()
            sticky = place != end and info.st_mode & stat.S_ISVTX
            mode = 0 if sticky or _is_private(info.st_gid, user, info.st_mode) else info.st_mode
            if distrust := judge(place, 0 if _is_unmapped(info.st_uid) else info.st_uid, mode, user):
                return distrust
    return None


def judge(path: Path, owner: int, mode: int, user: int) -> Distrust | None:
    """As `why_not_trusted`, for a file, folder or link of this owner and mode when run by `user`."""
    is_link = stat.S_ISLNK(mode)
    if owner not in (0, user):
        if is_link:
            reason = f"{path} is a link of user {owner}, who could lead it elsewhere"
            return Distrust(reason, "name what it leads to", is_owner=True)
        reason = f"{path} belongs to user {owner}, who could put anything into it"
        return Distrust(reason, f"run `chown {user} {quote(str(path))}`", is_owner=True)
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not is_link:
        who = "everyone" if mode & stat.S_IWOTH else "its group"
        shared = stat.S_ISDIR(mode) and mode & stat.S_ISVTX  # such as /tmp: all programs need that right
        remedy = (
            "name a folder in it that is yours alone" if shared else f"run `chmod go-w {quote(str(path))}`"
        )
        return Distrust(f"{path} is writable by {who}", remedy)
    return None


def everyone_can_read(path: Path) -> bool:
    """Whether each user of the machine can, also by way of the folders above.

    Raises:
        OSError: it cannot be looked at.
    """
    real = path.resolve(strict=True)
    closed = any(not folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    return not closed and bool(real.stat().st_mode & stat.S_IROTH)


def _is_private(group: int, user: int, mode: int) -> bool:
    """Whether only the user's own group can write, in which nobody else is: many systems give each one."""
    if user == 0 or mode & stat.S_IWOTH or not mode & stat.S_IWGRP:
        return False
    try:
        known, found = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    return known.pw_gid == group and known.pw_name == found.gr_name and set(found.gr_mem) <= {known.pw_name}


def _is_unmapped(owner: int) -> bool:
    """Whether this is how a user namespace shows owners outside of it: the host's root, above all."""
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text("ascii"))
        whole = "4294967295" in Path("/proc/self/uid_map").read_text("ascii").split()
    except (OSError, ValueError):
        return False
    return owner == overflow and not whole
