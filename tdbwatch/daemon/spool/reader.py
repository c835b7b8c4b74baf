"""Reading what is not in memory any more: a connection and a thread of its own, so no commit waits for it."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import stat_result
from os.path import samestat
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from tdbwatch.daemon.spool.api import Entry, Order
from tdbwatch.daemon.spool.file.damage import is_damage, trusting_nothing
from tdbwatch.daemon.spool.stored import orders
from tdbwatch.daemon.spool.stored.blocks import Block, Lane
from tdbwatch.daemon.spool.stored.history import letters_after
from tdbwatch.daemon.spool.stored.rows import blocks_where

_FROM: Final = (
    "first_seq >= (SELECT ifnull(max(first_seq), 0) FROM blocks WHERE first_seq <= ?)"
    " AND first_seq + count > ? AND first_seq <= ? ORDER BY first_seq"
)
_FROM_IN_LANE: Final = (
    "scope = ? AND room = ? AND first_seq >= (SELECT ifnull(max(first_seq), 0) FROM blocks"
    " WHERE scope = ? AND room = ? AND first_seq <= ?)"
    " AND first_seq + count > ? AND first_seq <= ? ORDER BY first_seq"
)
_COUNT_IN_LANE: Final = (
    "SELECT ifnull(sum(min(first_seq + count - 1, ?) - max(first_seq - 1, ?)), 0) FROM blocks"
    " WHERE scope = ? AND room = ? AND first_seq >= (SELECT ifnull(max(first_seq), 0) FROM blocks"
    " WHERE scope = ? AND room = ? AND first_seq <= ?) AND first_seq + count - 1 > ? AND first_seq <= ?"
)
_T = TypeVar("_T")


class Reader:
    """Asks the file. Every method raises `sqlite3.Error` where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tdbwatch-spool-reader")
        self._connection: sqlite3.Connection | None = None
        self._file: stat_result | None = None

    async def blocks(self, after: int, through: int, max_bytes: int) -> list[Block]:
        """Blocks with entries after `after`, as far as they begin at `through` or before; at least one."""
        values = (after + 1, after + 1, through)
        return await self._ask(lambda connection: blocks_where(connection, _FROM, values, max_bytes))

    async def lane(self, lane: Lane, after: int, through: int, max_bytes: int) -> list[Block]:
        """The same of one lane."""
        values = (*lane, *lane, after + 1, after + 1, through)
        return await self._ask(lambda connection: blocks_where(connection, _FROM_IN_LANE, values, max_bytes))

    async def count(self, lane: Lane, after: int, through: int) -> int:
        """How many entries one lane has behind `after`, up to `through`."""
        values = (through, after, *lane, *lane, after + 1, after, through)
        return await self._ask(
            lambda connection: int(connection.execute(_COUNT_IN_LANE, values).fetchone()[0])
        )

    async def orders(self) -> list[Order]:
        """What people asked for and is not done."""
        return await self._ask(orders.waiting)

    async def letters(self, order: Order, limit: int, max_bytes: int) -> list[tuple[int, Entry]]:
        """The next dead letters of a requeue, with their numbers."""
        return await self._ask(lambda connection: _letters(connection, order, limit, max_bytes))

    def forget(self) -> None:
        """The file was replaced: read from the new one."""
        self._thread.submit(self._close)

    async def close(self) -> None:
        """Let go of the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _ask(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, question)

    def _answer(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return self._answer_of_file(question)
        except sqlite3.DatabaseError as error:
            if not (is_damage(error) and self._is_outdated()):
                raise
        self._close()  # a new file is there, or will be soon: what is wrong with the old one is known
        return self._answer_of_file(question)

    def _answer_of_file(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        with trusting_nothing():
            if self._connection is None:
                self._connection = self._opened()
                self._connection.execute("PRAGMA query_only = ON")
            return question(self._connection)

    def _opened(self) -> sqlite3.Connection:
        self._file = self._path.stat() if self._path.exists() else None
        place = f"file:{quote(str(self._path.absolute()))}?mode=rw"  # no file is made where there is none
        return sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False)

    def _is_outdated(self) -> bool:
        """Whether another file, or none, is in the place of the one that was opened."""
        try:
            return self._file is None or not samestat(self._path.stat(), self._file)
        except OSError:
            return True

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _letters(
    connection: sqlite3.Connection, order: Order, limit: int, max_bytes: int
) -> list[tuple[int, Entry]]:
    found: list[tuple[int, Entry]] = []
    for number, letter in letters_after(connection, order.position, order.through, order.sink):
        if order.selection.matches(letter.entry.event):
            found.append((number, letter.entry))
            max_bytes -= len(letter.entry.event.payload)
            if len(found) >= limit or max_bytes <= 0:
                break
    return found
