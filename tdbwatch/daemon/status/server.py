"""The HTTP server of the status page. It never gets in the way: a port that is taken is tried again later."""

import asyncio
import errno
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import web

from tdbwatch.backoff import Backoff, BackoffPolicy
from tdbwatch.clock import Clock
from tdbwatch.daemon.config.models import HttpConfig
from tdbwatch.daemon.status.answers import Answers
from tdbwatch.daemon.status.figures import Surveyor
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.status.taking import take

if TYPE_CHECKING:
    from tdbwatch.daemon.supervisor import Daemon

MAX_CONNECTIONS: Final = 64
"""Further ones are closed at once: nobody may take all of the daemon's files."""
CONNECTION_LIFE: Final = 60.0
"""Seconds after which a connection is closed at the latest, used or not; answers take milliseconds."""
IDLE: Final = 20.0
"""Seconds that a connection may wait for its next request."""
_RETRY: Final = BackoffPolicy(initial=1.0, factor=2.0, maximum=60.0, jitter=0.2)


class StatusServer:
    """Listens where `http.listen` says, and answers from snapshots.

    Args:
        daemon: what it shows.
        config: where to listen.
        clock: paces the attempts to listen.
    """

    def __init__(self, daemon: "Daemon", config: HttpConfig, clock: Clock) -> None:
        self.trouble: str | None = None
        """Why nobody can ask, such as a port that is in use; None when all is well."""
        self.port: int | None = None
        """Where it listens; None: not yet, or no more."""
        self.listening = asyncio.Event()
        self._daemon = daemon
        self._config = config
        self._clock = clock
        self._log = structlog.get_logger("tdbwatch.status")
        self._surveyor = Surveyor(daemon.spool.path, clock)
        self._server: asyncio.Server | None = None
        self._stopped = False
        self._seen: set[Any] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._runner = web.AppRunner(
            Answers(self.glance, self.snapshot).application(),
            access_log=None,
            handle_signals=False,
            keepalive_timeout=IDLE,
            lingering_time=0.0,
            shutdown_timeout=1.0,
        )

    def glance(self) -> Snapshot:
        """The daemon as it is now, with the figures that were read last."""
        return take(self._daemon, self._clock, self._surveyor.latest)

    async def snapshot(self) -> Snapshot:
        """The daemon as it is now."""
        return take(self._daemon, self._clock, await self._surveyor.figures())

    async def run(self) -> None:
        """Listen; try again for as long as the address is taken. Returns when it listens."""
        await self._runner.setup()
        backoff = Backoff(_RETRY)
        while not self._stopped and not await self._listen():
            await self._clock.sleep(backoff.next())

    async def stop(self) -> None:
        """Listen no more, close every connection."""
        self._stopped = True
        if self._server is not None:
            self._server.close()
            self._server, self.port = None, None
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._runner.cleanup()
        await self._surveyor.close()

    async def _listen(self) -> bool:
        host, port = self._config.host, self._config.port
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._accept, host or None, port, backlog=MAX_CONNECTIONS)
        except OSError as error:
            self._cannot_listen(error)
            return False
        if self._stopped:
            server.close()
            return False
        self._server = server
        self._sweep()
        self.port = self._server.sockets[0].getsockname()[1]
        self.trouble = None
        self._log.info("status page", url=f"http://{self._config.listen.rpartition(':')[0]}:{self.port}/")
        self.listening.set()
        return True

    def _cannot_listen(self, error: OSError) -> None:
        what = "another program uses the port" if error.errno == errno.EADDRINUSE else str(error)
        said, self.trouble = self.trouble, f"cannot listen on {self._config.listen}: {what}"
        if said != self.trouble:
            self._log.error(
                "no status page",
                reason=self.trouble,
                remedy="change http.listen or end the other program; it is tried again, events flow",
            )

    def _accept(self) -> asyncio.BaseProtocol:
        server: Any = self._runner.server
        full = len(server.connections) >= MAX_CONNECTIONS
        return _Refusal() if full else server()

    def _sweep(self) -> None:
        """Close what was there at the last sweep: aiohttp has no deadline for a request's header."""
        server: Any = self._runner.server
        for connection in self._seen.intersection(server.connections):
            connection.force_close()
        self._seen = set(server.connections)
        self._sweeping = asyncio.get_running_loop().call_later(CONNECTION_LIFE / 2, self._sweep)


class _Refusal(asyncio.Protocol):
    """Closes a connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
