"""A courier: brings the spool's entries to one sink, in room order, at least once, whatever the sink does."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.delivery import Delivery
from tdbwatch.daemon.couriers.faults import FaultLog, describe
from tdbwatch.daemon.couriers.ledger import Ledger, Parcel
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.hosts import Host
from tdbwatch.daemon.spool.api import Entry, Spool, SpoolError
from tdbwatch.plugin.event import Event

_READ_BYTES: Final = 4 << 20
_READ_RETRY: Final = 1.0


@dataclass(frozen=True, slots=True)
class CourierStatus:
    """How a courier is doing.

    Attributes:
        state: `opening`, `running`, `retrying`, `stuck`, `paused` or `stopped`.
        lag: entries in the log that are not finished for this sink.
        oldest_us: when the oldest unfinished event was received, in microseconds since the epoch; None: none.
        probing: the sink fails as a whole, so it is only tried now and then.
    """

    sink: str
    plugin: str
    state: str
    delivered: int
    retried: int
    rejected: int
    dead: int
    lag: int
    in_flight: int
    waiting: int
    failures: int
    last_error: str | None
    oldest_us: int | None
    probing: bool = False


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
        self._wants = wants
        self._clock = clock
        self._rng = rng if rng is not None else random.Random()
        self._breaker = Breaker(settings.retry, settings.breaker_threshold)
        logger = log if log is not None else structlog.get_logger("tdbwatch.courier")
        self._faults = FaultLog(logger, settings.name, settings.plugin, clock)
        spool.filter(settings.name, wants)
        self._ledger = Ledger(
            spool.cursor(settings.name),
            settings.batch,
            max_in_flight=settings.max_in_flight,
            max_ahead=max(settings.max_ahead, settings.batch.count * settings.max_in_flight),
        )
        self._delivery = Delivery(
            settings, host, spool, self._ledger, self._breaker, self._faults, clock, self._rng
        )
        self._opened = False
        self._stopping = False
        self._paused: str | None = None
        self._kick = asyncio.Event()
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
            await self._wind_up(self._task, grace)
        await self._host.close(max(0.0, until - self._clock.monotonic()))

    def pause(self, reason: str) -> None:
        """Deliver nothing until `resume`; the cursor stays."""
        self._paused = reason

    def resume(self) -> None:
        self._paused = None
        self._breaker.worked()
        self._kick.set()

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
            lag=max(0, self._spool.last_seq - max(ledger.cursor, self._spool.first_seq - 1)),
            in_flight=ledger.in_flight,
            waiting=ledger.waiting,
            failures=self._breaker.failures,
            last_error=self._paused or delivery.last_error,
            oldest_us=oldest.event.received_us if oldest is not None else None,
            probing=self._breaker.open,
        )

    def _state(self) -> str:
        if self._stopping:
            return "stopped"
        if self._paused is not None:
            return "paused"
        if self._delivery.stuck:
            return "stuck"
        if not self._opened:
            return "retrying" if self._breaker.failures else "opening"
        return "retrying" if self._breaker.failures or self._ledger.waiting else "running"

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
            group.create_task(self._read(), name=f"courier-{self.name}-reader")
            await self._open()
            await self._dispatch(group)

    async def _open(self) -> None:
        """Open the sink, as often as it takes."""
        while not self._opened:
            try:
                await self._host.open()
                self._opened = True
            except Exception as error:  # noqa: BLE001 - a sink may raise anything
                self._delivery.last_error = describe(error)
                self._faults.failed("sink.open_failed", describe(error), error)
                self._breaker.failed(self._clock.monotonic(), self._rng)
                await self._clock.sleep(self._settings.retry.wait(self._breaker.failures, self._rng))
        self._breaker.worked()
        self._faults.worked()

    async def _read(self) -> None:
        """Keep the ledger filled."""
        ledger, spool = self._ledger, self._spool
        finished = self._remember()
        while True:
            await spool.wait_after(ledger.position)
            while ledger.room_left <= 0:
                await self._delivery.progress.wait()
            try:
                entries = await spool.read(ledger.position, ledger.room_left, _READ_BYTES)
            except SpoolError as error:
                self._faults.failed("spool.read_failed", describe(error))
                await self._clock.sleep(_READ_RETRY)
                continue
            if entries:
                wanted = self._for_us(entries)
                if finished:  # before the restart, beyond the cursor
                    wanted = [entry for entry in wanted if entry.seq not in finished]
                    finished = finished if entries[-1].seq < max(finished) else frozenset()
                ledger.add(wanted, entries[-1].seq, self._clock.monotonic())
                if wanted:
                    self._kick.set()
                self._delivery.moved()
            await asyncio.sleep(0)  # from memory, nothing above had to wait

    def _remember(self) -> frozenset[int]:
        """Go on where the last run stopped; the entries beyond the cursor that are finished."""
        history = self._spool.history(self.name)
        self._ledger.remember(history.failed, self._clock.monotonic(), int(self._clock.time() * 1e6))
        return history.finished

    def _for_us(self, entries: Sequence[Entry]) -> list[Entry]:
        name, wants = self.name, self._wants
        return [e for e in entries if (wants(e.event) if e.target is None else e.target == name)]

    async def _dispatch(self, group: asyncio.TaskGroup) -> None:
        """Send what may go, wait until more may."""
        while True:
            self._kick.clear()
            while (parcel := self._next()) is not None:
                errand = group.create_task(self._carry(parcel), name=f"courier-{self.name}-delivery")
                self._errands.add(errand)
                errand.add_done_callback(self._errands.discard)
            await self._wait(self._due())

    def _next(self) -> Parcel | None:
        if self._stopping or self._paused is not None:
            return None
        now, breaker = self._clock.monotonic(), self._breaker
        if now < breaker.hold_until or (breaker.open and self._ledger.in_flight):
            return None
        return self._ledger.next(now, probe=breaker.open)

    def _due(self) -> float | None:
        """When to look again, if nothing happens before."""
        now, hold_until = self._clock.monotonic(), self._breaker.hold_until
        if self._stopping or self._paused is not None:
            return None
        if now < hold_until:
            return hold_until
        return self._ledger.next_due(now)

    async def _wait(self, due: float | None) -> None:
        if due is None:
            await self._kick.wait()
            return
        try:
            await within(self._clock, max(0.0, due - self._clock.monotonic()), self._kick.wait())
        except DeadlineError:
            return

    async def _carry(self, parcel: Parcel) -> None:
        try:
            await self._delivery.attempt(parcel)
        finally:
            self._kick.set()
