"""What the sinks' tests share: a context with a clock that stands still, and a real HTTP endpoint."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tdbwatch.plugin import SinkContext
from tdbwatch.sinks.file import FileOptions, FileSink
from tdbwatch.sinks.webhook import WebhookOptions, WebhookSink
from tdbwatch.testing import ManualClock


@dataclass
class Received:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _ok(_: web.Request) -> web.StreamResponse:
    return web.Response(status=200, text="ok")


@dataclass
class Endpoint:
    """A web server on loopback; `answer` says what it answers."""

    port: int = 0
    scheme: str = "http"
    answer: Answer = _ok
    received: list[Received] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    def answers(self, status: int, text: str = "", **headers: str) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, text=text, headers=named)

        self.answer = answer

    def answers_in_turn(self, *statuses: int) -> None:
        rest = list(statuses)

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=rest.pop(0))

        self.answer = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        request = request.clone(client_max_size=2**24)
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.method, request.raw_path, headers, body))
        self.connections.add(request.transport)
        return await self.answer(request)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
def certificate() -> tuple[str, str]:
    """The tests' own certificate for 127.0.0.1, and its key: its own authority."""
    folder = Path(__file__).parents[1] / "node" / "tls"
    return str(folder / "cert.pem"), str(folder / "key.pem")


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with serving() as made:
        yield made


@pytest.fixture
async def tls_endpoint(certificate: tuple[str, str]) -> AsyncIterator[Endpoint]:
    """An endpoint that speaks TLS and asks its clients for a certificate too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate[0])
    context.load_cert_chain(*certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    async with serving(context) as made:
        made.scheme = "https"
        yield made


@pytest.fixture
def opened(endpoint: Endpoint, clock: ManualClock) -> Callable[..., AbstractAsyncContextManager[WebhookSink]]:
    @asynccontextmanager
    async def opened(system_clock: bool = False, **options: Any) -> AsyncIterator[WebhookSink]:
        options.setdefault("url", endpoint.url)
        options.setdefault("timeout", "20s")
        checked = WebhookOptions.model_validate_json(json.dumps(options))
        context = SinkContext("hook") if system_clock else SinkContext("hook", clock=clock)
        sink = WebhookSink(checked, context)
        await sink.open()
        try:
            yield sink
        finally:
            await sink.close()

    return opened


@pytest.fixture
def make(tmp_path: Path, clock: ManualClock) -> Callable[..., FileSink]:
    def make(path: str = "{room}.jsonl", **options: Any) -> FileSink:
        checked = FileOptions.model_validate_json(json.dumps({"path": str(tmp_path / path), **options}))
        return FileSink(checked, SinkContext("audit", clock=clock))

    return make


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    made = Endpoint()
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture
def serving_with() -> Callable[[ssl.SSLContext], AbstractAsyncContextManager[Endpoint]]:
    """An endpoint for any TLS context."""
    return serving
