"""Opens a sink, as often as it takes, and sends what may go to it, when it may."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.delivery import Delivery
from tdbwatch.daemon.couriers.health import Health
from tdbwatch.daemon.couriers.progress import Saving
from tdbwatch.daemon.couriers.turns import Turns
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.hosting.faults import describe
from tdbwatch.daemon.hosting.hosts import Host


@dataclass(slots=True, eq=False)
class Dispatch:
    """Sends what may go, waits until more may. To open the sink is the first attempt of all.

    Attributes:
        opened: whether the sink is open.
        stopping: whether nothing new begins any more.
    """

    _host: Host
    _turns: Turns
    _health: Health
    _delivery: Delivery
    _saving: Saving
    _clock: Clock
    opened: bool = False
    stopping: bool = False
    _woken: bool = False
    """While the sink was busy: what it answers to that says nothing of now."""

    @property
    def next_try_us(self) -> int | None:
        """When the sink gets something, in microseconds since the Unix epoch; None: now, or not by time."""
        seconds = 0.0 if (due := self._next_try) is None else due - self._clock.monotonic()
        return int((self._clock.time() + seconds) * 1e6) if seconds > 0 else None

    @property
    def _next_try(self) -> float | None:
        if self.stopping:
            return None
        if not self.opened:
            return self._health.breaker.hold_until
        return self._turns.next_try(self._clock.monotonic())

    def wake(self, *, rooms: bool) -> None:
        """As `Courier.wake`."""
        breaker = self._health.breaker
        if rooms or not self.opened or breaker.open or self._is_held:
            if breaker.failures or self._turns.waiting:
                self._health.woken()
            self._woken = bool(self._turns.in_flight) or not (self.opened or self._is_held)
            self._turns.hasten(self._clock.monotonic())
            self._saving.tell()

    @property
    def _is_held(self) -> bool:
        """Whether the sink as a whole waits for another attempt."""
        return self._clock.monotonic() < self._health.breaker.hold_until

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Send until cancelled; what fails here is a mistake of ours, and ends the group."""
        while True:
            self._saving.unsent.clear()
            if self._woken and not self._turns.in_flight:
                self._woken = False
                if self._health.breaker.open or self._is_held:
                    self._turns.hasten(self._clock.monotonic())
            if self.opened:
                self._send(group)
            elif not self._is_held:
                await self._open()
                continue
            if self._health.breaker.failures:
                self._health.probed(self.next_try_us)
            await self._wait(self._next_try)

    async def _open(self) -> None:
        try:
            await self._host.open()
        except Exception as error:  # noqa: BLE001 - a sink may raise anything
            self._health.erred("sink.open_failed", describe(error), error)
            self._health.breaker.failed(self._clock.monotonic(), after=0.0)
            self._saving.tell()  # whoever waits for it to deliver need not any more
        else:
            self.opened = True
            self._health.worked()

    def _send(self, group: asyncio.TaskGroup) -> None:
        while not self.stopping and (parcel := self._turns.next(self._clock.monotonic())) is not None:
            group.create_task(self._delivery.attempt(parcel), name="delivery")

    async def _wait(self, due: float | None) -> None:
        if due is None:
            await self._saving.unsent.wait()
            return
        with suppress(DeadlineError):
            await within(self._clock, max(0.0, due - self._clock.monotonic()), self._saving.unsent.wait())
