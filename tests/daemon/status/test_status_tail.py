"""The last events on the status port, and those that come: a list, a filter, a stream. Real sockets."""

import asyncio
import html
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.config.models.config import HttpConfig
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.status.figures import Surveyor
from tdbwatch.daemon.status.port.server import StatusServer
from tdbwatch.daemon.status.tail import look, page
from tdbwatch.daemon.status.tail.contents import SHOWN, contents
from tdbwatch.daemon.status.tail.filter import Filter, FilterError, asked
from tdbwatch.daemon.status.tail.streams import MAX_STREAMS, PATIENCE, Stream, Streams
from tdbwatch.plugin import Event, Kind
from tdbwatch.redaction import redact
from tdbwatch.testing import ManualClock
from tests.daemon.spool.memory_spool_kit import MemorySpool

from .status_moments import FINE, HOSTILE, Fine

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Watched:
    """A status server over a log in memory."""

    def __init__(self, server: StatusServer, log: MemorySpool, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.log = log
        self.session = session

    def emit(self, *numbers: int, room: str = "alerts", event: str = "e") -> None:
        self.append(*(Event.create(room, event, [number]) for number in numbers))

    def append(self, *events: Event) -> None:
        self.log.append(heard(events))

    def url(self, path: str = "/tail", **query: object) -> str:
        return f"http://127.0.0.1:{self.server.port}{path}?{urlencode(query)}"

    async def page(self, **query: object) -> tuple[int, str]:
        async with self.session.get(self.url(**query)) as answer:
            return answer.status, await answer.text()

    @asynccontextmanager
    async def stream(self, last: str = "", **query: object) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Last-Event-ID": last} if last else {}
        async with self.session.get(self.url("/tail/stream", **query), headers=headers) as answer:
            yield answer


@asynccontextmanager
async def watched(
    tmp_path: Path, token: str | None = TOKEN, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Watched]:
    shown = Fine()
    config = HttpConfig(listen="127.0.0.1:0", token=None if token is None else SecretStr(token))
    server = StatusServer(shown, Surveyor(tmp_path / "spool.db", (), SYSTEM_CLOCK), config, clock)
    await server.run()
    async with aiohttp.ClientSession(headers=BEARER) as session:
        yield Watched(server, shown.log, session)
    await server.stop()


def numbers(text: str) -> list[int]:
    """What the events of these rows carry."""
    return [int(number) for number in re.findall(r"<code>\[(\d+)\]</code>", text)]


async def message(stream: aiohttp.ClientResponse, kind: str = "message") -> dict[str, str]:
    """The next one of this kind."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(20):
        async for raw in stream.content:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif fields.get("event", "message") == kind and "data" in fields:
                return fields
            else:
                fields = {}
    raise AssertionError("the stream has ended")


async def test_the_last_events_are_a_list_the_newest_first_and_a_filter_leaves_some_out(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path) as status:
        status.emit(1, 2)
        status.emit(3, room="deploys")
        status.emit(4, event="disk-full")
        assert numbers((await status.page())[1]) == [4, 3, 2, 1]
        assert numbers((await status.page(room="d*"))[1]) == [3]
        assert numbers((await status.page(event="disk-*"))[1]) == [4]
        assert numbers((await status.page(text="DISK"))[1]) == [4]
        assert numbers((await status.page(text="[2]"))[1]) == [2]
        assert numbers((await status.page(where="args[0] > 2", room="alerts"))[1]) == [4]


async def test_what_events_carry_is_shown_only_where_there_is_a_token(tmp_path: Path) -> None:
    async with watched(tmp_path, token=None) as status:
        status.append(Event.create("alerts", "login", [{"password": "pa55word"}]))
        _, text = await status.page()
        assert "login" in text
        assert "pa55word" not in text
        assert "login" not in (await status.page(text="pa55"))[1].partition("<tbody>")[2]
        code, text = await status.page(where="args[0].password.startsWith('p')")
        assert (code, "login" in text) == (400, False)
        assert "only if there is an http.token" in text
        async with status.stream(after=0) as stream:
            assert "pa55word" not in (await message(stream))["data"]


async def test_secrets_and_unprintable_text_are_not_shown(tmp_path: Path) -> None:
    redact.remember(["hush-hush"])
    async with watched(tmp_path) as status:
        status.append(Event.create("alerts", "e\u202e\x1b", ["it says hush-hush", TOKEN, "\x07"]))
        _, text = await status.page()
        assert not re.search("hush|a-token|\u202e|\x1b|\x07", text)


async def test_markup_in_events_and_in_the_filter_stays_text(tmp_path: Path) -> None:
    async with watched(tmp_path) as status:
        status.append(Event.create(HOSTILE, HOSTILE, [HOSTILE]))
        _, text = await status.page(text=HOSTILE.lower()[:20])
        assert "<img" not in text
        assert text.count("&lt;img") >= 4
        async with status.stream(after=0) as stream:
            data = (await message(stream))["data"]
        assert "<img" not in data
        assert data.startswith("<tr>")


async def test_a_stream_has_what_comes_and_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    async with watched(tmp_path) as status:
        status.emit(1)
        async with status.stream() as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            status.emit(2)
            first = await message(stream)
        assert numbers(first["data"]) == [2]
        status.emit(3, 4)
        async with status.stream(last=first["id"], after=0) as stream:
            assert numbers((await message(stream))["data"]) == [3, 4]


async def test_who_is_far_behind_goes_on_with_the_last_events_and_is_told(tmp_path: Path) -> None:
    async with watched(tmp_path) as status:
        status.emit(*range(look._FAR + 1_000))
        status.emit(7)
        async with status.stream(after=0) as stream:
            assert int((await message(stream, "unseen"))["data"].replace(",", "")) > 5_000
            assert status.log.last_seq == look._FAR + 1_001


@pytest.mark.parametrize(
    ("there", "comes", "leaves"),
    [
        ("bbbbbbbb", "a", 0),
        ("abbbbbbb", "b", 1),
        ("aabbbccc", "d", 2),
        ("aaaaaaaa", "a", 0),
        ("abcdefgh", "i", 0),
        ("abcdefgh", "h", 7),
        ("abbbbbb", "b", None),
    ],
)
def test_for_a_further_stream_the_oldest_of_the_address_that_has_most_makes_way(
    there: str, comes: str, leaves: int | None
) -> None:
    streams, clock = Streams(), ManualClock()
    asked = [
        Stream(make_mocked_request("GET", "/").clone(remote=address), clock) for address in there + comes
    ]
    for stream in asked:
        streams.enter(stream)
    assert [n for n, stream in enumerate(asked) if stream.is_replaced] == ([] if leaves is None else [leaves])
    for stream in asked:
        streams.leave(stream)
    assert not streams._open


async def test_the_last_message_of_a_stream_that_made_way_says_so(tmp_path: Path) -> None:
    async with watched(tmp_path) as status, status.stream() as first, AsyncExitStack() as others:
        for _ in range(MAX_STREAMS):
            assert (await others.enter_async_context(status.stream())).status == 200
        assert "in place of this one" in (await message(first, "replaced"))["data"]
        assert await first.content.read() == b""


async def test_who_reads_nothing_is_dropped(tmp_path: Path) -> None:
    clock, text = ManualClock(), "x" * SHOWN
    async with watched(tmp_path, clock=clock) as status:
        streams = status.server._tail._streams
        ask = f"GET /tail/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            lazy.connect(("127.0.0.1", status.server.port))
            lazy.sendall(ask.encode())
            async with asyncio.timeout(30):
                while not streams._open:
                    await asyncio.sleep(0.01)
                while streams._open:
                    status.append(*(Event.create("alerts", "e", [text]) for _ in range(200)))
                    await clock.advance(PATIENCE / 5)


async def _status(status: Watched) -> int:
    async with status.stream() as stream:
        return stream.status


async def test_the_stop_ends_streams_at_once(tmp_path: Path) -> None:
    async with watched(tmp_path, clock=ManualClock()) as status, status.stream() as stream:
        await stream.content.readuntil(b"\n\n")
        status.server.end_streams()
        async with asyncio.timeout(20):
            assert await stream.content.read() == b""
        assert await _status(status) == 503
        assert (await status.page())[0] == 200


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"where": "args["}, "where, column 6"),
        ({"where": "args[0]"}, ""),
        ({"where": "args.exists(a, a == 1)"}, "may have no loops"),
        ({"where": "args[0].replace('', 'x') == ''"}, "may not have replace"),
        ({"where": "nonsense == 1"}, "there is no &#x27;nonsense&#x27; here"),
        ({"text": "x" * 501}, "more than 500 characters"),
    ],
)
async def test_a_filter_that_cannot_be_used_is_said(tmp_path: Path, query: dict[str, str], said: str) -> None:
    async with watched(tmp_path) as status:
        code, text = await status.page(**query)
        assert (code, said in text) == (400 if said else 200, True)
        assert all(f'value="{html.escape(value)}"' in text for value in query.values())
        async with status.stream(**query) as stream:
            assert stream.status == code
        for after in ("one", "9" * 5_000):
            async with status.stream(after=after) as stream:
                assert (stream.status, "must be the number" in await stream.text()) == (400, True)


def test_large_events_are_not_decoded_to_be_looked_at() -> None:
    event = Event.create("alerts", "e", ["x" * 100_000])
    assert contents(event) == "(97.7 KiB)"
    assert not Filter(where="args[0] != ''", sees_contents=True).wants(event)
    assert Filter(room="al*", text="alerts", sees_contents=True).wants(event)


def test_of_other_kinds_the_details_are_shown() -> None:
    gap = Event.create("alerts", "gap", kind=Kind.GAP, details={"cause": "downtime"})
    assert contents(gap) == '{"cause":"downtime"}'


def test_without_a_token_no_filter_asks_what_events_carry() -> None:
    with pytest.raises(FilterError, match="token"):
        Filter.of({"where": "true"}, sees_contents=False)


GROUPS = st.lists(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y"])), min_size=1, max_size=6),
    max_size=6,
)


@given(GROUPS, st.sampled_from("ab*"), st.sampled_from("xy*"), st.integers(1, 3))
def test_following_the_log_shows_each_wanted_event_once_in_order(
    groups: list[list[tuple[str, str]]], room: str, name: str, calls: int
) -> None:
    async def follow() -> None:
        log, wanted, seen, position = MemorySpool(), Filter(room=room, event=name), [], 0
        for group in groups:
            log.append(heard([Event.create(*names) for names in group]))
            for _ in range(calls):
                found = await look.after(log, position, wanted)
                assert found.unseen == 0
                seen += found.events
                position = found.position
        while position < log.last_seq:
            found = await look.after(log, position, wanted)
            seen, position = seen + found.events, found.position
        everything = [event for block in log.disk.blocks for event in block.events]
        expected = [e for e in everything if room in {e.room, "*"} and name in {e.event, "*"}]
        assert [event.id for event in seen] == [event.id for event in expected]
        assert (await look.latest(log, wanted)).events == expected[-look.LATEST :]

    asyncio.run(follow())


@given(
    st.dictionaries(st.sampled_from(["room", "event", "text", "where", "other"]), st.text()), st.booleans()
)
def test_any_query_is_a_filter_or_is_refused_in_words(query: dict[str, str], contents_too: bool) -> None:
    event = Event.create("alerts", "e", ["x"])
    try:
        wanted = Filter.of(query, sees_contents=contents_too)
    except FilterError as error:
        text = page.render(FINE, Filter(sees_contents=contents_too), [], 0, str(error), asked(query))
    else:
        chosen = wanted.wants_room("alerts") and wanted.wants_event("e") and wanted.wants(event)
        text = page.render(FINE, wanted, [event] if chosen else [], 1)
    body = re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL)
    assert body.count("<input") == 3 + contents_too
    assert "<tbody>" in body
