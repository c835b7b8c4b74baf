"""The status server: the one that the configuration wants, which may change."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tdbwatch.clock import Clock
from tdbwatch.daemon.config import HttpConfig
from tdbwatch.daemon.in_use import InUse
from tdbwatch.daemon.reload.verdict import Verdict
from tdbwatch.daemon.status import Snapshot
from tdbwatch.daemon.status.figures import NO_FIGURES, Surveyor
from tdbwatch.daemon.tasks import Tasks
from tdbwatch.daemon.views import Views

if TYPE_CHECKING:
    from tdbwatch.daemon.status.port.server import StatusServer


class Showing:
    """Shows the daemon.

    Args:
        reload: has the configuration read again.

    Attributes:
        now: the server that there is; None: nobody wants one.
    """

    def __init__(
        self,
        views: Views,
        in_use: InUse,
        tasks: Tasks,
        clock: Clock,
        reload: Callable[[], Awaitable[Verdict]],
    ) -> None:
        self._views = views
        self._in_use = in_use
        self._tasks = tasks
        self._clock = clock
        self._reload = reload
        self._turn = asyncio.Lock()
        self.now = self._wanted()

    def server(self, http: HttpConfig, clock: Clock) -> "StatusServer":
        """One that shows this daemon."""
        from tdbwatch.daemon.status.port.server import StatusServer  # aiohttp takes its time to import

        surveyor = Surveyor(
            self._views.log.path, lambda: [sink.name for sink in self._in_use.config.sinks], clock
        )
        return StatusServer(self._views, surveyor, http, clock, self._reload)

    def glance(self) -> Snapshot:
        """How it is now, from memory alone."""
        return self._views.snapshot(NO_FIGURES) if self.now is None else self.now.glance()

    def begin(self) -> None:
        """Listen, and look at the last hour from now on."""
        if self.now is not None:
            self._tasks.begin("status", self.now.run())
            self._tasks.begin("status-history", self.now.remember())

    async def change(self) -> None:
        """Have the server that the configuration wants now; whoever is being answered still is."""
        async with self._turn:
            before, self.now = self.now, None
            self._tasks.end("status-history")
            if before is not None:
                await before.stop()
            self.now = self._wanted()
            if self.now is not None and before is not None:
                self.now.history = before.history
            self.begin()

    def end_streams(self) -> None:
        """Whoever follows events is told no more."""
        if self.now is not None:
            self.now.end_streams()

    async def stop(self) -> None:
        """Listen no more."""
        if self.now is not None:
            await self.now.stop()

    def _wanted(self) -> "StatusServer | None":
        http = self._in_use.config.http
        return None if http is None else self.server(http, self._clock)
