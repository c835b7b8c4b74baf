"""Opens a sink, as often as it takes, and closes it."""

import asyncio
import random
from contextlib import suppress

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.faults import FaultLog, describe
from tdbwatch.daemon.couriers.progress import Saving
from tdbwatch.daemon.couriers.settings import Counters
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.hosts import Host, SinkHangsError, SinkStuckError


class Opening:
    """What a courier does before anything else, and at last.

    Attributes:
        done: whether the sink is open.
        due: when it is tried next, by the monotonic clock; None: it is being tried, or open.
        woken: set to have it tried at once.
    """

    def __init__(
        self,
        host: Host,
        breaker: Breaker,
        faults: FaultLog,
        counters: Counters,
        saving: Saving,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.done = False
        self.due: float | None = None
        self.woken = asyncio.Event()
        self._host = host
        self._breaker = breaker
        self._faults = faults
        self._counters = counters
        self._saving = saving
        self._clock = clock
        self._rng = rng

    async def run(self) -> None:
        """Return when the sink is open."""
        while not self.done:
            self.woken.clear()
            self.due = None
            try:
                await self._host.open()
                self.done, self._counters.stuck = True, False
            except Exception as error:  # noqa: BLE001 - a sink may raise anything
                await self._failed(error)
        if self._breaker.worked(self._clock.monotonic()):
            self._faults.worked()
            self._counters.worked()

    async def close(self, grace: float) -> None:
        """Let go of the sink, within about `grace` seconds."""
        await self._host.close(grace)

    async def _failed(self, error: Exception) -> None:
        """Wait until it is to be tried again."""
        breaker, counters, was_probed = self._breaker, self._counters, self._breaker.probing
        counters.stuck = isinstance(error, SinkStuckError | SinkHangsError)
        counters.erred(describe(error), error)
        if counters.stuck:
            self._faults.stuck(str(error))
        else:
            self._faults.failed("sink.open_failed", describe(error), error)
        breaker.failed(self._clock.monotonic(), self._rng)
        self._saving.tell()  # whoever waits for it to deliver need not any more
        seconds = breaker.policy.wait(breaker.failures, self._rng)
        self.due = self._clock.monotonic() + seconds
        if breaker.probing and not was_probed and not counters.stuck:
            self._faults.probed(counters.last_error or "", self.due)
        with suppress(DeadlineError):
            await within(self._clock, seconds, self.woken.wait())
