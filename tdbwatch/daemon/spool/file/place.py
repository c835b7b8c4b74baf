"""Where a spool is: the one name that its file, lock and side files have, and what may not lie there.

SQLite opens its files by their names, so they are looked at before.
"""

import os
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.daemon.spool.file.aside import side
from tdbwatch.safe_files import UnsafeFileError, look_at, real_path

_SIDE_FILES: Final = ("", "-wal", "-shm", "-journal")
_NAMES: Final = (
    *(form + suffix for form in ("", ".renewing") for suffix in _SIDE_FILES),
    ".lock",
)
"""What the names of a spool's files add to its own."""


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
    """See that only plain files of ours lie where the spool's files go.

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
