"""Files that no sink may write to: those that tdbwatch itself lives on, by whatever name."""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_PARTS: Final = (os.sep, "-wal", "-shm", "-journal", ".lock", ".renew", ".damaged-")
"""How the names of what belongs to the file go on behind its own: SQLite's side files, and ours."""


class Guarded:
    """Knows the files. Merely to open and close such a file would end SQLite's locks on it (POSIX)."""

    def __init__(self) -> None:
        self._paths: tuple[str, ...] = ()

    def protect(self, paths: Iterable[Path]) -> None:
        """These, what is beside them by their name, and what is in them where they are folders."""
        self._paths = tuple(dict.fromkeys([*self._paths, *map(os.path.realpath, paths)]))

    def refuse(self, path: str) -> None:
        """Raise if `path`, a link that it is, or another name of its file, leads to one of them.

        Raises:
            OSError: it does.
        """
        if self.covers(path):
            raise PermissionError(errno.EPERM, "tdbwatch itself lives on this file", path)

    def covers(self, path: str) -> bool:
        """Whether `path` leads to one of them."""
        real = os.path.realpath(path)
        if any(_is_part(real, guarded) for guarded in self._paths):
            return True
        try:
            info = Path(real).stat()
        except OSError:
            return False
        return any((info.st_dev, info.st_ino) == identity for identity in self._identities())

    def _identities(self) -> Iterator[tuple[int, int]]:
        for guarded in self._paths:
            place = Path(guarded)
            with contextlib.suppress(OSError):
                for file in (place if place.is_dir() else place.parent).iterdir():
                    if _is_part(str(file), guarded):
                        info = file.lstat()
                        yield info.st_dev, info.st_ino


def _is_part(path: str, guarded: str) -> bool:
    return path == guarded or path.startswith(tuple(guarded + part for part in _PARTS))


guarded: Final = Guarded()
"""The process's own: it has one spool and one configuration."""
