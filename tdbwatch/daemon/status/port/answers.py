"""What each address of the status server answers."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final, Protocol

from aiohttp import web

from tdbwatch.daemon.reload.verdict import Verdict
from tdbwatch.daemon.spool.api import DeadLetter
from tdbwatch.daemon.status.asked import RELOAD, RELOAD_HEADER
from tdbwatch.daemon.status.document import document
from tdbwatch.daemon.status.health import problems
from tdbwatch.daemon.status.history import History
from tdbwatch.daemon.status.metrics import Metrics
from tdbwatch.daemon.status.pages import configuration, front, letters
from tdbwatch.daemon.status.pages.frame import POLICY
from tdbwatch.daemon.status.pages.rooms import Choice
from tdbwatch.daemon.status.port.guard import Guard
from tdbwatch.daemon.status.port.hosts import is_loopback
from tdbwatch.daemon.status.snapshot import Life, Snapshot
from tdbwatch.daemon.status.tail.answers import TailAnswers
from tdbwatch.plugin.jsonable import to_json

HEADERS: Final = {
    "Server": "tdbwatch",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": POLICY,
}
_ONLY_HERE: Final = "403 a reload can be asked for on the machine itself only\n"
_NO_PAGE: Final = (
    f"403 send the header `{RELOAD_HEADER}: reload`, and no Origin: no web page may ask for this\n"
)
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Asked(Protocol):
    """What is shown, as far as it is asked for."""

    history: History
    """The last hour."""

    def life(self) -> Life:
        """Where the daemon stands."""

    def glance(self) -> Snapshot:
        """The daemon as it is now, from memory alone."""

    async def snapshot(self) -> Snapshot:
        """The same, with fresh figures from the spool's file if the disk answers."""

    async def letters(self, sink: str | None) -> list[DeadLetter] | None:
        """The newest dead letters, of one sink or of all; None: they cannot be read."""

    def plugin_metrics(self) -> bytes:
        """Those of plugins, in Prometheus' text format."""

    def configuration(self) -> str:
        """The one that is used, as YAML without secrets."""


class Answers:
    """The status server's addresses. All but one are read only; none takes a body.

    Args:
        asked: what is shown.
        guard: stands before all of them.
        tail: answers about events.
        reload: has the configuration read again; None: nobody can.
    """

    def __init__(
        self,
        asked: Asked,
        guard: Guard,
        tail: TailAnswers,
        reload: Callable[[], Awaitable[Verdict]] | None = None,
    ) -> None:
        self._asked = asked
        self._guard = guard
        self._tail = tail
        self._reload = reload
        self._metrics = Metrics()

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard.middleware], client_max_size=1)
        application.on_response_prepare.append(_with_our_headers)
        application.router.add_get("/", self.page)
        application.router.add_get("/healthz", self.healthz)
        application.router.add_get("/readyz", self.readyz)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_get("/status.json", self.status)
        application.router.add_get("/letters", self.letters)
        application.router.add_get("/config", self.configuration)
        self._tail.add_to(application.router)
        if self._reload is not None:
            application.router.add_post(RELOAD, self.reload)
        return application

    async def healthz(self, request: web.Request) -> web.Response:
        """Whether a restart would help: 200 while every part lives."""
        life = self._asked.life()
        body: dict[str, Any] = {"alive": life.is_alive}
        if self._guard.may(request):
            body["failure"] = life.failure or life.stalled
        return web.json_response(body, status=200 if body["alive"] else 503)

    async def readyz(self, request: web.Request) -> web.Response:
        """Whether events come in, are kept, and go out; why not, if not, for who may know."""
        found = problems(await self._asked.snapshot())
        reasons = [asdict(problem) for problem in found if problem.blocking]
        body: dict[str, Any] = {"ready": not reasons}
        if self._guard.may(request):
            warnings = [asdict(problem) for problem in found if not problem.blocking]
            body |= {"reasons": reasons, "warnings": warnings}
        return web.json_response(body, status=503 if reasons else 200)

    async def metrics(self, _: web.Request) -> web.Response:
        body = await self._metrics.text(await self._asked.snapshot()) + self._asked.plugin_metrics()
        return web.Response(body=body, headers={"Content-Type": _METRICS_TYPE})

    async def status(self, _: web.Request) -> web.Response:
        body = to_json(document(await self._asked.snapshot(), self._asked.history))
        return web.Response(body=body, content_type="application/json")

    async def letters(self, request: web.Request) -> web.Response:
        """The newest dead letters, of one sink if the query names one."""
        sink = request.query.get("sink")
        text = letters.render(await self._asked.snapshot(), await self._asked.letters(sink), sink)
        return web.Response(text=text, content_type="text/html")

    async def configuration(self, _: web.Request) -> web.Response:
        text = configuration.render(
            self._asked.glance(), self._asked.configuration(), is_open=self._guard.has_token
        )
        return web.Response(text=text, content_type="text/html")

    async def page(self, request: web.Request) -> web.Response:
        choice = Choice.of(request.query.get("room", ""), request.query.get("page", ""))
        text = front.render(await self._asked.snapshot(), self._asked.history, choice)
        return web.Response(text=text, content_type="text/html")

    async def reload(self, request: web.Request) -> web.Response:
        """Take up the configuration as it is written now: 200 with the verdict, 422 if it was refused.

        Only for who is on this machine, and no web page: that cannot send the header unless we allow it.
        """
        assert self._reload is not None, "it has an address"
        if not (request.remote and is_loopback(request.remote)):
            return web.Response(status=403, text=_ONLY_HERE)
        if RELOAD_HEADER not in request.headers or "Origin" in request.headers:
            return web.Response(status=403, text=_NO_PAGE)
        verdict = await self._reload()
        return web.json_response(verdict.document(), status=200 if verdict.accepted else 422)


async def _with_our_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Of every answer, also of those that aiohttp makes before it asks us: browsers trust the page alone."""
    response.headers.update(HEADERS)
