"""The HTTP server of the status page. It never gets in the way: a port that is taken is tried again later."""

import asyncio
import errno
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from tdbwatch.backoff import Backoff, BackoffPolicy
from tdbwatch.clock import Clock
from tdbwatch.daemon.config.models import HttpConfig
from tdbwatch.daemon.status.answers import Answers
from tdbwatch.daemon.status.figures import Surveyor
from tdbwatch.daemon.status.hosts import Hosts
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.status.taking import take
from tdbwatch.daemon.status.visitors import MAX_CONNECTIONS, Visitors

if TYPE_CHECKING:
    from tdbwatch.daemon.supervisor import Daemon

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
        self._surveyor = Surveyor(daemon.spool.path, [sink.name for sink in daemon.config.sinks], clock)
        self._server: asyncio.Server | None = None
        self._stopped = False
        self._visitors = Visitors()
        self._hosts: Hosts | None = None
        application = Answers(self.glance, self.snapshot, self._is_ours).application()
        self._runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=1.0)

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
        addresses = [socket.getsockname() for socket in server.sockets]
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

    def _accept(self) -> asyncio.BaseProtocol:
        return self._visitors.welcome(self._runner.server)

    def _is_ours(self, host: str) -> bool:
        return self._hosts is not None and self._hosts.allow(host)
