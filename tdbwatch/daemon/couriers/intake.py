"""Keeps a courier's ledger filled with what the routes send to its sink."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.faults import FaultLog, describe
from tdbwatch.daemon.couriers.ledger import Ledger
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.retry import RetryPolicy
from tdbwatch.daemon.spool.api import Entry, Spool, SpoolError
from tdbwatch.daemon.spool.finished import Finished
from tdbwatch.plugin.event import Event

_READ_BYTES: Final = 4 << 20
_READ_RETRY: Final = 1.0
_PACE: Final = 0.05
"""Seconds between readings while all that was read waits, and more of it than fits into memory."""

_PATIENCE: Final = 1.0
"""Seconds for which a first attempt may keep the memory full with what is behind it."""


class _Found(NamedTuple):
    """What was read of the spool, and up to where that is all there is."""

    entries: list[Entry]
    through: int


class Intake:
    """Reads the spool from the ledger's position, and again what the ledger had to let go of.

    Args:
        sink: its name.
        wants: whether the routes send this event to this sink.
        progress: set and cleared whenever entries are finished.
        added: called when the ledger has new entries.
        moved: called when the ledger's cursor may have moved.
    """

    def __init__(
        self,
        sink: str,
        spool: Spool,
        ledger: Ledger,
        breaker: Breaker,
        wants: Callable[[Event], bool],
        faults: FaultLog,
        clock: Clock,
        progress: asyncio.Event,
        added: Callable[[], None],
        moved: Callable[[], None],
    ) -> None:
        self._sink = sink
        self._spool = spool
        self._ledger = ledger
        self._breaker = breaker
        self._wants = wants
        self._faults = faults
        self._clock = clock
        self._progress = progress
        self._added = added
        self._moved = moved
        self._finished = Finished()  # before the restart, beyond the cursor

    def remember(self, policy: RetryPolicy) -> None:
        """Go on where the last run stopped."""
        history = self._spool.history(self._sink)
        self._finished = history.finished
        now, now_us = self._clock.monotonic(), int(self._clock.time() * 1e6)
        self._ledger.remember(history.failed, now, now_us, policy)

    async def read(self) -> None:
        """Read what comes, until cancelled."""
        ledger = self._ledger
        while True:
            await self._spool.wait_after(ledger.position)
            if ledger.blocked and ledger.has_let_go:  # for long: each event need not be seen at once
                await self._clock.sleep(_PACE)
            await self._room()
            if (found := await self._entries(ledger.position)) is not None:
                wanted = self._wanted(found.entries)
                ledger.add(wanted, found.through, self._clock.monotonic())
                self._filled(wanted)
            await asyncio.sleep(0)  # from memory, nothing above had to wait

    async def read_again(self) -> None:
        """Read what the ledger let go of, whenever its turn has come, until cancelled."""
        ledger = self._ledger
        while True:
            while (first := ledger.read_again_from) is None or ledger.room_left <= 0:
                await self._progress.wait()
            if (found := await self._entries(first - 1)) is not None:
                wanted = self._wanted(found.entries)
                ledger.add_again(wanted, first, found.through, self._clock.monotonic())
                self._filled(wanted)
            await asyncio.sleep(0)

    def _filled(self, wanted: Sequence[Entry]) -> None:
        if self._finished and self._ledger.cursor >= self._finished.last:
            self._finished = Finished()
        if wanted:
            self._added()
        self._moved()

    async def _room(self) -> None:
        """Wait until the ledger has room for more."""
        ledger, patient = self._ledger, True
        while ledger.room_left <= 0 and not ledger.let_go(patient=patient):
            patient = await self._progressed()
            if ledger.room_left <= 0 and ledger.blocked and not self._breaker.open:
                self._faults.held_up(ledger.waiting, ledger.unfinished)

    async def _progressed(self) -> bool:
        """Wait until something is finished; False: that takes long."""
        try:
            await within(self._clock, _PATIENCE, self._progress.wait())
        except DeadlineError:
            return False
        return True

    async def _entries(self, after: int) -> _Found | None:
        """What comes next, as far as there is room for it; None: it cannot be read at the moment."""
        ledger, spool, end = self._ledger, self._spool, self._spool.last_seq
        try:
            entries = await spool.read(after, ledger.room_left, min(_READ_BYTES, ledger.bytes_left))
        except SpoolError as error:
            self._faults.failed("spool.read_failed", describe(error))
            entries, end = [], 0
        if entries:
            return _Found(entries, entries[-1].seq)
        if (through := max(end, spool.first_seq - 1)) > after:  # what was to come has made room
            return _Found([], through)
        await self._clock.sleep(_READ_RETRY)
        return None

    def _wanted(self, entries: Sequence[Entry]) -> list[Entry]:
        wanted, finished = [entry for entry in entries if self._is_for_us(entry)], self._finished
        return [entry for entry in wanted if entry.seq not in finished] if finished else wanted

    def _is_for_us(self, entry: Entry) -> bool:
        return self._wants(entry.event) if entry.target is None else entry.target == self._sink
