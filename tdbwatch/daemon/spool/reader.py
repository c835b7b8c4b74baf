"""Reading what is not in memory any more: a connection and a thread of its own, so no commit waits for it."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tdbwatch.daemon.spool.api import Entry
from tdbwatch.daemon.spool.damage import trusting_nothing
from tdbwatch.daemon.spool.rows import SELECT_EVENTS, Streams, entry_of
from tdbwatch.daemon.spool.window import weight


class Reader:
    """Reads entries from the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tdbwatch-spool-reader")
        self._connection: sqlite3.Connection | None = None
        self._streams: Streams | None = None

    async def read(self, after: int, through: int, limit: int, max_bytes: int) -> list[Entry]:
        """Entries after `after` and up to `through`, in order; at least one if there is any.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, after, through, limit, max_bytes)

    def forget(self) -> None:
        """The file was replaced: read from the new one."""
        self._thread.submit(self._close)

    async def close(self) -> None:
        """Let go of the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _read(self, after: int, through: int, limit: int, max_bytes: int) -> list[Entry]:
        if self._connection is None or self._streams is None:
            self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA query_only = ON")
            with trusting_nothing():
                self._streams = Streams(self._connection)
        with trusting_nothing():
            return self._rows(self._connection, self._streams, (after, through, limit), max_bytes)

    def _rows(
        self, connection: sqlite3.Connection, streams: Streams, values: tuple[int, int, int], max_bytes: int
    ) -> list[Entry]:
        entries: list[Entry] = []
        for row in connection.execute(SELECT_EVENTS, values):
            entry = entry_of(row, streams)
            max_bytes -= weight(entry.event)
            if entries and max_bytes < 0:
                break
            entries.append(entry)
        return entries

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._streams = None
