"""Whatever a server sends, the client ends the connection or goes on; it never hangs, raises or grows."""

import asyncio
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.client.addresses import Address
from tdbwatch.client.links.heartbeat import Heartbeat
from tdbwatch.client.links.link import Link
from tdbwatch.clock import SYSTEM_CLOCK
from tdbwatch.exceptions import ConnectionLostError, ProtocolError
from tdbwatch.wire import Emit, Kind, encode, encode_frame, encode_push


class Wire:
    """Takes what is written, and can be closed."""

    def __init__(self):
        self.aborted = False

    def write(self, data): ...

    def backlog(self):
        return 0

    def close(self):
        self.aborted = True

    abort = close


class Owner:
    def __init__(self):
        self.lost = []
        self.pushes = []

    def link_lost(self, link, reason):
        self.lost.append(reason)

    def link_leaving(self, link): ...

    def emit_lost(self, link): ...

    def push_heard(self, link, push):
        self.pushes.append(push)


def opened():
    link = Link(Address("tcp", "test"), Owner(), SYSTEM_CLOCK, Heartbeat())
    link._opened(Wire())
    return link


kinds = st.sampled_from([*Kind, 1, 2, 35, 255]).map(int)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 9), inner),
    max_leaves=8,
)
pushes = st.fixed_dictionaries(
    {}, optional={"id": values, "scope": values, "event": values, "args": values, "status": values}
)
bodies = st.binary() | values.map(encode) | pushes.map(encode)
frames = st.builds(encode_frame, st.integers(0, 9) | st.just(0xFFFF), kinds, bodies)
streams = st.lists(frames | st.binary(max_size=20), max_size=12).map(b"".join)


@settings(max_examples=300)
@given(stream=streams, cuts=st.lists(st.integers(0, 200), max_size=6), asked=st.integers(0, 6))
def test_any_bytes_in_any_pieces_end_in_answers_or_in_a_protocol_error(stream, cuts, asked):
    async def scenario():
        link = opened()
        calls = [
            link.call(kind, None, timeout=None) for kind in (Kind.QUERY, Kind.JOIN, Kind.PING)[:asked] * 2
        ]
        edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
        for start, end in pairwise(edges):
            link.data_received(stream[start:end])
        if not link.is_live:
            assert isinstance(link.loss, ProtocolError)
            assert link._wire.aborted
        else:
            link.abort(ConnectionLostError("the end"))
        assert all(call.done() for call in calls)
        assert len(link._owner.lost) == 1

    asyncio.run(scenario())


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.text(max_size=8), st.lists(values, max_size=3)), max_size=20), st.integers(1, 50)
)
def test_events_are_heard_in_order_whatever_the_pieces(events, size):
    async def scenario():
        link = opened()
        heard = []
        link.rooms["@collection:stuff", 3] = heard.append
        bodies = [{"scope": "@collection:stuff", "id": 3, "event": e, "args": args} for e, args in events]
        stream = b"".join(encode_push(Kind.ROOM_EMIT, body) for body in bodies)
        for start in range(0, len(stream), size):
            link.data_received(stream[start : start + size])
        assert [emit.event for emit in heard] == [event for event, _ in events]
        assert all(type(emit) is Emit for emit in heard)

    asyncio.run(scenario())


HEADER = struct.Struct("<IHBB")


@pytest.mark.parametrize(
    "stream",
    [
        b"\x00" * 8,
        HEADER.pack(0xFFFFFFFF, 0, 18, 18 ^ 0xFF),
        HEADER.pack(1 << 30, 0xFFFF, 8, 8 ^ 0xFF),
        b"HTTP/1.1 200 OK\r\n\r\n",
        encode_frame(0, Kind.QUERY, encode(["@t", "x"])),
        encode_frame(0, Kind.PONG),
    ],
    ids=["zeros", "4 GiB", "1 GiB", "http", "a request", "the wrong answer"],
)
async def test_what_breaks_the_protocol_ends_the_connection_at_once(stream):
    link = opened()
    call = link.call(Kind.QUERY, ["@t", "x"], timeout=None)
    link.data_received(stream)
    assert isinstance(link.loss, ProtocolError)
    with pytest.raises(ConnectionLostError, match="executed or not"):
        await call


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x93\x01",
        encode([1]),
        encode({"id": "x"}),
        b"\x91" * 100_000 + b"\xc0",
        b"\xdd\xff\xff\xff\xff",
    ],
)
async def test_a_body_that_cannot_be_used_is_skipped_and_the_next_one_heard(body, caplog):
    link = opened()
    heard = []
    link.rooms["s", 1] = heard.append
    for kind in (Kind.ROOM_EMIT, Kind.ROOM_DELETE, Kind.NODE_STATUS, Kind.WARN):
        link.data_received(encode_frame(0xFFFF, kind, body))
    link.data_received(encode_push(Kind.ROOM_EMIT, {"scope": "s", "id": 1, "event": "e", "args": []}))
    assert len(heard) == 1
    assert link.is_live
    said = [record.getMessage() for record in caplog.records if "skipped a frame" in record.getMessage()]
    assert len(said) == 3, "the first, the second, the fourth"
    assert "(4 skipped so far)" in said[-1]


async def test_a_deeply_nested_answer_fails_its_call_and_not_the_loop():
    link = opened()
    call = link.call(Kind.QUERY, ["@t", "x"], timeout=None)
    link.data_received(encode_frame(0, Kind.DATA, b"\x91" * 200_000 + b"\xc0"))
    with pytest.raises(ProtocolError):
        await call
    assert link.is_live


@pytest.mark.parametrize("garbage", [b"\xff" * 64, encode_frame(0, Kind.QUERY, b""), b"\x00"])
async def test_a_client_survives_a_node_that_goes_mad(connect, cluster, Ears, until, clock, garbage):
    client = await connect(cluster)
    ears = Ears("alerts")
    await ears.join(client)
    for _ in range(3):
        cluster.nodes[0].faults.send_raw(garbage)
        cluster.nodes[0].faults.send_raw(b"\xee" * 7)
        await until(lambda: not client.is_connected())
        await until(
            lambda: client.is_connected() and cluster.collection("stuff").room("alerts").listeners, clock
        )
    cluster.emit("//stuff", "alerts", "well again")
    await until(lambda: ears.events == ["well again"])


async def test_statuses_and_warnings_without_end_cost_nothing(connect, cluster, until):
    client = await connect(cluster)
    node = cluster.nodes[0]
    for number in range(2_000):
        node.push_status("AWAY" if number % 2 else "READY")
        node.warn("x" * 100)
    assert await client.query("echo;") == {}


async def test_deletes_of_unknown_rooms_and_unknown_types_are_ignored(connect, cluster, Ears, until):
    client = await connect(cluster)
    ears = Ears("alerts")
    await ears.join(client)
    for scope in ("@collection:stuff", "@collection:none", None, ""):
        body = {"id": 99} if scope is None else {"scope": scope, "id": 99}
        for kind in (Kind.ROOM_DELETE, Kind.ROOM_LEAVE, Kind.ROOM_JOIN):
            cluster.nodes[0].faults.send_raw(encode_push(kind, body))
    cluster.nodes[0].faults.send_raw(encode_frame(0xFFFF, 14, b"\xc0"))
    cluster.emit("//stuff", "alerts", "fine")
    await until(lambda: ears.events == ["fine"])
    assert ears.hooks == ["init", "join"]
