"""Attempts that began and never ended: what may have ended the process becomes a dead letter in the end.

Only after a run that did not end cleanly. Then attempts are written down before they are made, until as many
entries are finished as could have been under way, and the process has lived for as long as finished ones may
not have been durable; so the next run knows what was under way. Entries that were go again
in ever smaller company, at last alone. What ends the process once alone is on trial from then on: the process
lives for a while without it first, and only if it ends sooner than that with it, and nothing else on trial,
this counts. So whoever ends the process at random moments makes no dead letters.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.couriers.lane import Parcel
from tdbwatch.daemon.couriers.lanes import Lanes
from tdbwatch.daemon.couriers.pieces import Failure, begun
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.spool.api import Spool, SpoolError

_SHARE: Final = 100
"""One part in so many of a batch goes together after each attempt that never ended."""
_MOST: Final = 3
"""Times that an entry ended the process, as it seems, while it was alone under way."""
_LIFE: Final = 10.0
"""Seconds that the process must have lived before an entry goes that ended it once; twice, for one more."""
_CAREFUL: Final = 2.0
"""Seconds for which attempts are written down, at least: far more than until progress is durable."""
_PATIENCE: Final = 1.0
"""Seconds for which a disk may hold up an attempt."""


def company(unended: int, count: int) -> int:
    """How many entries with so many unended attempts go together, of batches of `count`."""
    return max(1, count // int(_SHARE**unended))


def times_alone(unended: int, count: int) -> int:
    """How many of so many unended attempts were made with one entry alone."""
    return sum(company(before, count) == 1 for before in range(unended))


def given_up(failure: Failure, count: int) -> str | None:
    """Why an entry with this past is not to be tried any more; None: it may be."""
    if (times := times_alone(failure.unended, count)) < _MOST:
        return None
    return (
        f"the daemon ended without a word {times} times while only this event was being delivered;"
        " mend the plugin, then requeue it"
    )


def earliest(unended: int, count: int) -> float:
    """Seconds that the process must live before an entry with so many unended attempts is tried."""
    times = times_alone(unended, count)
    return _LIFE * 2 ** (times - 1) if times else 0.0


class Life:
    """The process's: what all its couriers share.

    Attributes:
        trial: who has it tries something on trial; nobody else does meanwhile.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.trial = asyncio.Lock()
        self._clock = clock
        self._began = clock.monotonic()

    @property
    def seconds(self) -> float:
        """How long the process has lived."""
        return self._clock.monotonic() - self._began


@dataclass(slots=True, eq=False)
class Caution:
    """Writes attempts of one courier down before they are made. After a clean end there is no need of it."""

    _settings: CourierSettings
    _spool: Spool
    _lanes: Lanes
    _save: Callable[[], None]
    _life: Life
    _clock: Clock
    _finished: int = 0
    """Entries with which the sink is through."""
    _careful_until: float | None = None

    @asynccontextmanager
    async def under_way(self, parcel: Parcel) -> AsyncIterator[None]:
        """While this parcel is with the sink."""
        unended = parcel.failure.unended
        if not (unended or self._is_careful):
            yield
            return
        life = earliest(unended, self._settings.batch.count)
        async with AsyncExitStack() as stack:
            if life:
                await stack.enter_async_context(self._life.trial)
            if self._life.seconds >= life:
                stack.push_async_callback(self._write, parcel, parcel.failure)  # before anything else begins
                await self._write(parcel, self._one_more(parcel))
            if life:
                acquittal = asyncio.create_task(self._acquit(parcel, life), name="courier-acquittal")
                stack.callback(acquittal.cancel)
            yield
        self._finished += len(parcel)

    @property
    def _is_careful(self) -> bool:
        if self._careful_until is None:
            self._careful_until = self._clock.monotonic() + _CAREFUL
        could_be_under_way = self._settings.batch.count * self._settings.max_in_flight
        return self._finished < could_be_under_way or self._clock.monotonic() < self._careful_until

    def _one_more(self, parcel: Parcel) -> Failure:
        now, now_us = self._clock.monotonic(), int(self._clock.time() * 1e6)
        return replace(begun(parcel.failure, now, now_us), unended=parcel.failure.unended + 1)

    async def _write(self, parcel: Parcel, failure: Failure) -> None:
        """Make it durable that this is what became of the parcel so far."""
        self._lanes.mark(parcel, failure)
        self._save()
        with suppress(DeadlineError, SpoolError):  # the disk may be full
            await within(self._clock, _PATIENCE, self._spool.flush())

    async def _acquit(self, parcel: Parcel, life: float) -> None:
        """What the process lives with as long as without does not end it."""
        await self._clock.sleep(life)
        await self._write(parcel, parcel.failure)
