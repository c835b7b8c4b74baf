"""A courier: brings the spool's entries to one sink, in room order, at least once, whatever the sink does."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.delivery import Delivery
from tdbwatch.daemon.couriers.dispatch import Dispatch
from tdbwatch.daemon.couriers.health import Health
from tdbwatch.daemon.couriers.lanes import Lanes
from tdbwatch.daemon.couriers.progress import Remembered, Saving, resumed
from tdbwatch.daemon.couriers.reading import Reading, Wanted
from tdbwatch.daemon.couriers.settings import Counts, CourierSettings, CourierStatus
from tdbwatch.daemon.couriers.turns import Turns
from tdbwatch.daemon.couriers.unended import Caution, Life
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.hosting.hosts import Host
from tdbwatch.daemon.spool.api import DeadLetter, Gone, Spool
from tdbwatch.plugin.event import Event

_DRAINING: Final = 0.8
"""The share of the grace in which the sink may get what the log has; the rest is for stopping."""
_DELIVERING: Final = 0.75
"""The share of what is left in which what is in flight may finish; the rest is for closing the sink."""
_SICK: Final = 1.0
"""Seconds that stopping a sink that fails may take: so long a call that is under way may come to an end."""


class Courier:
    """Reads the spool from where the sink's progress ends, and delivers through the sink's host.

    Args:
        wants: whether the routes send this event to this sink; see `Wanted`.
        rng: where the jitter comes from.
        life: the process's, which all its couriers share.
        on_dead: told of dead letters, just before they become some.
        counts: from where it counts on, if it takes another courier's place.
    """

    def __init__(
        self,
        settings: CourierSettings,
        host: Host,
        spool: Spool,
        wants: Callable[[Event], bool],
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
        life: Life | None = None,
        on_dead: Callable[[Sequence[DeadLetter]], None] = lambda _: None,
        counts: Counts | None = None,
    ) -> None:
        rng = rng or random.Random()
        name, progress = settings.name, spool.progress(settings.name)
        past = Remembered(settings, clock.monotonic(), int(clock.time() * 1e6))
        self._settings = settings
        self._host = host
        self._spool = spool
        self._clock = clock
        breaker = Breaker(settings.retry, settings.breaker_threshold, rng)
        self._health = health = Health(name, settings.plugin, breaker, clock)
        self._lanes = lanes = Lanes(settings, Turns(settings, breaker), progress.floor)
        lanes.resume(resumed(progress, spool.first_seq, interrupted=spool.interrupted))
        self._saving = saving = Saving(name, spool, lanes, clock, on_dead)
        life = life or Life(clock)
        caution = Caution(settings, spool, lanes, saving.save, life, clock) if spool.interrupted else None
        self._counts = counts or Counts()
        delivery = Delivery(settings, host, lanes, health, saving, caution, clock, self._counts)
        self._dispatch = Dispatch(host, lanes.turns, health, delivery, saving, clock)
        self._reading = Reading(spool, lanes, Wanted(name, wants), past, health, saving, clock)
        self._task: asyncio.Task[None] | None = None
        self._unwatch = spool.watch(self._gone)

    @property
    def name(self) -> str:
        return self._settings.name

    def start(self) -> "asyncio.Task[None]":
        """Begin; the task ends at `stop`, or with the exception of a mistake in the courier itself."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"courier-{self.name}")
            self._task.add_done_callback(lambda _: self._saving.tell())  # nobody waits for it any more
        return self._task

    async def finish(self, grace: float) -> None:
        """Let a sink that is well get what the log has now, then stop; all within about `grace` seconds."""
        until = self._clock.monotonic() + grace
        with suppress(DeadlineError):
            await within(self._clock, grace * _DRAINING, self.drained())
        left = until - self._clock.monotonic()
        await self.stop(left if self._is_well else min(left, _SICK))

    async def stop(self, grace: float) -> None:
        """End within about `grace` seconds: what is in flight may finish, nothing new begins."""
        until = self._clock.monotonic() + grace
        self._dispatch.stopping = True
        if (task := self._task) is not None:
            with suppress(DeadlineError):
                await within(self._clock, grace * _DELIVERING, self._idle(task))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._saving.save()
        self._unwatch()
        await self._host.close(max(0.0, until - self._clock.monotonic()))

    async def drained(self) -> None:
        """Read no further than the log goes now; return when the sink has what it takes at once of that.

        For a sink that fails, and for rooms that wait for another attempt, nobody waits.
        """
        self._reading.end = end = self._spool.last_seq
        while self._may_deliver(end):
            await self._saving.moved.wait()

    async def _idle(self, task: "asyncio.Task[None]") -> None:
        """Return when no attempt is under way, or when the task that they belong to has ended."""
        while self._lanes.turns.in_flight and not task.done():
            await self._saving.moved.wait()

    async def caught_up(self) -> None:
        """Return when everything in the spool is finished for this sink."""
        while self._lanes or self._lanes.position < self._spool.last_seq:
            await self._saving.moved.wait()

    def wake(self, *, rooms: bool = False) -> None:
        """People asked for the sink to be delivered to: it is tried at once, whatever it waits for.

        If it is being delivered to, a room that waits does so for its own reason, and waits on.

        Args:
            rooms: what single rooms wait for ends all the same.
        """
        self._dispatch.wake(rooms=rooms)

    @property
    def backlog(self) -> int:
        """Entries that the sink could get now: not what is behind entries of their room that wait."""
        return self._unread + self._lanes.available

    @property
    def position(self) -> int:
        """The last entry that was read."""
        return self._lanes.position

    @property
    def finished_through(self) -> int:
        """Up to here every entry is finished."""
        return min([self.position, *(queue.first_seq - 1 for queue in self._lanes)])

    def status(self) -> CourierStatus:
        """Counters since the start, and how it is now."""
        lanes = self._lanes
        return CourierStatus(
            sink=self.name,
            plugin=self._settings.plugin,
            state=self._state(),
            lag=lanes.unfinished + self._unread,
            in_flight=len(lanes.turns.in_flight),
            waiting=len(lanes.turns.waiting),
            oldest_us=lanes.oldest_us,
            next_try_us=self._dispatch.next_try_us,
            counting=not self._reading.counted,
            counts=self._counts.now,
            health=self._health.now,
        )

    def _state(self) -> str:
        health, breaker, lanes = self._health, self._health.breaker, self._lanes
        if self._dispatch.stopping:
            return "stopped"
        if health.stuck:
            return "stuck"
        if breaker.paused is not None:
            return "paused"
        if not self._dispatch.opened:
            return "retrying" if breaker.failures else "opening"
        failing = breaker.failures and lanes  # with nothing left, nothing is tried again
        if breaker.open or lanes.turns.waiting or failing:
            return "retrying"
        return "refusing" if health.facts.refused_in_row >= self._settings.breaker_threshold else "running"

    @property
    def _unread(self) -> int:
        return max(0, self._spool.last_seq - max(self._lanes.position, self._spool.first_seq - 1))

    @property
    def _is_well(self) -> bool:
        """Whether the sink takes what it is given, as far as one can know."""
        ended = self._task is not None and self._task.done()
        return not (ended or self._health.stuck or self._health.breaker.failures)

    def _may_deliver(self, end: int) -> bool:
        """Whether the sink gets more of the log up to this entry without another attempt at anything."""
        lanes, turns = self._lanes, self._lanes.turns
        unread = lanes.position < end and not lanes.memory.full
        return self._is_well and bool(turns.in_flight or turns.ready or lanes.to_read or unread)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._saving.run(), name=f"courier-{self.name}-progress")
            group.create_task(self._reading.run(), name=f"courier-{self.name}-reading")
            await self._dispatch.run(group)

    def _gone(self, blocks: Sequence[Gone]) -> None:
        self._lanes.gone(blocks)
        self._saving.tell()
