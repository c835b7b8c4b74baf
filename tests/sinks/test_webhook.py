"""The webhook sink against a real HTTP server."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
import standardwebhooks
from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from pydantic import ValidationError

from tdbwatch.plugin import DELIVERED, Event, Outcome, Rejected, Retry, SinkContext
from tdbwatch.sinks.webhook import WebhookOptions, WebhookSink
from tdbwatch.testing import ManualClock

WHSEC = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "c2Vjb25kLWtleS1vZi10aGUtcm90YXRpb24="

Opened = Callable[..., AbstractAsyncContextManager[WebhookSink]]


def events(count: int) -> list[Event]:
    return [Event.create("alerts", f"disk-{n}", [f"db{n}", 90 + n]) for n in range(count)]


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Retry | Rejected)
    return outcome.reason


@pytest.fixture
def opened(endpoint: Any, clock: ManualClock) -> Opened:
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


async def test_a_record_is_sent_as_it_is_with_its_id(
    endpoint: Any, opened: Opened, clock: ManualClock
) -> None:
    event = Event.create("alerts", "disk-full", ["db1", b"\x00"])
    async with opened(headers={"X-Team": "ops"}) as sink:
        assert await sink.deliver([event]) == [DELIVERED]
    (request,) = endpoint.received
    assert (request.method, request.path, request.body) == ("POST", "/hook", event.json())
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == event.id
    assert request.headers["webhook-timestamp"] == str(int(clock.time()))
    assert request.headers["x-team"] == "ops"
    assert request.headers["user-agent"].startswith("tdbwatch/")
    assert "webhook-signature" not in request.headers


async def test_events_go_one_by_one_in_order_over_one_connection(endpoint: Any, opened: Opened) -> None:
    batch = events(5)
    async with opened(method="PUT") as sink:
        assert await sink.deliver(batch) == [DELIVERED] * 5
    assert [request.headers["webhook-id"] for request in endpoint.received] == [event.id for event in batch]
    assert {request.method for request in endpoint.received} == {"PUT"}
    assert len(endpoint.connections) == 1


async def test_delivery_stops_at_the_first_event_to_be_tried_again(endpoint: Any, opened: Opened) -> None:
    endpoint.answers_in_turn(200, 422, 503)
    async with opened() as sink:
        outcomes = await sink.deliver(events(5))
    assert [type(outcome).__name__ for outcome in outcomes] == ["Delivered", "Rejected", "Retry"]
    assert len(endpoint.received) == 3


ALWAYS_AGAIN = {408, 410, 425, 429}


@pytest.mark.parametrize(
    "status", [*range(200, 227), 299, *range(300, 309), *range(400, 452), *range(500, 512), 599]
)
async def test_every_status_has_its_outcome(endpoint: Any, opened: Opened, status: int) -> None:
    endpoint.answers(status)
    async with opened() as sink:
        (outcome,) = await sink.deliver(events(1))
    if status < 300:
        assert outcome == DELIVERED
    elif status in ALWAYS_AGAIN or (status >= 500 and status != 501):
        assert isinstance(outcome, Retry)
        assert f"HTTP {status}" in outcome.reason
    else:
        assert isinstance(outcome, Rejected)
        assert f"HTTP {status}" in outcome.reason


async def test_listed_statuses_are_tried_again(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(403)
    async with opened(retry_status=[403]) as sink:
        (outcome,) = await sink.deliver(events(1))
    assert outcome == Retry("HTTP 403")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("9" * 15, 3600.0),
        (format_datetime(datetime.fromtimestamp(1_800_000_090, UTC), usegmt=True), 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("soon", None),
        ("-5", None),
        ("Thu, 99 Foo 99999 99:99:99 GMT", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_obeyed_in_both_forms_and_capped(
    endpoint: Any, opened: Opened, status: int, value: str, seconds: float | None
) -> None:
    endpoint.answers(status, Retry_After=value)
    async with opened() as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Retry)
    assert outcome.after == seconds


async def test_a_wait_that_was_asked_for_holds_for_every_event(
    endpoint: Any, opened: Opened, clock: ManualClock
) -> None:
    endpoint.answers(429, Retry_After="60")
    async with opened() as sink:
        await sink.deliver(events(1))
        endpoint.answers(200)
        await clock.advance(20)
        (outcome,) = await sink.deliver(events(2))
        assert isinstance(outcome, Retry)
        assert outcome.after == pytest.approx(40)
        assert len(endpoint.received) == 1
        await clock.advance(40)
        assert await sink.deliver(events(1)) == [DELIVERED]


async def test_410_pauses_the_sink_and_says_so(endpoint: Any, opened: Opened, clock: ManualClock) -> None:
    endpoint.answers(410)
    async with opened() as sink:
        (outcome,) = await sink.deliver(events(1))
        assert isinstance(outcome, Retry)
        assert outcome.after == 3600
        assert "paused" in outcome.reason
        await clock.advance(1800)
        (outcome,) = await sink.deliver(events(1))
        assert "paused" in reason(outcome)
    assert len(endpoint.received) == 1


async def test_redirects_are_not_followed(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(302, Location=endpoint.url + "/elsewhere")
    async with opened() as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Rejected)
    assert "redirects are not followed" in outcome.reason
    assert len(endpoint.received) == 1


async def test_the_beginning_of_a_refusals_body_is_shown(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(400, text="no such channel" + "x" * 5000)
    async with opened() as sink:
        (outcome,) = await sink.deliver(events(1))
    assert "no such channel" in reason(outcome)
    assert len(reason(outcome)) < 1200


async def test_nobody_listening_is_tried_again(opened: Opened, closed_port: int) -> None:
    async with opened(url=f"http://127.0.0.1:{closed_port}/secret-path-token") as sink:
        (outcome,) = await sink.deliver(events(3))
    assert isinstance(outcome, Retry)
    assert f"127.0.0.1:{closed_port}" in outcome.reason
    assert "secret-path-token" not in outcome.reason


async def test_a_name_that_does_not_resolve_is_tried_again(opened: Opened) -> None:
    async with opened(url="http://no-such-host.invalid/") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Retry)


async def test_no_answer_within_the_timeout_is_tried_again(endpoint: Any, opened: Opened) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    endpoint.answer = never
    async with opened(timeout="200ms") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Retry)
    assert "no answer within 0.18 s" in outcome.reason


async def test_a_slow_body_does_not_undo_the_status(endpoint: Any, opened: Opened) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.Event().wait()
        raise AssertionError

    endpoint.answer = slow
    async with opened(timeout="300ms") as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]


@pytest.mark.parametrize("status", [200, 400])
async def test_an_endless_body_is_cut_short(endpoint: Any, opened: Opened, status: int) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while True:
            await response.write(b"spam" * 4096)
            sent += 4 * 4096

    endpoint.answer = endless
    async with opened(timeout="60s") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert outcome == DELIVERED if status == 200 else len(reason(outcome)) < 1200
    assert sent < 50_000_000


async def test_a_reset_connection_is_tried_again(opened: Opened) -> None:
    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.close()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    async with server, opened(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Retry)


async def test_what_is_not_http_is_tried_again(opened: Opened) -> None:
    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server, opened(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Retry)


async def test_what_there_is_no_time_for_is_left_for_the_next_call(
    endpoint: Any, opened: Opened, clock: ManualClock
) -> None:
    async def slow(_: web.Request) -> web.StreamResponse:
        await clock.advance(6)
        return web.Response()

    endpoint.answer = slow
    async with opened(timeout="20s") as sink:
        assert await sink.deliver(events(5)) == [DELIVERED] * 2


@pytest.mark.parametrize("secret", [WHSEC, WHSEC.rstrip("="), "just a raw secret of some length"])
async def test_signatures_verify_with_the_public_library(endpoint: Any, opened: Opened, secret: str) -> None:
    event = Event.create("alerts", "überlauf", ["dät"])
    async with opened(system_clock=True, secret=secret) as sink:
        assert await sink.deliver([event]) == [DELIVERED]
    (request,) = endpoint.received
    verifier = standardwebhooks.Webhook(secret if secret.startswith("whsec_") else secret.encode())
    assert verifier.verify(request.body, request.headers) == event.record()
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(OTHER).verify(request.body, request.headers)


async def test_while_secrets_change_both_verify(endpoint: Any, opened: Opened) -> None:
    async with opened(system_clock=True, secret=[OTHER, WHSEC], format="batch") as sink:
        await sink.deliver(events(3))
    (request,) = endpoint.received
    for secret in (WHSEC, OTHER):
        assert len(standardwebhooks.Webhook(secret).verify(request.body, request.headers)) == 3


async def test_every_attempt_carries_the_same_id_and_its_own_time(
    endpoint: Any, opened: Opened, clock: ManualClock
) -> None:
    endpoint.answers_in_turn(503, 200)
    batch = events(1)
    async with opened(secret=WHSEC) as sink:
        await sink.deliver(batch)
        await clock.advance(100)
        await sink.deliver(batch)
    first, second = endpoint.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 100
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


@pytest.mark.parametrize("form", ["cloudevents", "cloudevents-binary"])
@pytest.mark.parametrize("source", [None, "urn:example:ops"])
async def test_cloudevents_parse_with_the_public_library(
    endpoint: Any, opened: Opened, form: str, source: str | None
) -> None:
    event = Event.create('alärms "1" 100%', "disk full\n", ["db1", 91], scope="//stuff", room_id=3)
    async with opened(format=form, source=source) as sink:
        assert await sink.deliver([event]) == [DELIVERED]
    (request,) = endpoint.received
    parsed = from_http_event(HTTPMessage(request.headers, request.body))
    assert parsed.get_id() == event.id
    assert parsed.get_source() == (source or "tdbwatch://stuff")
    assert parsed.get_type() == "tdbwatch.event.disk full\n"
    assert parsed.get_subject() == 'alärms "1" 100%'
    assert parsed.get_time() == event.time
    assert parsed.get_specversion() == "1.0"
    assert parsed.get_datacontenttype() == "application/json"
    assert parsed.get_data() == event.record()


async def test_a_record_without_names_makes_a_valid_cloudevent(endpoint: Any, opened: Opened) -> None:
    gap = Event.create(
        "", "", kind="gap", scope="//stuff", details={"reason": "reconnected", "dropped": None}
    )
    async with opened(format="cloudevents") as sink:
        await sink.deliver([gap])
    (request,) = endpoint.received
    parsed = from_http_event(HTTPMessage(request.headers, request.body))
    assert parsed.get_type() == "tdbwatch.gap"
    assert parsed.get_subject() is None
    assert parsed.get_data()["reason"] == "reconnected"


async def test_a_batch_of_cloudevents_parses_one_by_one(endpoint: Any, opened: Opened) -> None:
    batch = events(3)
    async with opened(format="cloudevents-batch") as sink:
        assert await sink.deliver(batch) == [DELIVERED] * 3
    (request,) = endpoint.received
    assert request.headers["content-type"] == "application/cloudevents-batch+json"
    for event, item in zip(batch, json.loads(request.body), strict=True):
        message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(item).encode())
        assert from_http_event(message).get_id() == event.id


async def test_a_batch_of_records_is_an_array_with_an_id_of_its_own(endpoint: Any, opened: Opened) -> None:
    batch = events(3)
    async with opened(format="batch") as sink:
        assert await sink.deliver(batch) == [DELIVERED] * 3
        assert await sink.deliver(batch) == [DELIVERED] * 3
        assert await sink.deliver(batch[:2]) == [DELIVERED] * 2
        assert await sink.deliver(batch[:1]) == [DELIVERED]
    ids = [request.headers["webhook-id"] for request in endpoint.received]
    assert json.loads(endpoint.received[0].body) == [event.record() for event in batch]
    assert ids[0] == ids[1] != ids[2]
    assert ids[3] == batch[0].id
    assert all("." not in one for one in ids)


async def test_a_batch_to_be_tried_again_is_so_as_a_whole(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(503)
    async with opened(format="batch") as sink:
        assert await sink.deliver(events(3)) == [Retry("HTTP 503")] * 3
    assert len(endpoint.received) == 1


async def test_one_poison_event_does_not_take_its_batch_with_it(endpoint: Any, opened: Opened) -> None:
    batch = events(8)
    taken: list[str] = []

    async def picky(request: web.Request) -> web.StreamResponse:
        ids = [item["id"] for item in json.loads(await request.read())]
        if batch[5].id in ids:
            return web.Response(status=400, text="bad item")
        taken.extend(ids)
        return web.Response()

    endpoint.answer = picky
    async with opened(format="batch") as sink:
        outcomes = await sink.deliver(batch)
    assert outcomes == [Rejected("HTTP 400: bad item") if n == 5 else DELIVERED for n in range(8)]
    assert taken == [event.id for n, event in enumerate(batch) if n != 5]


async def test_a_batch_refused_for_its_credentials_is_not_taken_apart(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(401)
    async with opened(format="batch") as sink:
        assert await sink.deliver(events(4)) == [Rejected("HTTP 401")] * 4
    assert len(endpoint.received) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"auth": {"basic": {"username": "ü", "password": "pä:ss"}}}, "Basic w7w6cMOkOnNz"),
        ({"auth": {"bearer": "tok"}}, "Bearer tok"),
        ({"headers": {"Authorization": "Custom x"}}, "Custom x"),
    ],
)
async def test_it_proves_itself(
    endpoint: Any, opened: Opened, options: dict[str, Any], expected: str
) -> None:
    async with opened(**options) as sink:
        await sink.deliver(events(1))
    assert endpoint.received[0].headers["authorization"] == expected


async def test_user_and_password_of_the_url_are_sent_as_a_header(endpoint: Any, opened: Opened) -> None:
    async with opened(url=endpoint.url.replace("http://", "http://us%40er:pw@") + "?k=v%20w") as sink:
        await sink.deliver(events(1))
    assert endpoint.received[0].headers["authorization"] == "Basic dXNAZXI6cHc="
    assert endpoint.received[0].path == "/hook?k=v%20w"


async def test_a_proxy_gets_the_request_and_its_own_credentials(endpoint: Any, opened: Opened) -> None:
    proxy = endpoint.url.replace("http://", "http://proxy-user:proxy-pass@").removesuffix("/hook")
    async with opened(url="http://hooks.example.org/hook", proxy=proxy) as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]
    (request,) = endpoint.received
    assert request.headers["host"] == "hooks.example.org"
    assert request.headers["proxy-authorization"] == "Basic cHJveHktdXNlcjpwcm94eS1wYXNz"


async def test_a_proxy_that_fails_is_tried_again(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(407)
    async with opened(url="https://hooks.example.org/hook", proxy=endpoint.url.removesuffix("/hook")) as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Retry)


SECRETS = [
    "sesame-user",
    "sesame-pass",
    "sesame-query",
    "sesame-header",
    "sesame-bearer",
    "sesame-in-the-path",
]


async def test_no_secret_is_in_a_reason_a_repr_or_an_error(endpoint: Any, opened: Opened) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        said = f"{request.raw_path} {dict(request.headers)} whsec_c2VzYW1lLXNpZ25pbmcta2V5LWtleQ=="
        return web.Response(status=400, text=said)

    endpoint.answer = echo
    url = endpoint.url.replace("http://", "http://sesame-user:sesame-pass@")
    async with opened(
        url=f"{url}/sesame-in-the-path?key=sesame-query",
        headers={"X-Key": "sesame-header"},
        secret="whsec_c2VzYW1lLXNpZ25pbmcta2V5LWtleQ==",
        proxy=None,
    ) as sink:
        (outcome,) = await sink.deliver(events(1))
        shown = reason(outcome) + repr(sink.options) + str(sink.options) + repr(sink.__dict__)
    assert "***" in reason(outcome)
    for secret in [*SECRETS, "c2VzYW1l", "c2VzYW1lLXVzZXI6c2VzYW1lLXBhc3M"]:
        assert secret not in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "ftp://sesame"}, "not an HTTP URL"),
        ({"url": "sesame"}, "not an HTTP URL"),
        ({"url": "http://[sesame"}, "not a URL"),
        ({"proxy": "socks5://sesame"}, "not an HTTP URL"),
        ({"secret": "whsec_se!same"}, "not base64"),
        ({"secret": ""}, "empty"),
        ({"secret": []}, "empty"),
        ({"headers": {"a b": "sesame"}}, "cannot be the name of a header"),
        ({"headers": {"X": "sesame\r\nY: z"}}, "control character"),
        ({"headers": {"Webhook-Id": "sesame"}}, "set by tdbwatch"),
        ({"headers": {"ce-type": "sesame"}}, "set by tdbwatch"),
        ({"auth": {}}, "either basic or bearer"),
        (
            {"auth": {"bearer": "sesame", "basic": {"username": "a", "password": "b"}}},
            "either basic or bearer",
        ),
        ({"auth": {"bearer": "sesame"}, "url": "http://user:sesame@host/"}, "one of them"),
        ({"auth": {"bearer": "sesame"}, "headers": {"authorization": "sesame"}}, "one of them"),
        ({"tls": {"key_file": "k.pem"}}, "key_file without cert_file"),
        ({"retry_status": [200]}, "300"),
        ({"timeout": "0s"}, "greater than 0"),
        ({"format": "xml"}, "record"),
        ({"source": ""}, "at least 1"),
    ],
)
def test_options_that_cannot_work_are_refused_without_showing_a_secret(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookOptions.model_validate_json(json.dumps({"url": "http://host/", **options}))
    assert said in str(refused.value)
    assert "sesame" not in str(refused.value)


async def test_the_receivers_certificate_is_verified_and_ours_is_shown(
    tls_endpoint: Any, opened: Opened, certificate: tuple[str, str]
) -> None:
    cert, key = certificate
    tls = {"ca_file": cert, "cert_file": cert, "key_file": key}
    async with opened(url=tls_endpoint.url, tls=tls) as sink:
        assert await sink.deliver(events(2)) == [DELIVERED] * 2
    async with opened(url=tls_endpoint.url, tls={**tls, "ca_file": None}) as sink:
        (outcome,) = await sink.deliver(events(1))
        assert isinstance(outcome, Retry)
        assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason
    async with opened(url=tls_endpoint.url, tls={"ca_file": cert}) as sink:
        (outcome,) = await sink.deliver(events(1))
        assert isinstance(outcome, Retry)
    async with opened(url=tls_endpoint.url, tls={**tls, "ca_file": None, "verify": False}) as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]
    assert len(tls_endpoint.received) == 3


async def test_a_proxy_is_asked_to_connect_with_its_credentials_only(
    tls_endpoint: Any, opened: Opened, certificate: tuple[str, str]
) -> None:
    asked: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        there, back = await asyncio.open_connection("127.0.0.1", tls_endpoint.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    cert, key = certificate
    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with (
        proxy,
        opened(
            url=tls_endpoint.url,
            headers={"X-Key": "sesame"},
            auth={"bearer": "sesame"},
            proxy=f"http://proxy-user:proxy-pass@127.0.0.1:{proxy.sockets[0].getsockname()[1]}",
            tls={"ca_file": cert, "cert_file": cert, "key_file": key},
        ) as sink,
    ):
        assert await sink.deliver(events(1)) == [DELIVERED]
    (request,) = asked
    assert request.startswith(f"CONNECT 127.0.0.1:{tls_endpoint.port}".encode())
    assert b"Basic cHJveHktdXNlcjpwcm94eS1wYXNz" in request
    assert b"sesame" not in request
    assert tls_endpoint.received[0].headers["authorization"] == "Bearer sesame"
    assert "proxy-authorization" not in tls_endpoint.received[0].headers


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_a_certificate_that_cannot_be_read_is_said_at_opening(tmp_path: Any) -> None:
    options = {"url": "https://host/", "tls": {"cert_file": str(tmp_path / "none.pem")}}
    sink = WebhookSink(WebhookOptions.model_validate_json(json.dumps(options)), SinkContext("hook"))
    with pytest.raises(OSError, match=r"none\.pem"):
        await sink.open()


async def test_opening_again_and_closing_twice_are_fine(endpoint: Any, opened: Opened) -> None:
    async with opened() as sink:
        await sink.open()
        assert await sink.deliver(events(1)) == [DELIVERED]
        await sink.close()
        await sink.close()
