"""Who asks the status server: so many at a time, each for so long. Nonsense is hardly worth a line."""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import web

from tdbwatch.daemon.status.port.answers import HEADERS
from tdbwatch.descriptors import limit

MAX_CONNECTIONS: Final = 64
"""An eighth of all descriptors, if those are few. For a further one the oldest is closed: nobody may take all
of the daemon's, or keep others out."""
CONNECTION_LIFE: Final = 60.0
"""Seconds after which a connection is closed at the latest, used or not; answers take milliseconds."""
IDLE: Final = 20.0
"""Seconds that a connection may wait for its next request."""


class Visitors:
    """Makes the protocols of connections, and counts what they do wrong."""

    def __init__(self) -> None:
        self._present: dict[_Visitor, asyncio.TimerHandle] = {}
        self._bad = 0
        self._strangers = 0
        self._log = structlog.get_logger("tdbwatch.status")

    def welcome(self, server: Any) -> "_Visitor":
        """The protocol of a new connection to `server`, which is aiohttp's."""
        loop = asyncio.get_running_loop()
        return _Visitor(self, server, loop=loop, keepalive_timeout=IDLE, lingering_time=0.0, access_log=None)

    def came(self, visitor: "_Visitor") -> None:
        while len(self._present) >= min(MAX_CONNECTIONS, limit() // 8):
            self.oldest_leaves()
        timer = asyncio.get_running_loop().call_later(CONNECTION_LIFE, visitor.abort)
        self._present[visitor] = timer

    def give_back(self) -> None:
        """Close the older half of the connections."""
        for _ in range(len(self._present) // 2):
            self.oldest_leaves()

    def oldest_leaves(self) -> bool:
        """Close the oldest connection; whether there was one."""
        oldest = next(iter(self._present), None)
        if oldest is None:
            return False
        self.left(oldest)
        oldest.abort()
        return True

    def left(self, visitor: "_Visitor") -> None:
        if (timer := self._present.pop(visitor, None)) is not None:
            timer.cancel()

    def failed(self, remote: str | None, status: int, error: BaseException | None) -> None:
        """A request could not be answered. Said of numbers 1, 2, 4, 8, ...: anybody can send what is none."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._log.error("status.mistake", exc_info=error)
            return
        self._bad += 1
        if _is_rare(self._bad):
            self._log.warning("status.not_http", sender=remote, count=self._bad)

    def refused(self, remote: str | None) -> None:
        """Somebody did not know the token. Said of numbers 1, 2, 4, 8, ..."""
        self._strangers += 1
        if _is_rare(self._strangers):
            self._log.warning("status.refused", sender=remote, count=self._strangers)


def _is_rare(count: int) -> bool:
    return count & (count - 1) == 0


class _Visitor(web.RequestHandler):
    """One connection."""

    def __init__(self, visitors: Visitors, server: Any, **arguments: Any) -> None:
        super().__init__(server, **arguments)
        self._visitors = visitors

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._visitors.came(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._visitors.left(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close the connection at once."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats what came, and names what we are made of
    ) -> web.StreamResponse:
        """As aiohttp's own, with our headers and without a traceback for every few bytes of nonsense."""
        self._visitors.failed(request.remote, status, exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer was sent already")
        answer = web.Response(status=status, text=f"{status} {HTTPStatus(status).phrase}\n", headers=HEADERS)
        answer.force_close()
        return answer
