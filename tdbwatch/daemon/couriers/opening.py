"""Opens a sink, as often as it takes."""

import asyncio
import random
from contextlib import suppress

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.faults import FaultLog, describe
from tdbwatch.daemon.couriers.saving import Saving
from tdbwatch.daemon.couriers.status import Counters
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.hosts import Host, SinkHangsError, SinkStuckError


class Opening:
    """Tries until the sink is open.

    Attributes:
        done: whether it is.
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
            try:
                await self._host.open()
                self.done, self._counters.stuck = True, False
            except Exception as error:  # noqa: BLE001 - a sink may raise anything
                self._failed(error)
                seconds = self._breaker.policy.wait(self._breaker.failures, self._rng)
                with suppress(DeadlineError):
                    await within(self._clock, seconds, self.woken.wait())
        self._breaker.worked(self._clock.monotonic())
        self._faults.worked()
        self._counters.last_error = None

    def _failed(self, error: Exception) -> None:
        self._counters.stuck = isinstance(error, SinkStuckError | SinkHangsError)
        self._counters.last_error = describe(error)
        if self._counters.stuck:
            self._faults.stuck(str(error))
        else:
            self._faults.failed("sink.open_failed", describe(error), error)
        self._breaker.failed(self._clock.monotonic(), self._rng)
        self._saving.tell()  # whoever waits for it to deliver need not any more
