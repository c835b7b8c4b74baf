"""A courier: brings the spool's entries to one sink, in room order, at least once, whatever the sink does."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.delivery import Delivery
from tdbwatch.daemon.couriers.dispatch import Dispatch
from tdbwatch.daemon.couriers.faults import FaultLog
from tdbwatch.daemon.couriers.lanes import Lanes
from tdbwatch.daemon.couriers.opening import Opening
from tdbwatch.daemon.couriers.outlook import Outlook
from tdbwatch.daemon.couriers.reading import Reading
from tdbwatch.daemon.couriers.remembered import Remembered, resumed
from tdbwatch.daemon.couriers.saving import Saving
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.couriers.status import CourierStatus
from tdbwatch.daemon.couriers.wanted import Wanted
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.hosts import Host
from tdbwatch.daemon.spool.api import Gone, Spool
from tdbwatch.plugin.event import Event

_DELIVERING: Final = 0.75
"""The share of the grace in which what is in flight may finish; the rest is for closing the sink."""


class Courier:
    """Reads the spool from where the sink's progress ends, and delivers through the sink's host.

    Args:
        wants: whether the routes send this event to this sink; see `Wanted`.
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
        rng = rng if rng is not None else random.Random()
        log = log if log is not None else structlog.get_logger("tdbwatch.courier")
        self.name = name = settings.name
        self._host = host
        self._spool = spool
        self._clock = clock
        progress = spool.progress(name)
        breaker = Breaker(settings.retry, settings.breaker_threshold)
        faults = FaultLog(log, name, settings.plugin, clock)
        self._lanes = lanes = Lanes(settings, progress.floor)
        lanes.resume(resumed(progress, settings.batch.count))
        self._saving = saving = Saving(name, spool, lanes, progress, clock)
        delivery = Delivery(settings, host, spool, lanes, breaker, faults, saving, clock, rng)
        self._opening = Opening(host, breaker, faults, delivery.counters, saving, clock, rng)
        self._dispatch = Dispatch(name, lanes, breaker, faults, delivery.attempt, clock)
        past = Remembered(progress, settings.retry, clock.monotonic(), int(clock.time() * 1e6))
        self._reading = Reading(
            spool, lanes, breaker, Wanted(name, wants), past, faults, clock, saving.moved, self._filled
        )
        self._outlook = Outlook(
            settings, spool, lanes, breaker, delivery.counters, self._opening, self._dispatch, clock
        )
        self._task: asyncio.Task[None] | None = None
        spool.watch(self._gone)

    def start(self) -> "asyncio.Task[None]":
        """Begin; the task ends at `stop`, or with the exception of a mistake in the courier itself."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"courier-{self.name}")
        return self._task

    async def stop(self, grace: float) -> None:
        """End within about `grace` seconds: what is in flight may finish, nothing new begins."""
        until = self._clock.monotonic() + grace
        self._dispatch.stop()
        if self._task is not None:
            await self._wind_up(self._task, grace * _DELIVERING)
        self._saving.save()
        await self._host.close(max(0.0, until - self._clock.monotonic()))

    async def drained(self, seconds: float) -> None:
        """Return when everything is finished, or when nothing more can be within so many seconds."""
        until = self._clock.monotonic() + seconds
        while not self._outlook.caught_up and self._outlook.may_deliver(until):
            await self._saving.moved.wait()

    async def caught_up(self) -> None:
        """Return when everything in the spool is finished for this sink."""
        while not self._outlook.caught_up:
            await self._saving.moved.wait()

    def wake(self) -> None:
        """People asked for the sink to be delivered to: it is tried at once, whatever it waits for.

        If it is being delivered to, nothing changes: a room that waits does so for its own reason.
        """
        if self._outlook.waits:
            self._opening.woken.set()
            self._dispatch.wake()
            self._saving.tell()

    @property
    def backlog(self) -> int:
        """Entries that the sink could get now: not what is behind entries of their room that wait."""
        return self._outlook.backlog

    @property
    def position(self) -> int:
        """The last entry that was read."""
        return self._lanes.position

    def status(self) -> CourierStatus:
        """Counters since the start, and how it is now."""
        return self._outlook.status()

    async def _wind_up(self, task: "asyncio.Task[None]", grace: float) -> None:
        with suppress(DeadlineError):
            await within(self._clock, grace, self._dispatch.idle(task))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._saving.run(), name=f"courier-{self.name}-progress")
            group.create_task(self._reading.run(), name=f"courier-{self.name}-reading")
            await self._opening.run()
            await self._dispatch.run(group)

    def _filled(self) -> None:
        self._dispatch.kick.set()
        self._saving.tell()

    def _gone(self, blocks: Sequence[Gone]) -> None:
        self._lanes.gone(blocks)
        self._saving.tell()
