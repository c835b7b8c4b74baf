"""The daemon: starts its parts in order, watches them, stops them in reverse order."""

import asyncio
import random
import sqlite3
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from tdbwatch import __version__
from tdbwatch.client import Client
from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.assembly import make_canary, make_client, make_couriers, make_router
from tdbwatch.daemon.causes import Cause
from tdbwatch.daemon.config import Config
from tdbwatch.daemon.config.models import HttpConfig
from tdbwatch.daemon.contexts import Contexts
from tdbwatch.daemon.couriers import Courier, CourierStatus
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.echoes import Echoes
from tdbwatch.daemon.holding import Holding
from tdbwatch.daemon.login import Login
from tdbwatch.daemon.node_watch import NodeWatcher
from tdbwatch.daemon.plugins import Registry
from tdbwatch.daemon.pulse import Pulse
from tdbwatch.daemon.reacting import Reacting
from tdbwatch.daemon.redelivery import Receiver, Redelivery
from tdbwatch.daemon.rotation import Rotation
from tdbwatch.daemon.routes import Unrouted
from tdbwatch.daemon.sink_watch import INTERVAL as SINKS_INTERVAL
from tdbwatch.daemon.sink_watch import SinkWatch
from tdbwatch.daemon.source import GapTimes, Source
from tdbwatch.daemon.spool.api import SpoolError
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.looking.gone import left_in
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane
from tdbwatch.daemon.spool.stored.drops import DropReport
from tdbwatch.daemon.status import START_PATIENCE, Journal, Readiness, Snapshot, remedies
from tdbwatch.daemon.status.figures import NO_FIGURES, Surveyor
from tdbwatch.daemon.stores import Stores
from tdbwatch.daemon.systemd import Notifier
from tdbwatch.daemon.views import Life, Views
from tdbwatch.daemon.watched import WatchedRoom
from tdbwatch.plugin import Kind

if TYPE_CHECKING:
    from tdbwatch.daemon.status.server import StatusServer

BEAT_INTERVAL: Final = 2.0
"""Seconds between signs of life, at most: by so much a gap may seem longer than it was."""
LEAVE_TIMEOUT: Final = 2.0
"""Seconds to leave all rooms at the end, and for closing; a node that does not answer is left without."""
LEAST_CLOSE: Final = 0.25
"""Seconds that closing the connections may always take."""
SINKS_SHARE: Final = 0.8
"""The share of the grace that sinks have; the rest is for leaving the rooms and for the last commit."""


class Daemon:
    """From rooms to sinks. `start`, wait for `stop_requested` or what you like, `stop`.

    What is heard goes into the spool and nowhere else; couriers bring it from there to the sinks. So the
    order of stopping is: let the couriers finish what they can, hear no more, make the last of it durable.
    What is heard while sinks finish stays in the spool: nobody is deaf for a sink's sake.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        self.config = config
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with an exception when a part of the daemon died of a mistake of ours."""
        self.registry = registry
        self.phase = "starting"
        """`starting`, `running` or `stopping`."""
        self.clock = clock
        self._rng = rng or random.Random()
        self._notifier = notifier or Notifier({})
        self._log = structlog.get_logger("tdbwatch")
        self._tasks: set[asyncio.Future[Any]] = set()
        self.each_courier: list[Courier] = []
        self._spool_is_open = False
        self._redelivering: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._knows_downtime = False
        self._beat_soon = asyncio.Event()
        self.spool = SqliteSpool(
            config.spool.path,
            Limits(config.spool.max_size, config.spool.max_age, config.spool.when_full),
            sinks=[sink.name for sink in config.sinks],
            listener=_SpoolListener(self),
            clock=clock,
        )
        self.journal = Journal(clock)
        self.router = make_router(config)
        self.unrouted = Unrouted(self.router)
        echoes = Echoes(clock)
        self.source = Source(self._heard, clock, self._recorded, echoes)
        self._sinks = SinkWatch(self.source, self.router)
        self.holding = Holding(self.router, self._tell_of_held)
        self.rooms = [WatchedRoom(room, self.source, clock) for room in config.rooms]
        self._nodes = NodeWatcher(self.source, self.journal, self.rooms, clock)
        self.client: Client = make_client(config.thingsdb, self._nodes, clock, self._rng)
        self.stores = Stores(self.spool)
        self.contexts = Contexts(clock, registry.metrics, Reacting(self.client, echoes), self.stores)
        self._login = Login(config.thingsdb.auth, config.login_file)
        self.canary = make_canary(config.thingsdb, self.client, clock)
        self._views = Views(
            config,
            registry,
            clock,
            self.journal,
            self.client,
            self.rooms,
            self.canary,
            self.spool,
            self.router,
            self.unrouted,
            self.couriers,
            self._life,
        )
        self.status = None if config.http is None else self.status_server(config.http, clock)
        self._readiness = Readiness(self.glance, self._notifier, clock)
        self._pulse = Pulse(self.spool, lambda: self.each_courier, self._notifier.watchdog_interval)

    @property
    def received(self) -> int:
        """Events heard since the start."""
        return self.source.received

    def glance(self) -> Snapshot:
        """How it is now, from memory alone."""
        return self._views.snapshot(NO_FIGURES) if self.status is None else self.status.glance()

    def status_server(self, http: HttpConfig, clock: Clock) -> "StatusServer":
        """One that shows this daemon."""
        from tdbwatch.daemon.status.server import StatusServer  # aiohttp takes its time to import

        surveyor = Surveyor(self.spool.path, [sink.name for sink in self.config.sinks], clock)
        return StatusServer(self._views, surveyor, http, clock)

    def couriers(self) -> list[CourierStatus]:
        """How each sink is doing."""
        return [courier.status() for courier in self.each_courier]

    async def start(self) -> None:
        """Open the spool, start the couriers, connect, join the rooms.

        Returns when there is a connection and every room was tried once.

        Raises:
            SpoolError: the spool cannot be used.
            AuthError: every node was reached, and refuses the login.
        """
        for doubt in self.config.warnings:
            said = {"place": doubt.place, "key": doubt.path, "remedy": doubt.hint}
            self._log.warning("config.doubtful", reason=doubt.message, **said)
        await self.spool.open()
        self._spool_is_open = True
        self._watch(self.spool.failed)
        await self._load_marks()
        await self.stores.load([sink.name for sink in self.config.sinks])
        parts = (self.config, self.router, self.registry, self.spool, self.clock, self._rng)
        self.each_courier = make_couriers(*parts, self._sinks.buried, self.contexts)
        for courier in self.each_courier:
            self._watch(courier.start())
        self._redelivering = self._spawn(self._redelivery().run(), "tdbwatch-redelivery")
        if self.status is not None:
            self._spawn(self.status.run(), "tdbwatch-status")
            self._spawn(self.status.remember(), "tdbwatch-status-history")
        self._spawn(self._tell_of_gone_sinks(), "tdbwatch-gone-sinks")
        self._tell_of_downtime()
        self._spawn(self._readiness.run(), "tdbwatch-readiness")
        self._spawn(self._watch_sinks(), "tdbwatch-sinks")
        self._spawn(self._keep_alive(), "tdbwatch-alive")
        if self.config.rotating is not None:
            self._spawn(Rotation(self.config.rotating, self.clock).run(), "tdbwatch-secrets")
        self._spawn(self._tell_of_no_node(), "tdbwatch-no-node")
        self._beating = self._spawn(self._keep_beating(), "tdbwatch-beat")
        self._spawn(self.registry.notify_started(__version__), "tdbwatch-notify-plugins")
        for room in self.rooms:
            await self.client.subscribe(room.subscription)  # each link that comes joins it
        if self.canary is not None:
            await self.client.subscribe(self.canary.subscription)
            self._spawn(self.canary.run(), "tdbwatch-canary")
        settings = self.config.thingsdb
        self._log.info("daemon.connecting", nodes=[str(node) for node in settings.nodes])
        await self.client.connect_pool(settings.nodes, self._login)
        self.phase = "running"
        self._log.info("daemon.started", version=__version__)
        self._readiness.look()

    async def _load_marks(self) -> None:
        """Routes that hold events back begin anew where the spool cannot say what they remembered."""
        try:
            self.holding.load(await self.spool.marks())
        except SpoolError as error:  # a damaged file is replaced while tdbwatch runs
            self._log.warning("routes.forgot", error=str(error))

    async def stop(self) -> None:
        """Let sinks finish, leave the rooms, make all that was heard durable, close everything."""
        grace = self.config.shutdown.grace
        until = self.clock.monotonic() + grace
        self.phase = "stopping"
        self._notifier.stopping()
        self._log.info("daemon.stopping", grace=grace)
        await self._within(grace / 4, self.registry.notify_stopping(), "plugins do not finish")
        if self._spool_is_open:
            await self._stop_delivering(until - grace * (1 - SINKS_SHARE))
        await self._stop_hearing(until)
        if self._spool_is_open:
            await self._within(
                self._left(until), self.spool.close(), "the spool could not be closed in order"
            )
        if self.status is not None:
            await self.status.stop()
        for task in list(self._tasks):
            task.cancel()
        self._log.info(
            "daemon.stopped", received=self.received, **{c.sink: c.delivered for c in self.couriers()}
        )

    def _left(self, until: float) -> float:
        return max(0.1, until - self.clock.monotonic())

    async def _stop_delivering(self, until: float) -> None:
        """Sinks get what was heard up to now; what is heard from now on stays in the spool."""
        if self._redelivering is not None:
            self._redelivering.cancel()
        self.source.flush()
        flushing = self._left(until) / 2
        await self._within(flushing, self.spool.flush(), "the disk does not take what was heard")
        left = self._left(until)
        await asyncio.gather(*(courier.finish(left) for courier in self.each_courier))
        for status in self.couriers():
            if status.lag:
                self._log.warning(
                    "sink.undelivered", sink=status.sink, events=status.lag, last_error=status.last_error
                )

    async def _stop_hearing(self, until: float) -> None:
        self._nodes.closing = True
        if self._beating is not None:
            self._beating.cancel()
        # The last sign of life: from here on nobody can be sure to listen.
        left = self._left(until)
        self._beat()
        await self._within(min(LEAVE_TIMEOUT, left / 4), self._leave_rooms(), "rooms could not be left")
        closing = max(LEAST_CLOSE, min(LEAVE_TIMEOUT, self._left(until) / 2))
        await self._within(closing, self.client.close_and_wait(), "nodes do not let go")
        self.source.flush()

    async def drained(self) -> None:
        """Return when every sink has everything that was heard."""
        self.source.flush()
        await self.spool.flush()
        await asyncio.gather(*(courier.caught_up() for courier in self.each_courier))

    def _life(self) -> Life:
        failed = self.failed.done() and not self.failed.cancelled()
        return Life(self.phase, type(self.failed.exception()).__name__ if failed else "", self._pulse.stalled)

    def _heard(self, heard: Sequence[Heard]) -> None:
        self.unrouted.count(heard)
        self.spool.append(self.holding.heard(heard))

    def _tell_of_held(self, kind: Kind, event: str, lane: Lane, details: Mapping[str, Any]) -> None:
        self.source.record(kind, event, lane, None, details)
        self.source.flush()  # what is remembered changes with this record, and no other

    # -- inside ------------------------------------------------------------------------------------------

    def _redelivery(self) -> Redelivery:
        sinks = {c.name: Receiver(c, self.router.matcher(c.name)) for c in self.each_courier}
        return Redelivery(self.spool, sinks, self.clock)

    async def _leave_rooms(self) -> None:
        await asyncio.gather(*(self.client.unsubscribe(room.subscription) for room in self.rooms))

    async def _within(self, seconds: float, work: Coroutine[Any, Any, Any], complaint: str) -> None:
        """Do what should be done at the end, but let nothing keep the daemon from ending."""
        try:
            async with asyncio.timeout(seconds):
                await work
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest must still be stopped
            self._log.warning(
                "daemon.stop_incomplete", reason=complaint, error=str(error) or type(error).__name__
            )

    async def _watch_sinks(self) -> None:
        while True:
            self._sinks.look(self.couriers())
            self.source.flush()  # so that each record goes alone, with what changes by it
            self.holding.tell(int(self.clock.time() * 1e6))
            await self.clock.sleep(SINKS_INTERVAL)

    async def _tell_of_gone_sinks(self) -> None:
        """A sink that was renamed or removed may have left events that nobody gets any more."""
        names = [sink.name for sink in self.config.sinks]
        try:
            found = await asyncio.to_thread(left_in, self.config.spool.path, names)
        except (OSError, SpoolError, sqlite3.Error):  # the spool itself says what is wrong with its file
            return
        for one in found:
            self._log.warning(
                "sink.gone",
                sink=one.sink,
                events=one.events,
                dead_letters=one.dead_letters,
                remedy=remedies.left_behind(one.sink),
            )

    def _tell_of_downtime(self) -> None:
        """Nobody listened since the last daemon did: a gap that ends with the first join.

        What was not heard even then is a gap of its own, with its own cause.
        """
        last = self.spool.last_beat
        for room in self.rooms:
            if last is not None:
                since, before = last.time, last.silent.get(room.lane)
                if before is not None and before.cause is Cause.DOWNTIME:
                    since = before.since
                elif before is not None:
                    room.silent(before.cause, before.reason, before.since)
                room.silent(Cause.DOWNTIME, "tdbwatch was not running", since)
        self._knows_downtime = True

    async def _tell_of_no_node(self) -> None:
        """What is emitted while no node can be reached is missed, at the very first start as well."""
        await self.clock.sleep(START_PATIENCE)
        if self.phase == "starting" and not self.client.is_connected():
            for room in self.rooms:
                room.silent(Cause.CONNECTION, "no node could be reached since the start", room.made_at)

    async def _keep_beating(self) -> None:
        while True:
            self._beat_soon.clear()
            self._beat()
            with suppress(DeadlineError):
                await within(self.clock, BEAT_INTERVAL, self._beat_soon.wait())

    def _beat(self) -> None:
        """Say until when which room was heard. It is durable with all that was heard before, never sooner."""
        if not self._knows_downtime:  # else the last daemon's beat would be gone unread
            return
        silent = {room.lane: silence for room in self.rooms if (silence := room.silence_now) is not None}
        self._nodes.tell_of_unreadable()
        self.source.flush()
        self.spool.beat(Beat(self.clock.time(), silent))

    def _recorded(self, kind: Kind, event: str, scope: str, room: str, details: Mapping[str, Any]) -> None:
        """A record was made. If a room is heard now, or not any more, the sign of life should say so soon."""
        self.journal.recorded(kind, event, scope, room, details)
        if kind is not Kind.NODE:
            self._beat_soon.set()

    async def _keep_alive(self) -> None:
        """Tell systemd's watchdog that we live: the loop turns, and all that carries events moves."""
        while True:
            if self._pulse.look():
                self._notifier.alive()
            await self.clock.sleep(self._pulse.interval)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._watch(task)
        return task

    def _watch(self, task: "asyncio.Future[Any]") -> None:
        """Notice when a task of ours dies: the daemon then ends loudly rather than live on as a half."""
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: "asyncio.Future[Any]") -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        name = task.get_name() if isinstance(task, asyncio.Task) else "spool"
        self._log.critical("daemon.part_died", part=name, exc_info=error)
        if not self.failed.done():
            self.failed.set_exception(error)


class _SpoolListener:
    """Makes gap records of what the spool could not keep."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def dropped(self, report: DropReport) -> None:
        daemon, reason = self._daemon, f"spool: {report.reason}"
        if report.note:
            reason += f" ({report.note}); a faster disk, fewer rooms or several daemons help"
        for lane, count in report.rooms.items():
            since_us, until_us = report.times[lane]
            times = GapTimes(since_us, until_us)
            daemon.source.gap(lane, times, Cause.SPOOL, reason, dropped=count)
        daemon.journal.told_again(report.again)

    def damaged(self, report: DamageReport) -> None:
        daemon = self._daemon
        now_us = int(daemon.clock.time() * 1_000_000)
        daemon.stores.save_all()
        what = f" and moved to {report.moved_to.name}" if report.kept else f": {report.error}"
        for room in daemon.rooms:
            times = GapTimes(None, now_us)
            daemon.source.gap(room.lane, times, Cause.DAMAGE, f"the spool was damaged{what}")
