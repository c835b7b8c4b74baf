"""Decides what goes to a sink and when, and sees it off."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.faults import FaultLog
from tdbwatch.daemon.couriers.parcel import Parcel
from tdbwatch.daemon.couriers.turns import Turns
from tdbwatch.daemon.deadline import DeadlineError, within


class Dispatch:
    """Sends what may go, waits until more may.

    Args:
        attempt: offers a parcel to the sink; it is told the breaker's `asked` of when it was decided.

    Attributes:
        kick: set when there may be something new to send.
        errands: attempts under way.
        stopping: whether nothing new begins any more.
    """

    def __init__(
        self,
        turns: Turns,
        breaker: Breaker,
        faults: FaultLog,
        attempt: Callable[[Parcel, int], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self.kick = asyncio.Event()
        self.errands: set[asyncio.Task[None]] = set()
        self._turns = turns
        self._breaker = breaker
        self._faults = faults
        self._attempt = attempt
        self._clock = clock
        self.stopping = False
        self._asked = False  # while the sink had something: what it answers to that says nothing of now

    def stop(self) -> None:
        """Nothing new begins from now on."""
        self.stopping = True
        self.kick.set()

    async def idle(self, task: "asyncio.Task[None]") -> None:
        """Return when no attempt is under way, or when the task that they belong to has ended."""
        while self.errands and not task.done():
            await asyncio.wait((task, *self.errands), return_when=asyncio.FIRST_COMPLETED)

    def wake(self) -> None:
        """People want the sink to be tried at once: what it waits for as a whole ends."""
        breaker = self._breaker
        if breaker.failures or breaker.holds(self._clock.monotonic()) or self._turns.waiting:
            self._faults.woken()
        self._asked = bool(self._turns.in_flight)
        self._hasten()

    def _hasten(self) -> None:
        now = self._clock.monotonic()
        self._breaker.wake(now)
        self._turns.waiting.hasten(now)
        self.kick.set()

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Send until cancelled; what fails here is a mistake of ours, and ends the group."""
        while True:
            self.kick.clear()
            while (parcel := self._next()) is not None:
                errand = group.create_task(self._carry(parcel, self._breaker.asked), name="delivery")
                self.errands.add(errand)
                errand.add_done_callback(self.errands.discard)
            await self._wait(self._due())

    async def _carry(self, parcel: Parcel, asked: int) -> None:
        try:
            await self._attempt(parcel, asked)
            if self._asked and not self._turns.in_flight:
                self._asked = False
                if self._breaker.open or self._breaker.holds(self._clock.monotonic()):
                    self._hasten()
        finally:
            self.kick.set()

    def _next(self) -> Parcel | None:
        if self.stopping:
            return None
        now, breaker, turns = self._clock.monotonic(), self._breaker, self._turns
        if breaker.open and turns.in_flight:
            return None
        if breaker.holds(now):
            return None if now < breaker.untried_hold_until else turns.next(now, untried=True)
        return turns.next(now, probe=breaker.open)

    def next_try(self) -> float | None:
        """When the sink gets something, by the monotonic clock; None: it has it, or there is nothing."""
        return None if self.stopping else self._turns.next_try(self._clock.monotonic(), self._breaker)

    def _due(self) -> float | None:
        """When to look again, if nothing happens before."""
        now, breaker, turns = self._clock.monotonic(), self._breaker, self._turns
        if self.stopping or (breaker.open and turns.in_flight):
            return None
        if not breaker.holds(now):
            return turns.next_due(now)
        untried = breaker.untried_hold_until
        due = untried if now < untried else turns.next_due(now, untried=True)
        return breaker.hold_until if due is None else min(due, breaker.hold_until)

    async def _wait(self, due: float | None) -> None:
        if due is None:
            await self.kick.wait()
            return
        with suppress(DeadlineError):
            await within(self._clock, max(0.0, due - self._clock.monotonic()), self.kick.wait())
