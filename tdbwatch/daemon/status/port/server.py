"""The HTTP server of the status page. It never gets in the way: a port that is taken is tried again later."""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

import structlog
from aiohttp import web

from tdbwatch.backoff import Backoff, BackoffPolicy
from tdbwatch.clock import Clock
from tdbwatch.daemon.config.models.config import HttpConfig
from tdbwatch.daemon.reload.verdict import Verdict
from tdbwatch.daemon.security.secrets import secrets_in
from tdbwatch.daemon.spool.api import DeadLetter
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.status.figures import SpoolFigures, Surveyor
from tdbwatch.daemon.status.history import PACE, History
from tdbwatch.daemon.status.port.answers import Answers
from tdbwatch.daemon.status.port.door import Door
from tdbwatch.daemon.status.port.guard import Guard
from tdbwatch.daemon.status.port.hosts import Hosts
from tdbwatch.daemon.status.port.visitors import Visitors
from tdbwatch.daemon.status.snapshot import Life, Snapshot
from tdbwatch.daemon.status.tail.answers import TailAnswers
from tdbwatch.daemon.status.tail.look import Log
from tdbwatch.descriptors import require, reserve
from tdbwatch.redaction import redact

_RETRY: Final = BackoffPolicy(initial=1.0, factor=2.0, maximum=60.0, jitter=0.2)


class Shown(Protocol):
    """What the status shows, as far as it is asked for."""

    @property
    def log(self) -> Log:
        """The spool."""

    def life(self) -> Life:
        """Where the daemon stands."""

    def configuration(self) -> str:
        """The one that is used, as YAML without secrets."""

    def counters(self) -> tuple[Mapping[Lane, int], Mapping[str, int]]:
        """Events since the start: heard by room, taken by sink."""

    def snapshot(self, figures: SpoolFigures) -> Snapshot:
        """How it is now; reads memory only.

        Args:
            figures: what was last read from the spool's file.
        """

    def plugin_metrics(self) -> bytes:
        """The metrics that plugins have made, in Prometheus' text format."""


class StatusServer:
    """Listens where `http.listen` says, and answers from snapshots.

    Args:
        shown: what it shows.
        surveyor: reads what only the spool's file can tell.
        config: where to listen.
        clock: paces the attempts to listen.
        reload: has the configuration read again; None: nobody can.
    """

    def __init__(
        self,
        shown: Shown,
        surveyor: Surveyor,
        config: HttpConfig,
        clock: Clock,
        reload: Callable[[], Awaitable[Verdict]] | None = None,
    ) -> None:
        self.trouble: str | None = None
        """Why nobody can ask, such as a port that is in use; None when all is well."""
        self.port: int | None = None
        """Where it listens; None: not yet, or no more."""
        self.listening = asyncio.Event()
        self.history = History()
        """The last hour; a server that takes the place of another one takes it over."""
        self._shown = shown
        self._config = config
        self._clock = clock
        self._log = structlog.get_logger("tdbwatch.status")
        self._surveyor = surveyor
        self._stopped = False
        self._hosts: Hosts | None = None
        self._visitors = Visitors()
        redact.remember(secrets_in(config))
        guard = Guard(self._is_ours, lambda: self._config.token, self._visitors.refused)
        self._tail = TailAnswers(shown.log, self.glance, guard, clock)
        application = Answers(self, guard, self._tail, reload).application()
        self._runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=1.0)
        self._door = Door(lambda: self._visitors.welcome(self._runner.server), self._visitors.oldest_leaves)

    def glance(self) -> Snapshot:
        """The daemon as it is now, with the figures that were read last."""
        return self._of(self._surveyor.latest)

    async def snapshot(self) -> Snapshot:
        """The daemon as it is now."""
        return self._of(await self._surveyor.figures())

    async def letters(self, sink: str | None) -> list[DeadLetter] | None:
        """The newest dead letters, of one sink or of all; None: they cannot be read."""
        return await self._surveyor.letters(sink)

    def life(self) -> Life:
        """Where the daemon stands; asks nothing that could be wrong itself."""
        return self._shown.life()

    def plugin_metrics(self) -> bytes:
        """Those of plugins, in Prometheus' text format."""
        return self._shown.plugin_metrics()

    def configuration(self) -> str:
        """The one that is used, as YAML without secrets."""
        return self._shown.configuration()

    def _of(self, figures: SpoolFigures) -> Snapshot:
        return replace(self._shown.snapshot(figures), http_trouble=self.trouble or "")

    async def run(self) -> None:
        """Listen; try again for as long as the address is taken. Returns when it listens."""
        await self._runner.setup()
        reserve.givers.add(self._visitors.give_back)
        backoff = Backoff(_RETRY)
        while not self._stopped and not await self._listen():
            await self._clock.sleep(backoff.next())

    async def remember(self) -> None:
        """Look at the counters now and then, for what is shown of the last hour; until cancelled."""
        while True:
            self.history.take(self._clock.monotonic(), *self._shown.counters())
            await self._clock.sleep(PACE)

    def end_streams(self) -> None:
        """Whoever follows events is told no more; all else is answered until `stop`."""
        self._tail.end()

    async def stop(self) -> None:
        """Listen no more, close every connection."""
        self._stopped = True
        self.port = None
        self._door.close()
        self._tail.end()
        reserve.givers.discard(self._visitors.give_back)
        await self._runner.cleanup()
        await self._surveyor.close()

    async def _listen(self) -> bool:
        host, port = self._config.host, self._config.port
        try:
            require()  # without one, newer Pythons say only that no address could be bound
            addresses = await self._door.open(host or None, port)
        except OSError as error:
            self._cannot_listen(error)
            return False
        if self._stopped:
            self._door.close()
            return False
        self._hosts = Hosts(host, self._config.hosts, (address[0] for address in addresses))
        self.port = addresses[0][1]
        self.trouble = None
        self._log.info(
            "status.listening", url=f"http://{self._config.listen.rpartition(':')[0]}:{self.port}/"
        )
        self.listening.set()
        return True

    def _cannot_listen(self, error: OSError) -> None:
        what = "another program uses the port" if error.errno == errno.EADDRINUSE else str(error)
        said, self.trouble = self.trouble, f"cannot listen on {self._config.listen}: {what}"
        if said != self.trouble:
            self._log.error(
                "status.not_listening",
                reason=self.trouble,
                remedy="change http.listen or end the other program; it is tried again, events flow",
            )

    def _is_ours(self, host: str) -> bool:
        return self._hosts is not None and self._hosts.allow(host)
