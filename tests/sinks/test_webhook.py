"""The webhook sink against a real HTTP server: what each answer, or none, means."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from tdbwatch.plugin import DELIVERED, Event, Rejected, Retry
from tdbwatch.sinks.webhook import transport
from tdbwatch.testing import ManualClock
from tests.passing import let_pass

from .webhook_bench import Opened, events, reason


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
    assert request.headers["accept-encoding"] == "identity"  # so that a refusal can be shown
    assert "webhook-signature" not in request.headers


async def test_a_huge_event_is_sent_whole(endpoint: Any, opened: Opened) -> None:
    event = Event.create("alerts", "core-dump", ["x" * 3_000_000])
    async with opened() as sink:
        assert await sink.deliver([event]) == [DELIVERED]
    (request,) = endpoint.received
    assert request.body == event.json()
    assert request.headers["content-length"] == str(len(request.body))
    assert request.headers["content-type"] == "application/json"


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


ALWAYS_AGAIN = {401, 403, 408, 410, 425, 429}


async def test_every_status_has_its_outcome(endpoint: Any, opened: Opened) -> None:
    async with opened() as sink:
        for status in range(200, 600):
            endpoint.answers(status)
            answer = await sink.deliver(events(1))
            outcome = answer if isinstance(answer, Retry) else answer[0]
            again = status in ALWAYS_AGAIN or (status >= 500 and status != 501)
            if status < 300:
                assert outcome == DELIVERED
            else:
                assert isinstance(outcome, Retry if again else Rejected), status
                assert f"HTTP {status}" in reason(outcome)


async def test_listed_statuses_are_tried_again(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(403)
    async with opened(retry_status=[403]) as sink:
        (outcome,) = await sink.deliver(events(1))
    assert outcome == Retry("HTTP 403")


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own zone is not UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("9" * 15, 3600.0),
        ("9" * 5000, 3600.0),
        (format_datetime(datetime.fromtimestamp(1_800_000_090, UTC), usegmt=True), 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("Friday, 15-Jan-27 08:01:30 GMT", 90.0),  # RFC 850's form, which receivers may still send
        ("Fri Jan 15 08:01:30 2027", 90.0),  # asctime's, which names no zone and means UTC
        ("Fri, 15 Jan 2027 13:01:30 +0500", 90.0),
        ("1.5", None),
        ("1e3", None),
        ("inf", None),
        ("٣", None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("Thu, 99 Foo 99999 99:99:99 GMT", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_obeyed_in_both_forms_and_capped(
    endpoint: Any, opened: Opened, in_new_york: None, status: int, value: str, seconds: float | None
) -> None:
    now = format_datetime(datetime.fromtimestamp(1_800_000_000, UTC), usegmt=True)
    endpoint.answers(status, Retry_After=value, Date=now)
    async with opened() as sink:
        outcome = await sink.deliver(events(1))
    expected = Retry(f"HTTP {status}", seconds)
    assert outcome == ([expected] if seconds is None else expected), "with a wait it is about the sink"


@pytest.mark.parametrize(
    ("said_at", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 30.0),
        ("nonsense", 0.0),
    ],
)
async def test_a_date_to_wait_for_is_measured_by_the_clock_of_who_named_it(
    endpoint: Any, opened: Opened, said_at: str, seconds: float
) -> None:
    endpoint.answers(503, Retry_After="Thu, 01 Jan 1970 00:01:30 GMT", Date=said_at)
    async with opened() as sink:
        assert await sink.deliver(events(1)) == Retry("HTTP 503", seconds)


async def test_a_wait_that_was_asked_for_holds_for_every_event(
    endpoint: Any, opened: Opened, clock: ManualClock
) -> None:
    endpoint.answers(429, Retry_After="60")
    async with opened() as sink:
        await sink.deliver(events(1))
        endpoint.answers(200)
        await clock.advance(20)
        outcome = await sink.deliver(events(2))
        assert isinstance(outcome, Retry)
        assert outcome.after == pytest.approx(40)
        assert len(endpoint.received) == 1
        await clock.advance(40)
        assert await sink.deliver(events(1)) == [DELIVERED]


async def test_410_asks_for_a_pause_of_an_hour(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(410)
    async with opened() as sink:
        outcome = await sink.deliver(events(2))
    assert outcome == Retry("HTTP 410 (the receiver wants no more events)", after=3600, pause=True)
    assert len(endpoint.received) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "HTTP 401: no (the receiver does not accept our credentials)"),
        (403, "HTTP 403: no (the receiver forbids it: are our credentials still right?)"),
    ],
)
async def test_a_token_that_was_rotated_pauses_the_sink_and_loses_nothing(
    endpoint: Any, opened: Opened, status: int, said: str
) -> None:
    endpoint.answers(status, "no")
    async with opened() as sink:
        assert await sink.deliver(events(3)) == Retry(said, after=300, pause=True)
        endpoint.answers(status, "no", **{"Retry-After": "900"})
        assert await sink.deliver(events(1)) == Retry(said, after=900, pause=True)
        endpoint.answers(200)
        assert await sink.deliver(events(1)) == [DELIVERED]


async def test_what_pauses_is_configurable(endpoint: Any, opened: Opened) -> None:
    async with opened(pause_status=[404]) as sink:
        for status, expected in ((401, Rejected), (403, Rejected), (410, Rejected), (404, Retry)):
            endpoint.answers(status)
            answer = await sink.deliver(events(1))
            assert isinstance(answer if isinstance(answer, Retry) else answer[0], expected)


async def test_an_event_that_is_forbidden_among_others_that_are_not_becomes_a_dead_letter(
    endpoint: Any, opened: Opened
) -> None:
    endpoint.answers_in_turn(200, 403, 200, 403, 403, 200)
    async with opened() as sink:
        outcomes = await sink.deliver(events(6))
    assert [type(outcome).__name__ for outcome in outcomes] == ["Delivered", "Rejected", "Delivered", "Retry"]
    assert reason(outcomes[1]).endswith("; others are accepted")
    assert len(endpoint.received) == 5


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
async def test_redirects_are_not_followed(endpoint: Any, opened: Opened, status: int) -> None:
    endpoint.answers(status, Location=endpoint.url + "/elsewhere")
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
    assert outcome.reason == f"http://127.0.0.1:{closed_port}/...: cannot connect: Connection refused"


async def test_a_name_that_does_not_resolve_is_tried_again(opened: Opened) -> None:
    async with opened(url="http://no-such-host.invalid/hook") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("http://no-such-host.invalid/...: cannot connect: ")
    assert "object at" not in outcome.reason


async def test_a_receiver_without_tls_and_a_proxy_that_is_down_are_named(
    endpoint: Any, opened: Opened, closed_port: int
) -> None:
    for options, why in (
        (
            {"url": endpoint.url.replace("http://", "https://")},
            "TLS fails: wrong version number; it speaks no ",
        ),
        ({"proxy": f"http://127.0.0.1:{closed_port}"}, "cannot connect to the proxy: Connection refused"),
    ):
        async with opened(**options) as sink:
            (outcome,) = await sink.deliver(events(1))
        assert isinstance(outcome, Retry)
        assert outcome.reason.partition("/...: ")[2].startswith(why)


async def test_a_name_that_takes_for_ever_holds_up_no_other_sink(
    endpoint: Any, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # as if others filled the rest
    begun, released, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def look_up(host: str, *args: Any, **options: Any) -> Any:
        if host != "hangs.example.org":
            return real(host, *args, **options)
        begun.set()
        released.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with (
        opened(url="http://hangs.example.org/") as sick,
        opened(url=endpoint.url.replace("127.0.0.1", "localhost")) as healthy,
    ):
        waiting = asyncio.create_task(sick.deliver(events(1)))
        while not begun.is_set():
            await asyncio.sleep(0)
        assert await healthy.deliver(events(1)) == [DELIVERED]
        released.set()
        (outcome,) = await waiting
    assert "Temporary failure in name resolution" in reason(outcome)


async def test_no_answer_within_the_timeout_is_tried_again(endpoint: Any, opened: Opened) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    endpoint.answer = never
    async with opened(timeout="200ms") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Retry)
    assert "no answer within 0.18 s" in outcome.reason


async def trickle(request: web.Request) -> web.StreamResponse:
    """Begins a body and never ends it."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"x")
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_slow_body_does_not_undo_the_status(
    endpoint: Any, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = transport._excerpt

    async def long_after_the_head(response: Any, deadline: float) -> tuple[bytes, bool]:
        let_pass(60)
        return await read(response, deadline)

    endpoint.answer = trickle
    monkeypatch.setattr(transport, "_BODY_SECONDS", 3600.0)
    monkeypatch.setattr(transport, "_excerpt", long_after_the_head)
    async with opened(timeout="60s") as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]


async def test_a_body_that_trickles_holds_up_the_next_event_for_a_moment_only(
    endpoint: Any, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.answer = trickle
    monkeypatch.setattr(transport, "_BODY_SECONDS", 0.1)
    async with opened(timeout="1h") as sink:
        assert await sink.deliver(events(3)) == [DELIVERED] * 3


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
