"""The parts of the daemon: what there is, and which part knows which."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from tdbwatch.client import Client
from tdbwatch.clock import Clock
from tdbwatch.daemon.assembly import delivering_maker, limits_of, make_client, make_router
from tdbwatch.daemon.config import Config
from tdbwatch.daemon.couriers import CourierStatus
from tdbwatch.daemon.delivery.deliveries import Deliveries
from tdbwatch.daemon.delivery.gone_sinks import GoneSinks
from tdbwatch.daemon.delivery.sink_watch import SinkWatch
from tdbwatch.daemon.holding.remembering import Remembering
from tdbwatch.daemon.hosting.contexts import Contexts
from tdbwatch.daemon.hosting.echoes import Echoes
from tdbwatch.daemon.hosting.reacting import Reacting
from tdbwatch.daemon.hosting.stores import Stores
from tdbwatch.daemon.hosting.tracing import Tracing
from tdbwatch.daemon.in_use import InUse
from tdbwatch.daemon.intake.beating import Beating
from tdbwatch.daemon.intake.canary import Canary, Singing
from tdbwatch.daemon.intake.node_watch import NodeWatcher
from tdbwatch.daemon.intake.rooms import Rooms
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.intake.spool_gaps import SpoolGaps
from tdbwatch.daemon.plugins import Registry
from tdbwatch.daemon.routing.current import Routing
from tdbwatch.daemon.routing.unrouted import Unrouted
from tdbwatch.daemon.security.login import Login, NodeTls
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Heard
from tdbwatch.daemon.status import Journal
from tdbwatch.daemon.status.snapshot import Life
from tdbwatch.daemon.system.pulse import Pulse
from tdbwatch.daemon.tasks import Tasks
from tdbwatch.plugin import Kind


class Parts:
    """All parts that carry events, none of them begun.

    Attributes:
        phase: `starting`, `running` or `stopping`.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
        watchdog: float | None,
        tracing: Tracing | None,
    ) -> None:
        self.phase = "starting"
        now_us = int(clock.time() * 1e6)
        self.in_use = InUse(config, now_us, now_us)
        self.tasks = Tasks()
        self.registry = registry
        self.clock = clock
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
        self.sink_watch = SinkWatch(self.source, self.routing)
        self.rooms = Rooms(config.rooms, self.source, clock)
        router = self.routing.now
        self.remembering = Remembering(self.in_use, router, self.source, self.spool, self.rooms, clock)
        self.nodes = NodeWatcher(self.source, self.journal, self.rooms, clock)
        self.beating = Beating(self.rooms, self.nodes, self.source, self.spool, clock)
        self.tls = NodeTls(config.thingsdb.tls)
        self.client: Client = make_client(config.thingsdb, self.nodes, clock, rng, self.tls)
        self.login = Login(config.thingsdb.auth, config.login_file)
        self.singing = Singing(self.client, self.tasks, clock)
        self.stores = Stores(self.spool)
        contexts = Contexts(clock, registry.metrics, Reacting(self.client, echoes), self.stores)
        gaps.begin(self.source, self.rooms, self.stores, self.remembering)
        make = delivering_maker(
            self.routing, registry, self.spool, clock, rng, self.sink_watch.buried, contexts, tracing
        )
        self.gone_sinks = GoneSinks(self.in_use, self.spool, self.stores)
        self.deliveries = Deliveries(
            make,
            self.routing.matcher,
            self.tasks.watch,
            self.grace,
            self.spool.flush,
            self._sink_gone,
            clock,
        )
        self.pulse = Pulse(self.spool, lambda: self.deliveries.each, watchdog)

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

    @property
    def canary(self) -> Canary | None:
        """The one that sings now."""
        return self.singing.now

    def grace(self) -> float:
        """Seconds in which all must have stopped."""
        return self.config.shutdown.grace

    def couriers(self) -> list[CourierStatus]:
        """How each sink is doing."""
        return list(self.deliveries.statuses())

    def life(self) -> Life:
        """Where it stands."""
        failed = self.failed.done() and not self.failed.cancelled()
        return Life(self.phase, type(self.failed.exception()).__name__ if failed else "", self.pulse.stalled)

    def _heard(self, heard: Sequence[Heard]) -> None:
        self.unrouted.count(heard)
        self.remembering.heard(heard)

    def _recorded(self, kind: Kind, event: str, scope: str, room: str, details: Mapping[str, Any]) -> None:
        """A record was made. If a room is heard now, or not any more, the sign of life should say so soon."""
        self.journal.recorded(kind, event, scope, room, details)
        if kind is not Kind.NODE:
            self.beating.soon()

    def _sink_gone(self, name: str) -> None:
        self.routing.gone(name)
        self.tasks.spawn(self.gone_sinks.gone(name), "tdbwatch-gone-sink")
