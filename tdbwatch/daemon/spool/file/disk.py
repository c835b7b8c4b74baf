"""How much the disk and the file have left. A little is kept back: a disk that it filled wedges no spool.

With the last bytes gone SQLite could not even delete: that, too, goes through its log.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.errors import full

_MOST_RESERVED: Final = 16 << 20
_SHARE: Final = 16
_ROOMY: Final = 1 << 30
_GOOD_FOR: Final = 1.0
"""With so many bytes left nobody need look again within so many seconds."""
_PAGE: Final = 4096
_USUAL_CHECKPOINT: Final = 1_000
"""Pages of log after which SQLite moves them into the file, unless told otherwise."""


class Space:
    """The disk that a file is on."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        size, _ = self._size_and_free()
        self.reserve = min(_MOST_RESERVED, size // _SHARE)
        """Bytes that events leave free."""
        self.roomy_until = float("-inf")
        """Until then, as `time.monotonic` says it, nobody need check it."""

    @property
    def checkpoint_pages(self) -> int:
        """Pages of log that may wait to be moved into the file: no more than the reserve has room for."""
        return (
            max(8, min(_USUAL_CHECKPOINT, self.reserve // 4 // _PAGE)) if self.reserve else _USUAL_CHECKPOINT
        )

    @property
    def group_bytes(self) -> int:
        """Bytes of events in one commit that leave such a disk room to breathe."""
        return max(_PAGE * 16, self.reserve // 4) if self.reserve else _MOST_RESERVED

    @property
    def free(self) -> int | None:
        """Bytes that the disk has left; None: the file system does not say."""
        size, free = self._size_and_free()
        return free if size else None

    def check(
        self, wanted: int, reusable: Callable[[], int], *, finishing: bool = False, all_of_it: bool = False
    ) -> None:
        """See whether `wanted` bytes may be written, first to the log, then to the file.

        Whatever it is, it leaves the last quarter of what is kept back: to cursors, and to deleting.

        Args:
            reusable: bytes within the file that are free.
            finishing: not for events, but for what ends them, and so makes room: the file may grow by half of
                what is kept back for it. The other half is for events in place of those that are finished.
            all_of_it: for what can wait: none of what is kept back is touched, not even by the log.

        Raises:
            sqlite3.OperationalError: they would take what is kept back.
        """
        size, free = self._size_and_free()
        if free - 2 * wanted > _ROOMY:
            self.roomy_until = time.monotonic() + _GOOD_FOR
            return
        growth = max(0, wanted - reusable())
        at_last = self.reserve // 2 if finishing else self.reserve + wanted
        least = self.reserve if all_of_it else self.reserve // 4
        if size and (free - wanted - growth < least or (growth and free - growth < at_last)):
            text = (
                f"database or disk is full: {free:,} bytes are left; the last {self.reserve:,} are kept back"
            )
            raise full(text)

    def _size_and_free(self) -> tuple[int, int]:
        """Bytes; (0, 0) where the file system does not say."""
        with suppress(OSError):
            found = os.statvfs(self._folder)
            free = found.f_bfree if os.geteuid() == 0 else found.f_bavail
            return found.f_blocks * found.f_frsize, free * found.f_frsize
        return 0, 0


def pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something; pages that were freed are used again."""
    pages = pragma(connection, "page_count") - pragma(connection, "freelist_count")
    return pages * pragma(connection, "page_size")


def free_bytes(connection: sqlite3.Connection) -> int:
    """Bytes within the file that hold nothing."""
    return pragma(connection, "freelist_count") * pragma(connection, "page_size")
