"""The daemon: starts its parts in order, watches them, stops them in reverse order."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog

from tdbwatch import __version__
from tdbwatch.client import Client
from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.assembly import (
    delivering_maker,
    heartbeat_of,
    limits_of,
    make_canary,
    make_client,
    make_router,
)
from tdbwatch.daemon.beating import Beating
from tdbwatch.daemon.canary import Canary
from tdbwatch.daemon.causes import Cause
from tdbwatch.daemon.config import Config, HttpConfig
from tdbwatch.daemon.contexts import Contexts
from tdbwatch.daemon.couriers import CourierStatus
from tdbwatch.daemon.deliveries import Deliveries
from tdbwatch.daemon.echoes import Echoes
from tdbwatch.daemon.gone_sinks import GoneSinks
from tdbwatch.daemon.in_use import InUse
from tdbwatch.daemon.login import Login, NodeTls
from tdbwatch.daemon.node_watch import NodeWatcher
from tdbwatch.daemon.plugins import Registry
from tdbwatch.daemon.pulse import Pulse
from tdbwatch.daemon.reacting import Reacting
from tdbwatch.daemon.redelivery import Redelivery
from tdbwatch.daemon.reload.applying import Applying, Parts
from tdbwatch.daemon.reload.plan import Plan
from tdbwatch.daemon.reload.reloader import Reloader
from tdbwatch.daemon.reload.verdict import Verdict
from tdbwatch.daemon.remembering import Remembering
from tdbwatch.daemon.rooms import Rooms
from tdbwatch.daemon.rotation import Rotation
from tdbwatch.daemon.routes import Unrouted
from tdbwatch.daemon.routing import Routing
from tdbwatch.daemon.sink_watch import INTERVAL as SINKS_INTERVAL
from tdbwatch.daemon.sink_watch import SinkWatch
from tdbwatch.daemon.source import Source
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import NOWHERE, Heard
from tdbwatch.daemon.spool_gaps import SpoolGaps
from tdbwatch.daemon.status import START_PATIENCE, Journal, Readiness, Snapshot
from tdbwatch.daemon.status.figures import NO_FIGURES, Surveyor
from tdbwatch.daemon.status.snapshot import Life
from tdbwatch.daemon.stores import Stores
from tdbwatch.daemon.systemd import Notifier
from tdbwatch.daemon.tasks import Tasks
from tdbwatch.daemon.tracing import Tracing
from tdbwatch.daemon.views import Views
from tdbwatch.plugin import Kind
from tdbwatch.sinks.file.guarded import guarded

if TYPE_CHECKING:
    from tdbwatch.daemon.status.port.server import StatusServer

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

    Args:
        read: gives the configuration as it is written now, for reloads; blocks, and raises `ConfigError`.
        tracing: makes spans of deliveries; None: nobody does.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
        notifier: Notifier | None = None,
        read: Callable[[], Config] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        now_us = int(clock.time() * 1e6)
        self.in_use = InUse(config, now_us, now_us)
        self.tasks = Tasks()
        self.registry = registry
        self.phase = "starting"
        """`starting`, `running` or `stopping`."""
        self.clock = clock
        self._rng = rng or random.Random()
        self._notifier = notifier or Notifier({})
        self._log = structlog.get_logger("tdbwatch")
        self._spool_is_open = False
        self._up = asyncio.Event()
        self._showing = asyncio.Lock()
        self.journal = Journal(clock)
        gaps = SpoolGaps(self.journal, clock)
        self.spool = SqliteSpool(
            config.spool.path,
            limits_of(config.spool),
            sinks=[sink.name for sink in config.sinks],
            listener=gaps,
            clock=clock,
        )
        self.routing = Routing(make_router(config))
        self.unrouted = Unrouted(self.routing)
        echoes = Echoes(clock)
        self.source = Source(self._heard, clock, self._recorded, echoes)
        self._sinks = SinkWatch(self.source, self.routing)
        self.rooms = Rooms(config.rooms, self.source, clock)
        router = self.routing.now
        self.remembering = Remembering(self.in_use, router, self.source, self.spool, self.rooms, clock)
        self._nodes = NodeWatcher(self.source, self.journal, self.rooms, clock)
        self._beating = Beating(self.rooms, self._nodes, self.source, self.spool, clock)
        self._tls = NodeTls(config.thingsdb.tls)
        self.client: Client = make_client(config.thingsdb, self._nodes, clock, self._rng, self._tls)
        self.stores = Stores(self.spool)
        self.contexts = Contexts(clock, registry.metrics, Reacting(self.client, echoes), self.stores)
        self._login = Login(config.thingsdb.auth, config.login_file)
        gaps.begin(self.source, self.rooms, self.stores, self.remembering)
        self.canary: Canary | None = None
        make = delivering_maker(
            self.routing, registry, self.spool, clock, self._rng, self._sinks.buried, self.contexts, tracing
        )
        self._gone_sinks = GoneSinks(self.in_use, self.spool, self.stores)
        self.deliveries = Deliveries(
            make, self.routing.matcher, self.tasks.watch, self._grace, self._sink_gone, clock
        )
        self._views = Views(self, registry, clock)
        self.status = None if config.http is None else self.status_server(config.http, clock)
        self._readiness = Readiness(self.glance, self._notifier, clock)
        self._pulse = Pulse(self.spool, lambda: self.deliveries.each, self._notifier.watchdog_interval)
        self._reloader = Reloader(
            read or self._same, self._take_up(), self.in_use, self._readiness.reloading, self._tell, clock
        )

    @property
    def failed(self) -> "asyncio.Future[None]":
        """Ends with an exception when a part of the daemon died of a mistake of ours."""
        return self.tasks.failed

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self.in_use.config

    @property
    def received(self) -> int:
        """Events heard since the start."""
        return self.source.received

    def glance(self) -> Snapshot:
        """How it is now, from memory alone."""
        return self._views.snapshot(NO_FIGURES) if self.status is None else self.status.glance()

    def status_server(self, http: HttpConfig, clock: Clock) -> "StatusServer":
        """One that shows this daemon."""
        from tdbwatch.daemon.status.port.server import StatusServer  # aiohttp takes its time to import

        surveyor = Surveyor(self.spool.path, lambda: [sink.name for sink in self.config.sinks], clock)
        return StatusServer(self._views, surveyor, http, clock, self.reload)

    def couriers(self) -> list[CourierStatus]:
        """How each sink is doing."""
        return self.deliveries.statuses()

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
        guarded.protect([self.config.spool.path])
        await self.spool.open()
        self._spool_is_open = True
        self.tasks.watch(self.spool.failed)
        await self.remembering.load()
        await self.stores.load([sink.name for sink in self.config.sinks])
        self.deliveries.change(self.config.sinks)
        self.spool.go_on()
        self.tasks.begin("redelivery", Redelivery(self.spool, self.deliveries.receivers, self.clock).run())
        if self.status is not None:
            self._show(self.status)
        self.tasks.spawn(self._gone_sinks.tell(), "tdbwatch-gone-sinks")
        self._beating.tell_of_downtime()
        self.tasks.begin("readiness", self._readiness.run())
        self.tasks.begin("sinks", self._watch_sinks())
        self.tasks.begin("remembering", self.remembering.run())
        self.tasks.begin("alive", self._keep_alive())
        self._look_at_secrets()
        self.tasks.begin("no-node", self._tell_of_no_node())
        self.tasks.begin("beat", self._beating.run())
        self.tasks.spawn(self.registry.notify_started(__version__), "tdbwatch-notify-plugins")
        await self.rooms.join(self.client)  # each link that comes joins them
        await self._sing()
        self._up.set()
        settings = self.config.thingsdb
        self._log.info("daemon.connecting", nodes=[str(node) for node in settings.nodes])
        await self.client.connect_pool(settings.nodes, self._login)
        self.phase = "running"
        self._log.info("daemon.started", version=__version__)
        self._readiness.look()

    def reload_soon(self) -> None:
        """Take up what is written now; what comes of it is logged."""
        self._asked_to_reload()

    async def reload(self) -> Verdict:
        """Take up what is written now; who asks at the same time shares it. Returns what came of it."""
        return await asyncio.shield(self._asked_to_reload())

    def _asked_to_reload(self) -> asyncio.Task[Verdict]:
        task = self._reloader.ask()
        self.tasks.watch(task)
        return task

    async def stop(self) -> None:
        """Let sinks finish, leave the rooms, make all that was heard durable, close everything."""
        grace = self._grace()
        until = self.clock.monotonic() + grace
        self.phase = "stopping"
        self._notifier.stopping()
        self._log.info("daemon.stopping", grace=grace)
        if self.status is not None:
            self.status.end_streams()
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
        self.tasks.cancel()
        self._log.info(
            "daemon.stopped", received=self.received, **{c.sink: c.delivered for c in self.couriers()}
        )

    def _left(self, until: float) -> float:
        return max(0.1, until - self.clock.monotonic())

    async def _stop_delivering(self, until: float) -> None:
        """Sinks get what was heard up to now; what is heard from now on stays in the spool."""
        self.tasks.end("redelivery")
        self.source.flush()
        flushing = self._left(until) / 2
        await self._within(flushing, self.spool.flush(), "the disk does not take what was heard")
        await self.deliveries.finish(self._left(until))
        for status in self.couriers():
            if status.lag:
                self._log.warning(
                    "sink.undelivered", sink=status.sink, events=status.lag, last_error=status.last_error
                )

    async def _stop_hearing(self, until: float) -> None:
        self._nodes.closing = True
        self.tasks.end("beat")
        # The last sign of life: from here on nobody can be sure to listen.
        left = self._left(until)
        self._beating.beat()
        leaving = self.rooms.leave(self.client)
        await self._within(min(LEAVE_TIMEOUT, left / 4), leaving, "rooms could not be left")
        closing = max(LEAST_CLOSE, min(LEAVE_TIMEOUT, self._left(until) / 2))
        await self._within(closing, self.client.close_and_wait(), "nodes do not let go")
        self.source.flush()

    async def drained(self) -> None:
        """Return when every sink has everything that was heard."""
        self.source.flush()
        await self.spool.flush()
        await self.deliveries.caught_up()

    def life(self) -> Life:
        """Where it stands."""
        failed = self.failed.done() and not self.failed.cancelled()
        return Life(self.phase, type(self.failed.exception()).__name__ if failed else "", self._pulse.stalled)

    # -- what happens ------------------------------------------------------------------------------------

    def _heard(self, heard: Sequence[Heard]) -> None:
        self.unrouted.count(heard)
        self.remembering.heard(heard)

    def _recorded(self, kind: Kind, event: str, scope: str, room: str, details: Mapping[str, Any]) -> None:
        """A record was made. If a room is heard now, or not any more, the sign of life should say so soon."""
        self.journal.recorded(kind, event, scope, room, details)
        if kind is not Kind.NODE:
            self._beating.soon()

    # -- reloads -----------------------------------------------------------------------------------------

    def _sink_gone(self, name: str) -> None:
        self.tasks.spawn(self._gone_sinks.gone(name), "tdbwatch-gone-sink")

    def _take_up(self) -> Callable[[Config], Awaitable[Plan]]:
        """What takes up a configuration, once the daemon is there as a whole."""
        parts = Parts(
            self.in_use,
            self.registry,
            self.source,
            self.spool,
            self.routing,
            self.remembering,
            self.rooms,
            self.deliveries,
            self.client,
            self.stores,
            self._login,
            self._tls,
            self.clock,
            lambda: self.phase == "stopping",
            self._take_up_more,
            self.tasks.spawn,
        )
        applying = Applying(parts)

        async def take_up(config: Config) -> Plan:
            await self._up.wait()
            return await applying(config)

        return take_up

    def _take_up_more(self, plan: Plan) -> None:
        self._look_at_secrets()
        self.client.set_default_scope(plan.config.thingsdb.scope)
        if "thingsdb.nodes" in plan.changed:
            self.client.use_nodes(plan.config.thingsdb.nodes)
        self.client.set_heartbeat(heartbeat_of(plan.config.thingsdb))
        if any(key.startswith("spool.") for key in plan.changed):
            self.spool.keep_to(limits_of(plan.config.spool))
        if "thingsdb.canary" in plan.changed:
            self.tasks.begin("sing-anew", self._sing())
        if "http" in plan.changed:
            self.tasks.spawn(self._show_anew(), "tdbwatch-status-anew")

    def _tell(self, verdict: Verdict) -> None:
        self._readiness.reloaded()
        self.source.record(Kind.CONFIG, verdict.word, NOWHERE, None, verdict.details())
        self.tasks.spawn(self.registry.notify_reloaded(verdict.details()), "tdbwatch-notify-reloaded")

    def _look_at_secrets(self) -> None:
        self.tasks.end("secrets")
        if self.config.rotating is not None:
            self.tasks.begin("secrets", Rotation(self.config.rotating, self.clock).run())

    async def _sing(self) -> None:
        """Have the canary that the configuration wants, instead of the one that there is."""
        self.tasks.end("canary")
        if self.canary is not None:
            self.client.discard(self.canary.subscription)
        self.canary = canary = make_canary(self.config.thingsdb, self.client, self.clock)
        if canary is not None:
            self.tasks.begin("canary", canary.run())
            await self.client.subscribe(canary.subscription)

    async def _show_anew(self) -> None:
        """Have the status server that the configuration wants; whoever is being answered still is."""
        async with self._showing:
            before, self.status = self.status, None
            self.tasks.end("status-history")
            if before is not None:
                await before.stop()
            if (http := self.config.http) is not None:
                self.status = self.status_server(http, self.clock)
                if before is not None:
                    self.status.history = before.history
                self._show(self.status)

    def _show(self, status: "StatusServer") -> None:
        self.tasks.begin("status", status.run())
        self.tasks.begin("status-history", status.remember())

    def _grace(self) -> float:
        return self.config.shutdown.grace

    def _same(self) -> Config:
        """Where nobody knows of a file there is nothing else to take up."""
        return self.config

    # -- inside ------------------------------------------------------------------------------------------

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
            if self.routing.former and (through := self.deliveries.finished_through) is not None:
                self.routing.finished(through)
            await self.clock.sleep(SINKS_INTERVAL)

    async def _tell_of_no_node(self) -> None:
        """What is emitted while no node can be reached is missed, at the very first start as well."""
        await self.clock.sleep(START_PATIENCE)
        if self.phase == "starting" and not self.client.is_connected():
            for room in self.rooms:
                room.silent(Cause.CONNECTION, "no node could be reached since the start", room.made_at)

    async def _keep_alive(self) -> None:
        """Tell systemd's watchdog that we live: the loop turns, and all that carries events moves."""
        while True:
            if self._pulse.look():
                self._notifier.alive()
            await self.clock.sleep(self._pulse.interval)
