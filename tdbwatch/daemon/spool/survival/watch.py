"""The file that the writer works on: opened, looked at now and then, and replaced when it is damaged."""

import sqlite3
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.errors import full, is_damage
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.file.handle import USUAL_LOG_BYTES, Connect, check_log
from tdbwatch.daemon.spool.file.lock import SpoolLock
from tdbwatch.daemon.spool.file.place import side
from tdbwatch.daemon.spool.stored.log import Window
from tdbwatch.daemon.spool.stored.progress import Configured
from tdbwatch.daemon.spool.stored.store import Store
from tdbwatch.daemon.spool.survival.renewal import place, renew

_ALARM: Final = 2 * USUAL_LOG_BYTES
_READER: Final = "its log has {:,} bytes, since another process reads the spool and does not let go of it"


class LogSize:
    """How large SQLite's log beside the file gets while somebody reads it, so that it cannot be emptied."""

    def __init__(self, path: Path) -> None:
        self._path = side(path, "-wal")
        self._alarm = _ALARM

    def bound(self, store: Store, most: int) -> None:
        """See that it has at most so many bytes; it is emptied, if nobody reads what is in it.

        Raises:
            sqlite3.OperationalError: somebody does. Then it is as with a full disk.
            sqlite3.Error: it cannot be emptied.
        """
        with suppress(OSError):
            if self._path.stat().st_size > most:
                store.empty_log(patient=False)
                if (size := self._path.stat().st_size) > most:
                    raise full(_READER.format(size))

    def grew(self, store: Store) -> int | None:
        """Its size, where that has grown beyond what is usual; each doubling once.

        When it is as usual again, 0, once. Until then it is emptied as soon as nobody reads it.
        """
        alarmed = self._alarm > _ALARM
        try:
            if alarmed:
                store.empty_log(patient=False)
            size = self._path.stat().st_size
        except (OSError, sqlite3.Error):
            return None
        if size > self._alarm:
            self._alarm = 2 * size
            return size
        if size <= USUAL_LOG_BYTES and alarmed:
            self._alarm = _ALARM
            return 0
        return None


class FileWatch:
    """One spool's file, whichever file that is.

    All but `suspect` belongs to the writer's thread.

    Args:
        window: so many bytes of the newest blocks are kept in memory, whatever happens to the file.
    """

    def __init__(self, path: Path, lock: SpoolLock, connect: Connect, window: int, clock: Clock) -> None:
        self.path = path
        self.log = LogSize(path)
        self._lock = lock
        self._connect = connect
        self._window = window
        self._clock = clock
        self._looked_at = 0.0
        self._replaced_at = float("-inf")
        self._suspicion: Exception | None = None

    def open(self, sinks: Collection[str] | None) -> DamageReport | None:
        """Open the file, or begin it; what happened to the one before, if that was not told yet.

        Raises:
            SpoolError: not a spool, or another version's.
            sqlite3.Error, OSError: it cannot be opened.
        """
        try:
            place(self.path, self._connect)
            check_log(self.path)
            self.store = Store(self.path, self._connect)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.store, _ = renew(self.path, self._connect, error, self._clock.time(), sinks)
        self.store.sinks, self.store.newest = sinks, Window(self._window)
        if sinks is not None:
            with suppress(sqlite3.Error):  # the disk may be full, and this is for people only
                self.store.commit((), [Configured(sinks)])
        self._looked_at = time.monotonic()  # it is what was found just now
        return self.store.damage

    def suspect(self, error: Exception) -> None:
        """Somebody found the file damaged; it is dealt with at the next look."""
        self._suspicion = error

    @property
    def suspected(self) -> bool:
        return self._suspicion is not None

    def due(self, interval: float) -> bool:
        """Whether to look: something is suspected, or nobody has looked for so many seconds."""
        return self._suspicion is not None or time.monotonic() >= self._looked_at + interval

    def look(self) -> Exception | None:
        """Why the file cannot be used any more, if something says so."""
        error, self._suspicion = self._suspicion, None
        if error is not None:
            return error
        self._looked_at = time.monotonic()
        self._lock.hold()
        return self.store.handle.fault

    def replaced_within(self, seconds: float) -> bool:
        """Whether the file is so new."""
        return time.monotonic() < self._replaced_at + seconds

    def replace(self, error: Exception) -> DamageReport:
        """Go on with a new file, under the same numbers and with what memory still holds.

        Raises:
            sqlite3.Error, OSError: the folder or the disk cannot be written; nothing has changed.
        """
        self._replaced_at = time.monotonic()
        old, now = self.store, self._clock.time()
        self.store, report = renew(self.path, self._connect, error, now, old.sinks, old)
        self.store.sinks, self.store.newest = old.sinks, old.newest
        with suppress(sqlite3.Error):
            old.close()
        return report
