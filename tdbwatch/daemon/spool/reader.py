"""Reading the log: the newest blocks from memory, which all sinks share, the others from the file."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.errors import SpoolError, is_damage, trusting_nothing
from tdbwatch.daemon.spool.stored.blocks import Block, Lane
from tdbwatch.daemon.spool.stored.log import Window, blocks_between
from tdbwatch.daemon.spool.stored.tables import connect_to
from tdbwatch.descriptors import reserve

_T = TypeVar("_T")


class Reader:
    """Reads the log, and the rest of the file.

    What asks the file raises `SpoolError` where it cannot be read.

    Args:
        window: the newest blocks.
        suspect: told when the file seems to be damaged.
    """

    def __init__(self, path: Path, window: Window, suspect: Callable[[sqlite3.Error], None]) -> None:
        self.window = window
        self._path = path
        self._suspect = suspect
        self._watchers: list[Callable[[Sequence[Gone]], None]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tdbwatch-spool-reader")
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._held = WeakValueDictionary[int, Block]()  # read by one sink, and still in its hands

    def watch(self, told: Callable[[Sequence[Gone]], None]) -> Callable[[], None]:
        """Have `told` called with what the log gives up, until what is returned is called."""
        self._watchers.append(told)

        def end() -> None:
            with suppress(ValueError):
                self._watchers.remove(told)

        return end

    def gone(self, blocks: Sequence[Gone]) -> None:
        """The log has given these up."""
        self.window.forget(blocks)
        for told in list(self._watchers):
            told(blocks)

    async def blocks(self, after: int, through: int, max_bytes: int) -> list[Block]:
        """Blocks with entries after `after`, as far as they begin at `through` or before; at least one."""
        if (found := self.window.read(after, max_bytes)) is not None:
            return found
        return await self.lane(None, after, through, max_bytes)

    async def lane(self, lane: Lane | None, after: int, through: int, max_bytes: int) -> list[Block]:
        """The same of one lane, or of all, from the file."""
        return self._shared(
            await self.ask(lambda c: blocks_between(c, after + 1, through, lane, max_bytes=max_bytes))
        )

    def _shared(self, blocks: list[Block]) -> list[Block]:
        """The same blocks as others have: sinks that are down hold one backlog, not a copy each."""
        for index, block in enumerate(blocks):
            held = self._held.setdefault(block.first_seq, block)
            if (held.body, held.lane, held.target) == (block.body, block.lane, block.target):
                blocks[index] = held
        return blocks

    def forget(self) -> None:
        """The file was replaced: read from the new one."""
        self._thread.submit(self._close)

    async def close(self) -> None:
        """Let go of the file."""
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def ask(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        """What the file says to this question."""
        if self._closed:
            raise SpoolError(f"the spool {self._path} is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, question)
        except sqlite3.Error as error:
            if is_damage(error):
                self._suspect(error)
            raise SpoolError(f"the spool {self._path} cannot be read: {error}") from error

    def _answer(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return self._answer_of_file(question)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        self._close()  # another file may be there by now, and what is wrong with the old one be known
        return self._answer_of_file(question)

    def _answer_of_file(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        with trusting_nothing():
            if self._connection is None:
                reserve.lend()
                self._connection = connect_to(self._path, "mode=rw", check_same_thread=False)
                self._connection.execute("PRAGMA query_only = ON")
            return question(self._connection)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
