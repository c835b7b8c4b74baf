"""The daemon: starts its parts in order, takes up what changes, stops them in reverse order."""

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from tdbwatch import __version__
from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.config import Config
from tdbwatch.daemon.delivery.redelivery import Redelivery
from tdbwatch.daemon.hosting.tracing import Tracing
from tdbwatch.daemon.parts import Parts
from tdbwatch.daemon.plugins import Registry
from tdbwatch.daemon.reload.applying import Applying
from tdbwatch.daemon.reload.plan import Plan
from tdbwatch.daemon.reload.reloader import Reloader
from tdbwatch.daemon.reload.verdict import Verdict
from tdbwatch.daemon.security.rotation import keep_up
from tdbwatch.daemon.showing import Showing
from tdbwatch.daemon.spool.stored.blocks import NOWHERE
from tdbwatch.daemon.status import Readiness, Snapshot
from tdbwatch.daemon.stopping import Stopping
from tdbwatch.daemon.system.systemd import Notifier
from tdbwatch.daemon.views import Views
from tdbwatch.plugin import Kind
from tdbwatch.sinks.file.guarded import guarded

if TYPE_CHECKING:
    from tdbwatch.daemon.status.port.server import StatusServer


class Daemon(Parts):
    """From rooms to sinks. `start`, wait for `failed` or what you like, `stop`.

    What is heard goes into the spool and nowhere else; couriers bring it from there to the sinks.

    Args:
        read: gives the configuration as it is written now, for reloads; blocks, and raises `ConfigError`.
            None: there is no file, and nothing else to take up.
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
        self._notifier = notifier or Notifier({})
        watchdog = self._notifier.watchdog_interval
        super().__init__(config, registry, clock, rng or random.Random(), watchdog, tracing)
        self._log = structlog.get_logger("tdbwatch")
        self._spool_is_open = False
        self._up = asyncio.Event()
        self.showing = Showing(Views(self), self.in_use, self.tasks, clock, self.reload)
        self._readiness = Readiness(self.glance, self._notifier, clock)
        self._applying = Applying(self, self.showing)
        self._reloader = Reloader(
            read or (lambda: self.config),
            self._take_up,
            self.in_use,
            self._readiness.reloading,
            self._tell,
            clock,
        )

    @property
    def status(self) -> "StatusServer | None":
        """The status server that there is."""
        return self.showing.now

    def glance(self) -> Snapshot:
        """How it is now, from memory alone."""
        return self.showing.glance()

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
        await self._open()
        self._begin()
        await self.beating.first()
        await self.rooms.join(self.client)  # each link that comes joins them
        await self.singing.take_up(self.config.thingsdb)
        self._up.set()
        settings = self.config.thingsdb
        self._log.info("daemon.connecting", nodes=[str(node) for node in settings.nodes])
        await self.client.connect_pool(settings.nodes, self.login)
        self.phase = "running"
        self._log.info("daemon.started", version=__version__)
        self._readiness.look()

    async def _open(self) -> None:
        """What is in the spool is known, and goes to the sinks."""
        guarded.protect([self.config.spool.path])
        await self.spool.open()
        self._spool_is_open = True
        self.tasks.watch(self.spool.failed)
        await self.remembering.load()
        await self.stores.load([sink.name for sink in self.config.sinks])
        self.deliveries.change(self.config.sinks)
        self.spool.interrupted = False

    def _begin(self) -> None:
        """All that goes on by itself."""
        self.tasks.begin("redelivery", Redelivery(self.spool, self.deliveries.receivers, self.clock).run())
        self.showing.begin()
        self.tasks.spawn(self.gone_sinks.tell(), "tdbwatch-gone-sinks")
        self.beating.tell_of_downtime()
        self.tasks.begin("readiness", self._readiness.run())
        self.tasks.begin("sinks", self.sink_watch.run(self.deliveries, self.routing, self.clock))
        self.tasks.begin("remembering", self.remembering.run())
        self.tasks.begin("alive", self.pulse.run(self._notifier.alive, self.clock))
        self.tasks.begin("secrets", keep_up(self.config.rotating, self.clock))
        self.tasks.begin("no-node", self.nodes.tell_of_none(self.client.is_connected))
        self.tasks.begin("beat", self.beating.run())
        self.tasks.spawn(self.registry.notify_started(__version__), "tdbwatch-notify-plugins")

    async def drained(self) -> None:
        """Return when every sink has everything that was heard."""
        self.source.flush()
        await self.spool.flush()
        await self.deliveries.caught_up()

    async def stop(self) -> None:
        """Let sinks finish, leave the rooms, make all that was heard durable, close everything."""
        self.phase = "stopping"
        self._notifier.stopping()
        self.showing.end_streams()
        await Stopping(self, spool_is_open=self._spool_is_open).run()
        await self.showing.stop()
        self.tasks.cancel()
        self._log.info(
            "daemon.stopped", received=self.received, **{c.sink: c.counts.delivered for c in self.couriers()}
        )

    # -- reloads -----------------------------------------------------------------------------------------

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

    async def _take_up(self, config: Config) -> Plan:
        await self._up.wait()  # the daemon is there as a whole
        return await self._applying(config)

    def _tell(self, verdict: Verdict) -> None:
        self._readiness.reloaded()
        self.source.record(Kind.CONFIG, verdict.word, NOWHERE, None, verdict.details())
        self.tasks.spawn(self.registry.notify_reloaded(verdict.details()), "tdbwatch-notify-reloaded")
