"""What only the spool's file can tell: its size and its dead letters. Read off the event loop, at a pace."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.api import DeadLetter, SpoolError
from tdbwatch.daemon.spool.file.disk import used_bytes
from tdbwatch.daemon.spool.file.handle import log_size
from tdbwatch.daemon.spool.looking.gone import LeftBehind, left_behind
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.looking.stats import Letters, letters_by_sink, size_of

FRESH_FOR: Final = 5.0
"""Seconds for which what was read is good enough; longer when reading takes long."""
MAX_SHARE: Final = 0.05
"""The share of the time that may go into reading: dead letters have no index."""
LETTERS: Final = 100
"""Dead letters that are shown."""
PATIENCE: Final = 1.0
"""Seconds that a request waits for fresh figures before it takes the last ones: the disk may hang."""


@dataclass(frozen=True, slots=True)
class SpoolFigures:
    """What was read from the file.

    Attributes:
        size: bytes on disk, side files included; None: not read yet.
        used: bytes of the file that hold something, which is what `spool.max_size` limits: the file never
            shrinks, and the side files come on top; None: not read yet.
        letters: dead letters by sink; None: not read yet.
        log: bytes of SQLite's log; None: not read yet.
        left_behind: what there is of sinks that are gone from the configuration.
    """

    size: int | None = None
    used: int | None = None
    letters: Mapping[str, Letters] | None = None
    log: int | None = None
    left_behind: tuple[LeftBehind, ...] = ()

    def letters_of(self, sink: str) -> Letters | None:
        return None if self.letters is None else self.letters.get(sink, Letters())


NO_FIGURES: Final = SpoolFigures()


class Surveyor:
    """Reads the figures when they are asked for and old; never twice at the same time."""

    def __init__(self, path: Path, sinks: Callable[[], Collection[str]], clock: Clock) -> None:
        self.latest = NO_FIGURES
        self._path = path
        self._sinks = sinks
        self._clock = clock
        self._read_again_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[list[DeadLetter] | None] | None = None

    async def figures(self) -> SpoolFigures:
        """The figures, a few seconds old at most unless the disk hangs or refuses."""
        if self._reading is None and self._clock.monotonic() >= self._read_again_at:
            self._reading = asyncio.create_task(self._read(), name="tdbwatch-status-figures")
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=PATIENCE)
        return self.latest

    async def letters(self, sink: str | None) -> list[DeadLetter] | None:
        """The newest dead letters, of one sink or of all; None: the disk does not answer, or refuses.

        One reads at a time; who comes meanwhile waits as long as for the figures.
        """
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=PATIENCE)
        if self._asking is not None:
            return None
        asking = asyncio.create_task(self._ask(sink), name="tdbwatch-status-letters")
        self._asking = asking
        await asyncio.wait({asking}, timeout=PATIENCE)
        return asking.result() if asking.done() else None

    async def close(self) -> None:
        """Wait no more for what is being read."""
        for task in (self._reading, self._asking):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})

    async def _ask(self, sink: str | None) -> list[DeadLetter] | None:
        try:
            return await asyncio.to_thread(newest_letters, self._path, sink)
        except (OSError, SpoolError, sqlite3.Error):
            return None
        finally:
            self._asking = None

    async def _read(self) -> None:
        started = self._clock.monotonic()
        try:
            self.latest = await asyncio.to_thread(survey, self._path, self._sinks())
        except (OSError, SpoolError, sqlite3.Error):  # the spool itself says what is wrong with its file
            return
        finally:
            now = self._clock.monotonic()
            self._read_again_at = now + max(FRESH_FOR, (now - started) / MAX_SHARE)
            self._reading = None


def newest_letters(path: Path, sink: str | None) -> list[DeadLetter]:
    """Read the newest dead letters; blocks.

    Raises:
        OSError, SpoolError, sqlite3.Error: the file is not there, or not what it should be.
    """
    with opened(path) as look:
        return look.letters.newest(LETTERS, sink)


def survey(path: Path, sinks: Collection[str]) -> SpoolFigures:
    """Read the figures; blocks.

    Args:
        sinks: those of the configuration.

    Raises:
        OSError, SpoolError, sqlite3.Error: the file is not there, or not what it should be.
    """
    with opened(path) as look:
        used, letters = used_bytes(look.connection), letters_by_sink(look.connection)
        return SpoolFigures(size_of(path), used, letters, log_size(path), left_behind(look, sinks))
