"""Fault switches: each does what it says, and nothing more."""

import asyncio
import contextlib

import pytest

from tdbwatch import exceptions as errors
from tdbwatch.node import Cluster, connection
from tdbwatch.testing import settle
from tdbwatch.wire import MAX_BEFORE_LOGIN, Emit, Kind, RoomJoin, encode_frame


@pytest.fixture
async def peer(cluster, join):
    cluster.on_query("1;", 1)
    return await join(cluster.nodes[0])


@pytest.fixture
def faults(cluster):
    return cluster.nodes[0].faults


async def test_a_frozen_node_says_nothing_and_what_was_held_back_comes_when_it_thaws(
    cluster, peer, faults, dial
):
    faults.freeze()
    ping = peer.send(Kind.PING)
    cluster.emit("//stuff", "alerts", "meanwhile", node=1)
    late = await dial(cluster.nodes[0])  # the kernel still accepts
    late.send(Kind.PING)
    elsewhere = await dial(cluster.nodes[1])
    for _ in range(5):  # the other node has gone through the event loop; the frozen one has executed nothing
        await elsewhere.pending()
    assert cluster.executed[Kind.PING] == 1 + 5  # one of `peer` when it joined
    assert cluster.nodes[0].connections == 2
    faults.thaw()
    emit, pong = await peer.until(lambda each: each.id == ping and not isinstance(each, Emit))
    assert (emit.event, pong.kind) == ("meanwhile", Kind.PONG)
    (pong,) = await late.until(lambda _: True)
    assert pong.kind == Kind.PONG


async def test_a_frozen_node_can_be_killed_and_started_again(cluster, peer, faults, join):
    faults.freeze()
    await cluster.nodes[0].stop()
    assert await peer.closed() == []
    await cluster.nodes[0].start()
    assert not faults.frozen
    await join(cluster.nodes[0])


async def test_a_delay_is_waited_on_the_clusters_clock_and_keeps_the_order(cluster, clock, peer, faults):
    faults.delay = 2.0
    request_ids = [peer.send(Kind.PING), peer.send(Kind.QUERY, ["//stuff", "1;"])]
    async with asyncio.timeout(20):
        while clock.sleepers < 2:
            await asyncio.sleep(0)
    assert cluster.executed[Kind.QUERY] == 0
    await clock.advance(2.0)
    heard = await peer.until(lambda each: each.id == request_ids[1])
    assert [each.id for each in heard] == request_ids


async def test_delayed_requests_end_with_the_node(cluster, clock, peer, faults):
    faults.delay = 2.0
    peer.send(Kind.PING)
    async with asyncio.timeout(20):
        while not clock.sleepers:
            await asyncio.sleep(0)
    await cluster.nodes[0].stop()
    assert clock.sleepers == 0


async def test_a_refused_request_is_not_executed_and_a_count_runs_out(cluster, peer, faults):
    faults.refuse(Kind.QUERY, count=2, error=errors.CustomError("not today"))
    answers = [(await peer.ask(Kind.QUERY, ["//stuff", "1;"]))[-1] for _ in range(3)]
    assert [each.value for each in answers] == [{"error_code": -100, "error_msg": "not today"}] * 2 + [1]
    assert cluster.executed[Kind.QUERY] == 1


async def test_a_refusal_without_a_count_lasts_until_it_is_cleared(peer, faults):
    faults.refuse(Kind.JOIN)
    for _ in range(3):
        (answer,) = await peer.ask(Kind.JOIN, ["//stuff", "alerts"])
        assert answer.value["error_code"] == -51
    faults.clear()
    (answer,) = await peer.ask(Kind.JOIN, ["//stuff", "alerts"])
    assert answer.value == [1]


def test_a_ping_cannot_be_refused():
    with pytest.raises(ValueError, match="PONG"):
        Cluster().nodes[0].faults.refuse(Kind.PING)


async def test_a_dropped_answer_was_executed(cluster, dial, faults):
    peer = await (await dial(cluster.nodes[0])).auth()
    faults.drop_answers(Kind.JOIN)
    peer.send(Kind.JOIN, ["//stuff", "alerts"])
    assert await peer.pending() == [RoomJoin(1, "@collection:stuff")]
    assert cluster.executed[Kind.JOIN] == 1


async def test_closing_on_a_request_executes_it_and_answers_nothing(cluster, peer, faults):
    faults.close_on(Kind.QUERY)
    peer.send(Kind.QUERY, ["//stuff", "1;"])
    assert await peer.closed() == []
    assert cluster.executed[Kind.QUERY] == 1


async def test_cut_connections_can_be_made_again(cluster, peer, faults, join):
    faults.close_connections()
    assert await peer.closed() == []
    await join(cluster.nodes[0])


async def test_refused_connections_are_closed_at_once(cluster, faults, dial):
    faults.refuse_connections = True
    assert await (await dial(cluster.nodes[0])).closed() == []
    faults.refuse_connections = False
    assert await (await dial(cluster.nodes[0])).pending() == []


async def test_an_old_server_pushes_no_scope(cluster, peer, faults, join):
    newer = await join(cluster.nodes[1])
    faults.omit_scope = True
    cluster.emit("//stuff", "alerts", "e", 1)
    assert await peer.pending() == [Emit(1, "e", (1,), None)]
    assert await newer.pending() == [Emit(1, "e", (1,), "@collection:stuff")]


async def test_hostile_bytes_reach_every_client_as_they_are(peer, faults):
    faults.send_raw(b"\xff" * 8)
    async with asyncio.timeout(20):
        while peer.session.error is None:
            await peer.more()
    assert "check byte" in str(peer.session.error)


async def test_a_client_that_does_not_read_is_cut_off_and_the_others_hear_on(dial, stack):
    async with Cluster(max_queued=1_000_000) as cluster:
        cluster.add_room("//stuff", "alerts")
        node = cluster.nodes[0]
        slow, good = await (await dial(node)).auth(), await (await dial(node)).auth()
        for peer in (slow, good):
            await peer.ask(Kind.JOIN, ["//stuff", "alerts"])
        await good.pending()
        for number in range(400):
            if node.connections == 1:
                break
            cluster.emit("//stuff", "alerts", "big", number, b"x" * 100_000)
            heard = await good.pending()
            assert [emit.args[0] for emit in heard] == [number]
        assert node.connections == 1
        assert await good.pending() == []


async def test_too_much_at_once_for_one_client_cuts_it_off_before_it_is_written(cluster, join):
    async with Cluster(max_queued=1000) as small:
        small.add_room("//stuff", "alerts")
        await join(small.nodes[0])
        for _ in range(100):
            small.emit("//stuff", "alerts", "e", b"x" * 100)
        await settle()
        assert small.nodes[0].connections == 0


async def test_requests_before_a_broken_frame_are_executed(cluster, peer):
    _, emit = peer.session.request(Kind.EMIT, ["//stuff", "alerts", "last"])
    peer.send_raw(emit + b"\x00\x00\x00\x00\x07\x00\x20\x00" + encode_frame(9, Kind.PING))
    heard = await peer.closed()
    assert [each.event for each in heard if isinstance(each, Emit)] == ["last"]


async def test_a_stranger_may_not_send_large_frames(cluster):
    node = cluster.nodes[0]
    reader, writer = await asyncio.open_connection(node.host, node.port)
    writer.write(encode_frame(0, Kind.AUTH, bytes(MAX_BEFORE_LOGIN + 1))[:1_000])
    assert await reader.read() == b""
    writer.close()


async def test_a_client_whose_requests_pile_up_is_cut_off(cluster, monkeypatch):
    monkeypatch.setattr(connection, "MAX_PENDING", 10)
    node = cluster.nodes[0]
    node.faults.delay = 60.0
    reader, writer = await asyncio.open_connection(node.host, node.port)
    writer.write(encode_frame(0, Kind.PING) * 11)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
