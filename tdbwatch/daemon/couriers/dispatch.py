"""Opens a sink, as often as it takes, and sends what may go to it, when it may."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.faults import describe
from tdbwatch.daemon.couriers.health import Health
from tdbwatch.daemon.couriers.parcel import Parcel
from tdbwatch.daemon.couriers.turns import Turns
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.hosts import Host


class Dispatch:
    """Sends what may go, waits until more may. To open the sink is the first attempt of all.

    Args:
        attempt: offers a parcel to the sink; it is told the breaker's `asked` of when it was decided.
        tell: called when something has changed for those who wait for the sink.

    Attributes:
        kick: set when there may be something new to send.
        opened: whether the sink is open.
        stopping: whether nothing new begins any more.
    """

    def __init__(
        self,
        host: Host,
        turns: Turns,
        health: Health,
        attempt: Callable[[Parcel, int], Coroutine[Any, Any, None]],
        tell: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.kick = asyncio.Event()
        self.opened = False
        self.stopping = False
        self._host = host
        self._turns = turns
        self._health = health
        self._attempt = attempt
        self._tell = tell
        self._clock = clock
        self._errands: set[asyncio.Task[None]] = set()
        self._woken = False  # while the sink was busy: what it answers to that says nothing of now

    def stop(self) -> None:
        """Nothing new begins from now on."""
        self.stopping = True
        self.kick.set()

    async def idle(self, task: "asyncio.Task[None]") -> None:
        """Return when no attempt is under way, or when the task that they belong to has ended."""
        while self._errands and not task.done():
            await asyncio.wait((task, *self._errands), return_when=asyncio.FIRST_COMPLETED)

    @property
    def next_try(self) -> float | None:
        """When the sink gets something, by the monotonic clock; None: it has it, or there is nothing."""
        if self.stopping:
            return None
        return (
            self._turns.next_try(self._clock.monotonic()) if self.opened else self._health.breaker.hold_until
        )

    def wake(self, *, rooms: bool) -> None:
        """As `Courier.wake`."""
        breaker = self._health.breaker
        if rooms or not self.opened or breaker.open or self._is_held:
            if breaker.failures or self._turns.waiting:
                self._health.woken()
            self._woken = bool(self._errands) or not (self.opened or self._is_held)
            self._hasten()
            self._tell()

    @property
    def _is_held(self) -> bool:
        """Whether the sink as a whole waits for another attempt."""
        return self._clock.monotonic() < self._health.breaker.hold_until

    def _hasten(self) -> None:
        self._turns.hasten(self._clock.monotonic())
        self.kick.set()

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Send until cancelled; what fails here is a mistake of ours, and ends the group."""
        while True:
            self.kick.clear()
            if self._woken and not self._errands:
                self._woken = False
                if self._health.breaker.open or self._is_held:
                    self._hasten()
            if self.opened:
                self._send(group)
            elif not self._is_held:
                await self._open()
                continue
            due = self.next_try
            if self._health.breaker.failures:
                self._health.probed(due)
            await self._wait(due)

    async def _open(self) -> None:
        try:
            await self._host.open()
        except Exception as error:  # noqa: BLE001 - a sink may raise anything
            self._health.erred("sink.open_failed", describe(error), error)
            self._health.breaker.failed(self._clock.monotonic(), after=0.0)
            self._tell()  # whoever waits for it to deliver need not any more
        else:
            self.opened = True
            self._health.worked()

    def _send(self, group: asyncio.TaskGroup) -> None:
        while not self.stopping and (parcel := self._turns.next(self._clock.monotonic())) is not None:
            errand = group.create_task(self._attempt(parcel, self._health.breaker.asked), name="delivery")
            self._errands.add(errand)
            errand.add_done_callback(self._ended)

    def _ended(self, errand: "asyncio.Task[None]") -> None:
        self._errands.discard(errand)
        self.kick.set()

    async def _wait(self, due: float | None) -> None:
        if due is None:
            await self.kick.wait()
            return
        with suppress(DeadlineError):
            await within(self._clock, max(0.0, due - self._clock.monotonic()), self.kick.wait())
