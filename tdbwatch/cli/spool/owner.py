"""Root works on a spool as the user that owns it.

Whatever lies in a folder of that user may lead elsewhere. What they may not open, root does not open for them
either, and what a command makes there is theirs.

One right of root's stays where the user does not get to their own folder: to go through the folders above it.
systemd keeps the folders of `DynamicUser=` so, in /var/lib/private: its daemons get there by other ways.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.spool.capabilities import DAC_READ_SEARCH, effective, set_effective


@contextmanager
def as_owner_of(file: Path) -> Iterator[None]:
    """Run the block as the owner of the file, or of its folder; only root changes.

    Raises:
        CommandError: this root may not become that user.
    """
    owner = _owner_of(file) if os.geteuid() == 0 else 0
    if owner == 0:
        yield
        return
    _read_code()
    group, groups, before = _groups_of(owner, file)
    try:
        os.setgroups(groups)
        os.setegid(group)
        os.seteuid(owner)
        if not os.access(file.parent, os.X_OK, effective_ids=True):
            set_effective(DAC_READ_SEARCH)
    except OSError as error:
        _be_ourselves(before)
        message = f"the spool belongs to user {owner}, as whom root may not work here; run this as that user"
        raise CommandError(exits.NO_PERMISSION, message) from error
    try:
        yield
    finally:
        _be_ourselves(before)


@contextmanager
def as_who_called() -> Iterator[None]:
    """Within `as_owner_of`, run the block as the one who called the command: for what is not the owner's."""
    user, group, groups = os.geteuid(), os.getegid(), os.getgroups()
    if user == os.getuid():
        yield
        return
    capabilities = effective()
    os.seteuid(os.getuid())
    os.setegid(os.getgid())
    try:
        yield
    finally:
        os.setgroups(groups)
        os.setegid(group)
        os.seteuid(user)
        set_effective(capabilities)


def _read_code() -> None:
    """Import whatever a command may need: the owner may not be allowed to read where it is installed."""
    import_module("tdbwatch.daemon.routing.routes")
    for package in ("tdbwatch.cli", "tdbwatch.daemon.spool"):
        path = import_module(package).__path__
        for module in walk_packages(path, f"{package}."):
            import_module(module.name)


def _owner_of(file: Path) -> int:
    """The owner of the file, if it is not root's, else of the folder: the daemon runs as one of them."""
    for place in (file, file.parent):
        with suppress(OSError):
            if owner := place.lstat().st_uid:
                return owner
    return 0


def _groups_of(owner: int, file: Path) -> tuple[int, list[int], list[int]]:
    """The user's own group, all of their groups, and ours."""
    try:
        known = pwd.getpwuid(owner)
    except KeyError:  # of a container, or one of systemd's that does not run now
        group = file.parent.stat().st_gid
        return group, [group], os.getgroups()
    return known.pw_gid, os.getgrouplist(known.pw_name, known.pw_gid), os.getgroups()


def _be_ourselves(groups: list[int]) -> None:
    os.seteuid(os.getuid())
    os.setegid(os.getgid())
    with suppress(PermissionError):
        os.setgroups(groups)
