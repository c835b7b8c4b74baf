"""Saves a courier's progress: soon after it moved, and seldom enough to cost little."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.lanes import Lanes
from tdbwatch.daemon.couriers.progress import Saved
from tdbwatch.daemon.spool.api import DeadLetter, Progress, Spool

_PACE: Final = 0.05
"""Seconds between two times that progress is saved."""


class Saving:
    """Tells the spool, and everyone who waits, that lanes have changed.

    Attributes:
        moved: set and cleared whenever that is so.
    """

    def __init__(self, sink: str, spool: Spool, lanes: Lanes, progress: Progress, clock: Clock) -> None:
        self.moved = asyncio.Event()
        self._sink = sink
        self._spool = spool
        self._lanes = lanes
        self._saved = Saved(progress)
        self._clock = clock
        self._unsaved = asyncio.Event()

    def tell(self) -> None:
        """Lanes have changed."""
        self.moved.set()
        self.moved.clear()
        self._unsaved.set()

    def save(self) -> None:
        """Save what is finished by now."""
        self._unsaved.clear()
        if (update := self._saved.update(self._lanes)) is not None:
            self._spool.save(self._sink, *update)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Save what is finished by now and these dead letters with it; durable on return."""
        floor, changed = self._saved.update(self._lanes) or (self._saved.floor, {})
        await self._spool.dead_letter(self._sink, floor, changed, letters)

    async def run(self) -> None:
        """Save what moved, until cancelled."""
        while True:
            await self._unsaved.wait()
            self.save()
            await self._clock.sleep(_PACE)
