"""The webhook sink against servers that keep to no rule: raw sockets that answer what they like."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from tdbwatch.plugin import DELIVERED, Event, Outcome, Rejected, Retry
from tdbwatch.sinks.webhook import WebhookSink, transport
from tdbwatch.sinks.webhook.addresses import parse_url
from tdbwatch.sinks.webhook.receiving import Receiver
from tdbwatch.sinks.webhook.resolving import Resolver

Opened = Callable[..., AbstractAsyncContextManager[WebhookSink]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def events(count: int) -> list[Event]:
    return [Event.create("alerts", f"disk-{n}", [f"db{n}", 90 + n]) for n in range(count)]


@asynccontextmanager
async def talking(talk: Talk, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """A server that does what `talk` does with each connection, and its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, host, 0)
    async with server:
        yield f"http://{f'[{host}]' if ':' in host else host}:{server.sockets[0].getsockname()[1]}/hook"


async def read_request(reader: asyncio.StreamReader) -> dict[str, str]:
    """The headers of one request; its body is read too."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])
    }
    await reader.readexactly(int(headers["content-length"]))
    return headers


def answering(data: bytes) -> Talk:
    """Answers one request, then closes the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(data)
        await writer.drain()

    return talk


def flooding(beginning: bytes, piece: bytes) -> Talk:
    """Answers with `piece` again and again, for as long as somebody listens."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(beginning)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return talk


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Retry | Rejected)
    return outcome.reason


async def test_a_connection_that_the_receiver_closes_after_each_answer_costs_no_attempt(
    opened: Opened,
) -> None:
    async with talking(answering(OK)) as url, opened(url=url) as sink:
        assert await sink.deliver(events(20)) == [DELIVERED] * 20


async def test_a_connection_closed_just_as_it_is_used_again_costs_no_attempt(opened: Opened) -> None:
    seen: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for last in (False, True):
            seen.append((await read_request(reader))["webhook-id"])
            if not last:
                writer.write(OK)

    batch = events(3)
    async with talking(talk) as url, opened(url=url) as sink:
        assert await sink.deliver(batch) == [DELIVERED] * 3
    first, second, third = (event.id for event in batch)
    assert seen == [first, second, second, third, third]


@pytest.mark.parametrize(
    "unasked", [b"HTTP/1.1 408 Timeout\r\n", b"HTTP/1.1 400 No\r\n", b"HTTP/1.1 200 OK\r\n"]
)
async def test_what_the_receiver_says_unasked_is_no_answer_to_the_next_event(
    opened: Opened, unasked: bytes
) -> None:
    """Some say so on a connection that was idle for long, before they close it."""
    seen: list[str] = []
    said = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append((await read_request(reader))["webhook-id"])
            writer.write(OK)
            await said.wait()  # until the answer was read, and its connection put back
            writer.write(unasked + b"Content-Length: 0\r\n\r\n")
            await writer.drain()

    batch = events(2)
    async with talking(talk) as url, opened(url=url) as sink:
        assert await sink.deliver(batch[:1]) == [DELIVERED]
        said.set()
        await heard(sink)
        assert await sink.deliver(batch[1:]) == [DELIVERED]
    assert seen == [event.id for event in batch]


async def heard(sink: WebhookSink) -> None:
    """Wait until something came in on the connection that is kept."""
    session = sink._transport._session
    assert session is not None
    ((protocol, _),) = next(iter(session.connector._conns.values()))  # type: ignore[union-attr]
    while not protocol.should_close:
        await asyncio.sleep(0)


async def test_an_event_that_ends_every_connection_is_sent_twice_at_most(opened: Opened) -> None:
    seen: list[str] = []
    first, poison = events(2)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append((await read_request(reader))["webhook-id"])
            if seen[-1] == poison.id:
                return
            writer.write(OK)

    async with talking(talk) as url, opened(url=url) as sink:
        delivered, outcome = await sink.deliver([first, poison])
        assert delivered == DELIVERED
        assert isinstance(outcome, Retry)
        assert seen == [first.id, poison.id, poison.id]
        assert isinstance((await sink.deliver([poison]))[0], Retry)
    assert seen[3:] == [poison.id]


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (b"", b"x" * 4096), (b"HTTP/1.1 2", b"0" * 4096)],
)
async def test_a_head_without_end_that_says_nothing_ends_in_time_and_is_tried_again(
    opened: Opened, beginning: bytes, piece: bytes
) -> None:
    async with talking(flooding(beginning, piece)) as url, opened(url=url, timeout="500ms") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Retry)
    assert len(outcome.reason) < 1000


@pytest.mark.parametrize(
    "head",
    [
        b"OK\r\nX-Long: " + b"x" * 9_000,
        b"OK\r\n" + b"X-More: headers\r\n" * 5_000,
        b"x" * 20_000,
        b"OK\r\nno colon",
        b"OK\r\nContent-Length: nonsense",
        b"OK\r\nX: \x00\x01",
    ],
)
@pytest.mark.parametrize(
    ("status", "expected"), [(b"204", "Delivered"), (b"503", "Retry"), (b"422", "Rejected")]
)
async def test_the_status_line_decides_whatever_headers_follow(
    opened: Opened, head: bytes, status: bytes, expected: str
) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    talk = answering(interim + b"HTTP/1.1 " + status + b" " + head + b"\r\n\r\n")
    async with talking(talk) as url, opened(url=url) as sink:
        (outcome,) = await sink.deliver(events(1))
    assert type(outcome).__name__ == expected


async def test_a_connection_is_not_used_for_ever(
    endpoint: Any, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as sink:
        assert await sink.deliver(events(3)) == [DELIVERED] * 3
        assert len(endpoint.connections) == 1
        monkeypatch.setattr(Receiver, "age", property(lambda self: 1e6 if self._head else 0.0))
        assert await sink.deliver(events(1)) == [DELIVERED], "a new one, though nothing is wrong with the old"
        assert len(endpoint.connections) == 2


async def test_a_name_of_this_machine_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there are addresses of a kind is asked without loopback's: `localhost` may be `::1` alone."""
    real = socket.getaddrinfo

    def only_v6(host: str, port: int, *arguments: Any, flags: int = 0, **more: Any) -> Any:
        if flags & socket.AI_ADDRCONFIG:
            raise socket.gaierror(socket.EAI_ADDRFAMILY, "Address family for hostname not supported")
        return real("::1", port, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", only_v6)
    (found,) = await Resolver().resolve("localhost", 80, socket.AF_UNSPEC)
    assert found["host"] == "::1"


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"\r\n", b"x" * 4096),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n" * 1000),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 4096),
        (b"Content-Length: 99999999999999\r\n\r\n", b"x" * 4096),
        (b"Content-Encoding: gzip\r\nContent-Length: 99999999\r\n\r\n", b"\x1f\x8b" * 2048),
    ],
)
@pytest.mark.parametrize("status", [b"200 OK", b"400 No"])
async def test_a_body_without_end_does_not_undo_the_status(
    opened: Opened, status: bytes, beginning: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_BODY_SECONDS", 0.2)
    talk = flooding(b"HTTP/1.1 " + status + b"\r\n" + beginning, piece)
    async with talking(talk) as url, opened(url=url) as sink:
        (outcome,) = await sink.deliver(events(1))
    assert outcome == DELIVERED if status.startswith(b"200") else isinstance(outcome, Rejected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nbye", "Delivered"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "Delivered"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "Delivered"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbroken off", "Delivered"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK, "Delivered"),
        (OK + b"HTTP/1.1 500 Not asked for\r\nContent-Length: 0\r\n\r\n", "Delivered"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "Retry"),
        (b"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n", "Retry"),
        (b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n", "Retry"),
        (b"HTTP/1.1 999 Request denied\r\nContent-Length: 0\r\n\r\n", "Retry"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", "Delivered"),
        (b"HTTP/2 200\r\n\r\n", "Retry"),
        (b"\x16\x03\x01 TLS", "Retry"),
        (b"", "Retry"),
    ],
)
async def test_odd_answers_have_their_outcome(opened: Opened, answer: bytes, expected: str) -> None:
    async with talking(answering(answer)) as url, opened(url=url) as sink:
        outcomes = await sink.deliver(events(2))
    assert {type(outcome).__name__ for outcome in outcomes} == {expected}


async def test_an_answers_body_cannot_steer_a_terminal_or_break_a_line(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(400, text="\x1b]0;title\x07 \x9b31m\r\nnext \u202eline\0")
    async with opened() as sink:
        (outcome,) = await sink.deliver(events(1))
    assert reason(outcome).isprintable()
    assert reason(outcome) == r"HTTP 400: \x1b]0;title\x07 \x9b31m\r\nnext \u202eline\x00"


async def test_secrets_are_found_in_whatever_dress_the_answer_shows_them(
    endpoint: Any, opened: Opened
) -> None:
    token, query = 'to/k&n"<ü>', "que/ry&more"
    shown = [
        json.dumps(token),
        json.dumps(token, ensure_ascii=False),
        json.dumps(token).replace("/", r"\/"),
        "to/k&amp;n&quot;&lt;ü&gt;",
        "to%2Fk%26n%22%3C%C3%BC%3E",
        token,
        "que%2Fry%26more",
        "que/ry&amp;more",
        query,
    ]
    endpoint.answers(400, text="\n".join(shown))
    async with opened(auth={"bearer": token}, url=f"{endpoint.url}?k=que%2Fry%26more") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert 'HTTP 400: "***"\\n"***"\\n"***"' in reason(outcome)
    for part in ("to", "que", "ry"):
        assert part not in reason(outcome)


async def test_secrets_are_found_as_other_languages_write_them(endpoint: Any, opened: Opened) -> None:
    token = "to/k&n\"<'é+>"
    shown = [
        r"""to/k\u0026n\"\u003c'é+\u003e""",
        r"""to\/k\u0026n\"\u003c'\u00e9+\u003e""",
        "to/k&amp;n&quot;&lt;&#39;é+&gt;",
        "to/k&amp;n&quot;&lt;&#039;é+&gt;",
        "to/k&amp;n&#34;&lt;&#39;é&#43;&gt;",
        "to/k&amp;n\"&lt;'é+&gt;",
        "to/k%26n%22%3C%27%C3%A9%2B%3E",
        "to%2fk%26n%22%3c%27%c3%a9%2b%3e",
        "to%2Fk%26n%22%3C'%C3%A9%2B%3E",
    ]
    endpoint.answers(400, text="|".join(shown))
    async with opened(auth={"bearer": token}) as sink:
        (outcome,) = await sink.deliver(events(1))
    assert reason(outcome) == "HTTP 400: " + "|".join(["***"] * len(shown))


async def test_the_urls_path_is_not_shown_however_short(endpoint: Any, opened: Opened) -> None:
    async def missing(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text=f"Cannot POST {request.raw_path}, no {request.path}.")

    endpoint.answer = missing
    async with opened(url=endpoint.url.removesuffix("hook") + "T01/%42C?k=v") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert reason(outcome) == "HTTP 404: Cannot POST ***, no ***."


async def test_a_secret_cut_within_a_character_is_not_shown(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(400, text="." + "sesame" + "ü" * 3000)
    async with opened(auth={"bearer": "sesame" + "ü" * 3000}) as sink:
        (outcome,) = await sink.deliver(events(1))
    assert reason(outcome) == "HTTP 400: ."


@pytest.mark.parametrize("before", [0, 1, 37, 95])
async def test_a_secret_that_the_end_of_the_excerpt_cuts_in_two_is_not_shown(
    endpoint: Any, opened: Opened, before: int
) -> None:
    token = "sesame" * 16 + "-open"
    endpoint.answers(400, text="." * before + token * 100)
    async with opened(auth={"bearer": token}) as sink:
        (outcome,) = await sink.deliver(events(1))
    assert "***" in reason(outcome)
    assert "sesame" not in reason(outcome)


async def test_the_url_is_sent_as_it_is_written(endpoint: Any, opened: Opened) -> None:
    query = "?sp=%2Ftriggers%2Fmanual%2Frun&sig=a%2Bb%3D&x=%7E&y=a+b"
    async with opened(url=f"{endpoint.url}/a%2Fb/%41/%zz{query}") as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]
    assert endpoint.received[0].path == f"/hook/a%2Fb/%41/%zz{query}"


async def test_a_url_in_plain_text_is_sent_in_what_http_can_say(endpoint: Any, opened: Opened) -> None:
    async with opened(url=f"{endpoint.url}/über all?q=ü b") as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]
    assert endpoint.received[0].path == "/hook/%C3%BCber%20all?q=%C3%BC%20b"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("/a%2fb/~x?t=%7e&q=a+b%20c'(ü)", "/a%2fb/~x?t=%7e&q=a+b%20c'(%C3%BC)"),
        ("/%zz/ü?%", "/%zz/%C3%BC?%"),
        ("/a//b/../c?ü=[1]&x=a,b;c", "/a//b/../c?%C3%BC=[1]&x=a,b;c"),
    ],
)
async def test_one_character_that_urls_cannot_hold_changes_no_other(
    endpoint: Any, opened: Opened, written: str, sent: str
) -> None:
    async with opened(url=endpoint.url.removesuffix("/hook") + written) as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]
    assert endpoint.received[0].path == sent


def test_a_host_in_letters_of_any_script_is_one() -> None:
    url = parse_url("https://us%20er:pä@bücher.example:8443/x%2f")
    assert str(url) == "https://us%20er:p%C3%A4@xn--bcher-kva.example:8443/x%2f"


async def test_each_header_is_sent_once_however_it_is_written(opened: Opened) -> None:
    lines: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines.extend(line.partition(":")[0].lower() for line in head.split("\r\n")[1:-2])
        writer.write(OK)
        await writer.drain()

    async with talking(talk) as url, opened(url=url, headers={"user-agent": "ours/1", "ACCEPT": "x"}) as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]
    assert len(lines) == len(set(lines))
    assert {"user-agent", "accept", "webhook-id"} <= set(lines)


async def test_names_cannot_add_headers(opened: Opened) -> None:
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await writer.drain()

    nasty = "x\r\nInjected: yes\r\n\r\nGET / HTTP/1.1\0\u0100\u010a"
    event = Event.create(nasty, nasty, [nasty], scope=f"//{nasty}")
    async with talking(talk) as url, opened(url=url, format="cloudevents-binary") as sink:
        assert await sink.deliver([event]) == [DELIVERED]
    assert b"\r\nInjected" not in heads[0]
    assert heads[0].count(b"ce-subject: ") == 1


async def test_credentials_that_a_proxy_refuses_are_tried_again(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(407, text="who are you?")
    proxy = endpoint.url.replace("http://", "http://proxy-user:proxy-pass@").removesuffix("/hook")
    for url in ("http://hooks.example.org/hook", "https://hooks.example.org/hook"):
        async with opened(url=url, proxy=proxy) as sink:
            (outcome,) = await sink.deliver(events(1))
        assert isinstance(outcome, Retry), url
        assert "407" in outcome.reason
        assert "proxy-pass" not in outcome.reason


async def test_a_url_with_an_ipv6_address_works(opened: Opened) -> None:
    async with talking(answering(OK), "::1") as url:
        for user in ("", "us:pw@"):
            async with opened(url=url.replace("://", f"://{user}")) as sink:
                assert await sink.deliver(events(1)) == [DELIVERED]
                assert sink._target == url.replace("hook", "...")


async def test_an_answer_that_trickles_ends_at_the_deadline(opened: Opened) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)

    async with talking(talk) as url, opened(url=url, timeout="300ms") as sink:
        (outcome,) = await sink.deliver(events(1))
    assert "no answer within 0.27 s" in reason(outcome)


async def test_cookies_are_not_kept(opened: Opened) -> None:
    cookies: list[str | None] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            cookies.append((await read_request(reader)).get("cookie"))
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

    async with talking(talk) as url, opened(url=url.replace("127.0.0.1", "localhost")) as sink:
        await sink.deliver(events(3))
    assert cookies == [None] * 3


async def test_the_second_half_of_a_batch_waits_when_the_first_is_to_be_tried_again(
    endpoint: Any, opened: Opened
) -> None:
    async def picky(request: web.Request) -> web.StreamResponse:
        return web.Response(status={4: 413, 2: 503}[len(json.loads(await request.read()))])

    endpoint.answer = picky
    async with opened(format="batch") as sink:
        assert await sink.deliver(events(4)) == [Retry("HTTP 503")] * 2
    assert len(endpoint.received) == 2


async def test_want_of_descriptors_costs_no_event_an_attempt(
    endpoint: Any, opened: Opened, none_left: Any
) -> None:
    for url in (endpoint.url, endpoint.url.replace("127.0.0.1", "localhost")):
        async with opened(url=url) as sink:
            with none_left():
                outcome = await sink.deliver(events(3))
            assert isinstance(outcome, Retry)
            assert outcome.pause
            assert "raise the limit of open files" in outcome.reason
            assert await sink.deliver(events(1)) == [DELIVERED]
