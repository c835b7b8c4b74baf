"""What each address of the status server answers."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import SecretStr
from yarl import URL

from tdbwatch.daemon.status import page
from tdbwatch.daemon.status.access import CHALLENGE, OPEN, shows
from tdbwatch.daemon.status.document import document
from tdbwatch.daemon.status.health import is_alive, problems
from tdbwatch.daemon.status.metrics import Metrics
from tdbwatch.daemon.status.snapshot import Snapshot

HEADERS: Final = {
    "Server": "tdbwatch",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": page.POLICY,
}
_NOT_OURS: Final = "421 the Host header names another host; http.hosts lists those that are ours\n"
_REFUSED: Final = "401 send http.token as `Authorization: Bearer`, or as the password of any user\n"
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Answers:
    """The status server's addresses. All are read only; none takes a body.

    Args:
        glance: the daemon as it is now, from memory alone.
        plugin_metrics: those of plugins, in Prometheus' text format.
        snapshot: the same, with fresh figures from the spool's file if the disk answers.
        is_ours: whether a `Host` header names us.
        token: what whoever asks must know; None: nothing.
        refused: told of a request of which the sender does not.
    """

    def __init__(
        self,
        glance: Callable[[], Snapshot],
        snapshot: Callable[[], Awaitable[Snapshot]],
        plugin_metrics: Callable[[], bytes],
        is_ours: Callable[[str], bool],
        token: Callable[[], SecretStr | None],
        refused: Callable[[str | None], None],
    ) -> None:
        self._glance = glance
        self._snapshot = snapshot
        self._plugin_metrics = plugin_metrics
        self._is_ours = is_ours
        self._token = token
        self._refused = refused
        self._metrics = Metrics()

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._hardened], client_max_size=1)
        application.on_response_prepare.append(_with_our_headers)
        application.router.add_get("/", self.page)
        application.router.add_get("/healthz", self.healthz)
        application.router.add_get("/readyz", self.readyz)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_get("/status.json", self.status)
        return application

    async def healthz(self, request: web.Request) -> web.Response:
        """Whether a restart would help: 200 while every part lives."""
        snapshot = self._glance()
        body: dict[str, Any] = {"alive": is_alive(snapshot)}
        if self._may(request):
            body["failure"] = snapshot.failure or snapshot.stalled
        return web.json_response(body, status=200 if body["alive"] else 503)

    async def readyz(self, request: web.Request) -> web.Response:
        """Whether events come in, are kept, and go out; why not, if not, for who may know."""
        found = problems(await self._snapshot())
        reasons = [asdict(problem) for problem in found if problem.blocking]
        body: dict[str, Any] = {"ready": not reasons}
        if self._may(request):
            warnings = [asdict(problem) for problem in found if not problem.blocking]
            body |= {"reasons": reasons, "warnings": warnings}
        return web.json_response(body, status=503 if reasons else 200)

    async def metrics(self, _: web.Request) -> web.Response:
        body = self._metrics.text(await self._snapshot()) + self._plugin_metrics()
        return web.Response(body=body, headers={"Content-Type": _METRICS_TYPE})

    async def status(self, _: web.Request) -> web.Response:
        return web.json_response(document(await self._snapshot()))

    async def page(self, _: web.Request) -> web.Response:
        return web.Response(text=page.render(await self._snapshot()), content_type="text/html")

    @web.middleware
    async def _hardened(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse bodies, other hosts' names, and whoever does not know the token."""
        if not all(map(self._is_ours, _hosts_of(request))):
            response: web.StreamResponse = web.Response(status=421, text=_NOT_OURS)
        elif request.body_exists:
            response = web.Response(status=413, text="no address here takes a body\n")
            response.force_close()
        elif request.path not in OPEN and not self._may(request):
            self._refused(request.remote)
            response = web.Response(status=401, text=_REFUSED, headers={"WWW-Authenticate": CHALLENGE})
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = web.Response(status=error.status, text=f"{error.status} {error.reason}\n")
                if allowed := error.headers.get("Allow"):
                    response.headers["Allow"] = allowed
        return response

    def _may(self, request: web.Request) -> bool:
        return shows(self._token(), request.headers.getall("Authorization", ()))


def _hosts_of(request: web.Request) -> Iterator[str]:
    """Every name by which a request asks for us: a request line may have one, too (RFC 9112, 3.2.2)."""
    yield from request.headers.getall("Host", ())
    if not request.raw_path.startswith("/"):
        yield URL(request.raw_path, encoded=True).raw_authority


async def _with_our_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Of every answer, also of those that aiohttp makes before it asks us: browsers trust the page alone."""
    response.headers.update(HEADERS)
