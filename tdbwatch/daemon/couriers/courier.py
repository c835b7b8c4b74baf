"""A courier: brings the spool's entries to one sink, in room order, at least once, whatever the sink does."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.delivery import Delivery
from tdbwatch.daemon.couriers.faults import FaultLog, describe
from tdbwatch.daemon.couriers.intake import Intake
from tdbwatch.daemon.couriers.ledger import Ledger
from tdbwatch.daemon.couriers.parcel import Parcel
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.couriers.status import CourierStatus
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.hosts import Host, SinkHangsError, SinkStuckError
from tdbwatch.daemon.spool.api import Spool
from tdbwatch.plugin.event import Event

_DELIVERING: Final = 0.75
"""The share of the grace in which what is in flight may finish; the rest is for closing the sink."""


class Courier:
    """Reads the spool from the sink's own cursor and delivers through the sink's host.

    Args:
        wants: whether the routes send this event to this sink.
        rng: where the jitter comes from.
    """

    def __init__(
        self,
        settings: CourierSettings,
        host: Host,
        spool: Spool,
        wants: Callable[[Event], bool],
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
        log: Any = None,
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self._host = host
        self._spool = spool
        self._clock = clock
        self._kick = asyncio.Event()
        self._woken = asyncio.Event()
        self._rng = rng if rng is not None else random.Random()
        self._breaker = Breaker(settings.retry, settings.breaker_threshold)
        logger = log if log is not None else structlog.get_logger("tdbwatch.courier")
        self._faults = FaultLog(logger, settings.name, settings.plugin, clock)
        self._ledger = Ledger(
            spool.cursor(settings.name),
            settings.batch,
            max_in_flight=settings.max_in_flight,
            max_ahead=settings.max_ahead,
        )
        spool.reads(settings.name, wants, self._backlog, self._wake, self._ledger.pending)
        self._delivery = Delivery(
            settings, host, spool, self._ledger, self._breaker, self._faults, clock, self._rng
        )
        self._intake = Intake(
            settings.name,
            spool,
            self._ledger,
            self._breaker,
            wants,
            self._faults,
            clock,
            self._delivery.progress,
            self._kick.set,
            self._delivery.moved,
        )
        self._opened = False
        self._ordered = False
        """People asked while the sink had something: what it answers to that says nothing of now."""
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._errands: set[asyncio.Task[None]] = set()

    def start(self) -> "asyncio.Task[None]":
        """Begin; the task ends at `stop`, or with the exception of a mistake in the courier itself."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"courier-{self.name}")
        return self._task

    async def stop(self, grace: float) -> None:
        """End within about `grace` seconds: what is in flight may finish, nothing new begins."""
        until = self._clock.monotonic() + grace
        self._stopping = True
        self._kick.set()
        if self._task is not None:
            await self._wind_up(self._task, grace * _DELIVERING)
        await self._host.close(max(0.0, until - self._clock.monotonic()))

    async def drained(self, seconds: float) -> None:
        """Return when everything is finished, or when nothing more can be within so many seconds."""
        until = self._clock.monotonic() + seconds
        while self._ledger.cursor < self._spool.last_seq and self._may_deliver(until):
            await self._delivery.progress.wait()

    async def caught_up(self) -> None:
        """Return when everything in the spool is finished for this sink."""
        while self._ledger.cursor < self._spool.last_seq:
            await self._delivery.progress.wait()

    def status(self) -> CourierStatus:
        """Counters since the start, and how it is now."""
        ledger, delivery, oldest = self._ledger, self._delivery, self._ledger.oldest
        return CourierStatus(
            sink=self.name,
            plugin=self._settings.plugin,
            state=self._state(),
            delivered=delivery.delivered,
            retried=delivery.retried,
            rejected=delivery.rejected,
            dead=delivery.dead,
            lag=ledger.behind_from(self._spool.first_seq) + self._unread(self._spool.last_seq),
            in_flight=ledger.in_flight,
            waiting=ledger.waiting,
            failures=self._breaker.failures,
            last_error=delivery.last_error,
            oldest_us=oldest.event.received_us if oldest is not None else None,
            refused_in_row=delivery.refused_in_row,
            probing=self._breaker.open,
            held_until_us=self._held_until_us(),
        )

    def _state(self) -> str:
        if self._stopping:
            return "stopped"
        if self._delivery.stuck:
            return "stuck"
        if self._breaker.paused is not None:
            return "paused"
        if not self._opened:
            return "retrying" if self._breaker.failures else "opening"
        failing = self._breaker.failures and self._ledger.behind  # with nothing left, nothing is tried again
        if self._breaker.open or self._ledger.waiting or failing:
            return "retrying"
        refuses = self._delivery.refused_in_row >= self._settings.breaker_threshold
        return "refusing" if refuses else "running"

    def _may_deliver(self, until: float) -> bool:
        """Whether the sink may get anything before then, as far as one can know."""
        ledger, breaker = self._ledger, self._breaker
        if self._delivery.stuck or breaker.hold_until > until or (breaker.failures and not self._opened):
            return False
        if ledger.in_flight or self._kick.is_set() or ledger.read_again_from is not None:
            return True
        now = self._clock.monotonic()
        if breaker.holds(now) and ledger.has_queued:  # until then
            return True
        due = ledger.next_due(now)
        unread = self._unread(self._spool.last_seq) > 0 and ledger.room_left > 0
        return unread or (due is not None and due <= until)

    def _unread(self, last_seq: int) -> int:
        return max(0, last_seq - max(self._ledger.position, self._spool.first_seq - 1))

    def _backlog(self, last_seq: int) -> int:
        """What the sink could get now: not what is behind a room that waits, however much that is."""
        return self._unread(last_seq) + self._ledger.unfinished

    def _held_until_us(self) -> int | None:
        seconds = self._breaker.hold_until - self._clock.monotonic()
        return int((self._clock.time() + seconds) * 1e6) if seconds > 0 else None

    async def _wind_up(self, task: "asyncio.Task[None]", grace: float) -> None:
        with suppress(DeadlineError):
            await within(self._clock, grace, self._idle(task))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _idle(self, task: "asyncio.Task[None]") -> None:
        while self._errands and not task.done():
            await asyncio.wait((task, *self._errands), return_when=asyncio.FIRST_COMPLETED)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._intake.remember(self._settings.retry)
            group.create_task(self._intake.read(), name=f"courier-{self.name}-reader")
            group.create_task(self._intake.read_again(), name=f"courier-{self.name}-rereader")
            await self._open()
            await self._dispatch(group)

    async def _open(self) -> None:
        """Open the sink, as often as it takes."""
        while not self._opened:
            self._woken.clear()
            try:
                await self._host.open()
                self._opened, self._delivery.stuck = True, False
            except Exception as error:  # noqa: BLE001 - a sink may raise anything
                self._not_opened(error)
                wait = self._settings.retry.wait(self._breaker.failures, self._rng)
                await self._rest(wait, self._woken)
        self._breaker.worked(self._clock.monotonic())
        self._faults.worked()
        self._delivery.last_error = None

    def _not_opened(self, error: Exception) -> None:
        self._delivery.stuck = isinstance(error, SinkStuckError | SinkHangsError)
        self._delivery.last_error = describe(error)
        if self._delivery.stuck:
            self._faults.stuck(str(error))
        else:
            self._faults.failed("sink.open_failed", describe(error), error)
        self._breaker.failed(self._clock.monotonic(), self._rng)
        self._delivery.moved()  # whoever waits for it to deliver need not any more

    async def _dispatch(self, group: asyncio.TaskGroup) -> None:
        """Send what may go, wait until more may."""
        while True:
            self._kick.clear()
            while (parcel := self._next()) is not None:
                errand = group.create_task(
                    self._carry(parcel, self._breaker.asked), name=f"courier-{self.name}-delivery"
                )
                self._errands.add(errand)
                errand.add_done_callback(self._errands.discard)
            await self._wait(self._due())

    def _next(self) -> Parcel | None:
        if self._stopping:
            return None
        now, breaker = self._clock.monotonic(), self._breaker
        if breaker.open and self._ledger.in_flight:
            return None
        if breaker.holds(now):
            return None if now < breaker.untried_hold_until else self._ledger.next_untried(now)
        return self._ledger.next(now, probe=breaker.open)

    def _due(self) -> float | None:
        """When to look again, if nothing happens before."""
        now, breaker, ledger = self._clock.monotonic(), self._breaker, self._ledger
        if self._stopping or (breaker.open and ledger.in_flight):
            return None
        if not breaker.holds(now):
            return ledger.next_due(now)
        untried = breaker.untried_hold_until
        due = untried if now < untried else ledger.next_due(now, untried=True)
        return breaker.hold_until if due is None else min(due, breaker.hold_until)

    async def _wait(self, due: float | None) -> None:
        if due is None:
            await self._kick.wait()
            return
        await self._rest(max(0.0, due - self._clock.monotonic()), self._kick)

    async def _rest(self, seconds: float, until: asyncio.Event) -> None:
        """Wait for so many seconds, or until the event is set."""
        with suppress(DeadlineError):
            await within(self._clock, seconds, until.wait())

    def _wake(self, *, told: bool = False) -> None:
        """People asked for the sink to be delivered to: what it waits for ends, and it is tried as usual.

        Args:
            told: the log says so already.
        """
        now, breaker = self._clock.monotonic(), self._breaker
        if self._opened and not (breaker.open or breaker.holds(now)):
            return  # it is being delivered to; a room that waits does so for its own reason
        if not told and (breaker.failures or breaker.holds(now)):
            self._faults.woken()
        breaker.wake(now)
        self._ordered = self._ledger.in_flight > 0
        self._ledger.hasten(now)
        self._woken.set()
        self._kick.set()

    async def _carry(self, parcel: Parcel, asked: int) -> None:
        try:
            await self._delivery.attempt(parcel, asked)
            if self._ordered and not self._ledger.in_flight:
                self._wake(told=True)
        finally:
            self._kick.set()
