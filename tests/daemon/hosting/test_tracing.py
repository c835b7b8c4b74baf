"""Each call of a sink is a span, which webhooks, programs and plugins hand on."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from tdbwatch.daemon.config import load
from tdbwatch.daemon.hosting import tracing as module
from tdbwatch.daemon.hosting.hosts import InlineHost, ThreadHost
from tdbwatch.daemon.hosting.tracing import Tracing, tracing_from
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.node import Cluster
from tdbwatch.plugin import Event, Options, Rejected, Retry, Sink, SinkContext, trace_headers
from tdbwatch.plugin.sink import Verdict
from tdbwatch.redaction import redact


class Spans:
    """What was traced."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def spans() -> Spans:
    return Spans()


class Says(Sink):
    """Answers as it is told, and remembers what it would hand on."""

    handed_on: dict[str, str]

    def __init__(self, answer: Any) -> None:
        super().__init__(Options(), SinkContext("oncall"))
        self.answer = answer

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        self.handed_on = dict(trace_headers())
        if isinstance(self.answer, Exception):
            raise self.answer
        verdict: Verdict = self.answer
        return verdict


async def deliver(spans: Spans, sink: Says, *events: Event, host: Any = InlineHost) -> ReadableSpan:
    """The span of one call."""
    traced = spans.tracing.host(host(lambda: sink, name="oncall", timeout=5), "oncall", "pager")
    await traced.open()
    try:
        await traced.deliver(events)
    except ValueError:
        assert isinstance(sink.answer, ValueError), "what the sink raises goes on"
    finally:
        await traced.close(1)
    (span,) = spans.all()
    return span


def header_of(span: ReadableSpan) -> str:
    """As W3C's Trace Context has it."""
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@pytest.mark.parametrize("host", [InlineHost, ThreadHost])
async def test_a_call_is_a_span_by_the_conventions_and_handed_on(spans: Spans, host: Any) -> None:
    event, sink = Event.create("alerts", "disk-full", [91]), Says(None)
    span = await deliver(spans, sink, event, host=host)
    assert (span.name, span.kind, span.parent) == ("process alerts", SpanKind.CONSUMER, None)
    assert dict(span.attributes or {}) == {
        "messaging.system": "thingsdb",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "alerts",
        "messaging.consumer.group.name": "oncall",
        "messaging.message.id": event.id,
        "tdbwatch.scope": "//stuff",
        "tdbwatch.sink.type": "pager",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert sink.handed_on == {"traceparent": header_of(span)}
    assert trace_headers() == {}, "only while it delivers"


async def test_a_batch_of_several_rooms_is_one_span_that_names_none(spans: Spans) -> None:
    span = await deliver(spans, Says(None), Event.create("a"), Event.create("b"))
    assert span.name == "process"
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 2
    assert not {"messaging.destination.name", "messaging.message.id"} & set(span.attributes)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Retry("busy"), "retry", "busy"),
        ([None, Rejected("no")], "VerdictError", "NoneType"),
        (ValueError("token Geheim-1-2-3 is bad"), "ValueError", "token ********** is bad"),
        (Rejected("no such service"), "rejected", "no such service"),
    ],
)
async def test_what_was_not_delivered_is_an_error_and_shows_no_secret(
    spans: Spans, answer: Any, kind: str, said: str
) -> None:
    redact.remember(["Geheim-1-2-3"])
    try:
        span = await deliver(spans, Says(answer), Event.create("a"), Event.create("a"))
    finally:
        redact.forget()
    assert span.status.status_code is StatusCode.ERROR
    assert said in (span.status.description or "")
    assert (span.attributes or {})["error.type"] == kind
    assert span.events == (), "no traceback: it may show what events hold"


@pytest.fixture
async def received() -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """A webhook's url, and the headers that came there: the first request fails."""
    headers: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        headers.append(dict(request.headers))
        return web.Response(status=503 if len(headers) == 1 else 204)

    application = web.Application()
    application.router.add_post("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/", headers
    await runner.cleanup()


async def test_a_webhook_and_a_program_go_on_from_the_span_of_their_attempt(
    spans: Spans, received: tuple[str, list[dict[str, str]]], tmp_path: Path
) -> None:
    url, headers = received
    async with Cluster(1) as cluster:
        cluster.add_room("//stuff", "alerts")
        config = {
            "thingsdb": {
                "nodes": [cluster.nodes[0].address],
                "auth": {"username": "admin", "password": "pass"},
            },
            "rooms": ["alerts"],
            "sinks": {
                "hook": {"type": "webhook", "url": url, "retry": {"initial": "10ms"}},
                "program": {"type": "exec", "command": ["sh", "-c", f"echo $TRACEPARENT > {tmp_path}/seen"]},
            },
            "spool": {"path": str(tmp_path / "spool.db")},
            "shutdown": {"grace": "1s"},
        }
        (tmp_path / "watch.yaml").write_text(json.dumps(config))
        registry = load_plugins((), ())
        daemon = Daemon(load(tmp_path / "watch.yaml", registry.sink_types), registry, tracing=spans.tracing)
        try:
            await daemon.start()
            cluster.emit("//stuff", "alerts", "disk-full")
            async with asyncio.timeout(20):
                while not daemon.received:
                    await asyncio.sleep(0.005)
                await daemon.drained()
        finally:
            await daemon.stop()
    of = {"hook": list[ReadableSpan](), "program": list[ReadableSpan]()}
    for span in spans.all():
        of[str((span.attributes or {})["messaging.consumer.group.name"])].append(span)
    assert [each["traceparent"] for each in headers] == [header_of(span) for span in of["hook"]]
    assert [span.status.status_code for span in of["hook"]] == [StatusCode.ERROR, StatusCode.UNSET]
    assert (tmp_path / "seen").read_text().strip() == header_of(of["program"][0])


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_SERVICE_NAME": "x"},
    ],
)
def test_nothing_is_traced_that_nobody_asks_for(environ: dict[str, str]) -> None:
    with capture_logs() as logs:
        assert tracing_from(environ) is None
    assert logs == []


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def test_spans_go_where_the_variables_say(bare_environment: pytest.MonkeyPatch) -> None:
    bodies: list[bytes] = []

    async def collect(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(body=b"", content_type="application/x-protobuf")

    application = web.Application()
    application.router.add_post("/v1/traces", collect)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    bare_environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    bare_environment.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    try:
        with capture_logs() as logs:
            tracing = tracing_from(os.environ)
        assert [line["event"] for line in logs] == ["tracing.on"]
        assert tracing is not None
        sink = Says(None)
        host = tracing.host(InlineHost(lambda: sink, name="oncall", timeout=5), "oncall", "pager")
        await host.open()
        await host.deliver([Event.create("alerts")])
        await tracing.close()
    finally:
        await runner.cleanup()
    (body,) = bodies
    span_id = bytes.fromhex(sink.handed_on["traceparent"].split("-")[2])
    assert span_id in body
    assert b"process alerts" in body
    assert b"service.name" in body
    assert b"tdbwatch" in body


async def test_who_takes_no_spans_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH", 0.01)

    goes_on = threading.Event()

    class Hangs(TracerProvider):
        def shutdown(self) -> None:
            goes_on.wait(20)

    with capture_logs() as logs:
        await Tracing(Hangs(shutdown_on_exit=False)).close()
    goes_on.set()
    assert [line["event"] for line in logs] == ["tracing.spans_lost"]


@pytest.mark.parametrize("missing", ["an exporter", "the SDK"])
def test_what_is_not_installed_is_said_and_events_flow_without(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    name = "otlp"
    if missing == "the SDK":
        monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    else:
        name = "zipkin"
    with capture_logs() as logs:
        assert tracing_from({"OTEL_TRACES_EXPORTER": name}) is None
    (line,) = logs
    assert line["event"] == "tracing.unusable"
    assert "tdbwatch[otel]" in line["remedy"]
