"""The life of a node: statuses, shutdown, crash, return."""

import asyncio
import socket

import pytest

from tdbwatch.node import Cluster
from tdbwatch.testing import ManualClock, settle
from tdbwatch.wire import Emit, Kind, NodeStatus, Warn


async def test_away_is_announced_and_changes_nothing_else(cluster, join):
    peer = await join(cluster.nodes[0])
    for step in ("away_soon", "away", "ready"):
        getattr(cluster.nodes[0], step)()
        cluster.emit("//stuff", "alerts", step, node=1)
    heard = await peer.pending()
    assert [each.status for each in heard if isinstance(each, NodeStatus)] == ["AWAY_SOON", "AWAY", "READY"]
    assert [each.event for each in heard if isinstance(each, Emit)] == ["away_soon", "away", "ready"]


async def test_a_status_is_told_to_the_nodes_own_authenticated_clients_only(cluster, dial):
    stranger, elsewhere = await dial(cluster.nodes[0]), await (await dial(cluster.nodes[1])).auth()
    await stranger.pending()
    cluster.nodes[0].away()
    assert (await stranger.pending(), await elsewhere.pending()) == ([], [])


async def test_joins_are_refused_while_a_node_synchronizes(cluster, dial):
    node = cluster.nodes[0]
    peer = await (await dial(node)).auth()
    node.synchronizing()
    *_, answer = await peer.ask(Kind.JOIN, ["//stuff", "alerts"])
    assert answer.value == {"error_code": -51, "error_msg": "`node:0` is not ready to handle join requests"}
    node.ready()
    *_, answer = await peer.ask(Kind.JOIN, ["//stuff", "alerts"])
    assert answer.value == [1]


async def test_a_node_that_shuts_down_answers_queries_until_it_closes(cluster, clock, join):
    cluster.on_query("1;", 1)
    node = cluster.nodes[0]
    peer = await join(node)
    shutdown = asyncio.create_task(node.shutdown())
    await settle()
    status, answer = await peer.ask(Kind.QUERY, ["//stuff", "1;"])
    assert (status, answer.value) == (NodeStatus(0, "SHUTTING_DOWN"), 1)
    cluster.emit("//stuff", "alerts", "unheard", node=1)
    await clock.advance(6.0)
    assert await peer.closed() == [NodeStatus(0, "OFFLINE")]
    await shutdown
    assert (node.status, node.connections, node.running) == ("OFFLINE", 0, False)


async def test_a_single_node_goes_without_a_shutdown_period(dial):
    async with Cluster(clock=ManualClock()) as cluster:
        peer = await (await dial(cluster.nodes[0])).auth()
        await cluster.nodes[0].shutdown()
        assert await peer.closed() == [NodeStatus(0, "SHUTTING_DOWN"), NodeStatus(0, "OFFLINE")]


async def test_a_second_shutdown_and_one_of_a_stopped_node_do_nothing(cluster, clock):
    node = cluster.nodes[0]
    first = asyncio.create_task(node.shutdown())
    await settle()
    await node.shutdown()
    assert node.status == "SHUTTING_DOWN"
    await clock.advance(6.0)
    await first
    await node.shutdown()
    assert node.status == "OFFLINE"


async def test_a_shutdown_does_not_touch_a_node_that_was_stopped_and_started_meanwhile(cluster, clock):
    node = cluster.nodes[0]
    shutdown = asyncio.create_task(node.shutdown())
    await settle()
    await node.stop()
    await node.start()
    await clock.advance(6.0)
    await shutdown
    assert (node.status, node.running) == ("READY", True)


async def test_a_crash_closes_the_sockets_without_a_word(cluster, join):
    peer = await join(cluster.nodes[0])
    await cluster.nodes[0].stop()
    assert await peer.closed() == []
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(cluster.nodes[0].host, cluster.nodes[0].port)


async def test_a_node_comes_back_on_the_same_port_and_rooms_must_be_joined_again(cluster, join):
    node = cluster.nodes[0]
    await join(node)
    address = node.address
    await node.stop()
    await node.start()
    assert node.address == address
    assert not cluster.collection("stuff").room("alerts").listeners
    again = await join(node)
    cluster.emit("//stuff", "alerts", "back", node=1)
    assert [emit.event for emit in await again.pending()] == ["back"]


async def test_while_a_node_is_down_nobody_else_gets_its_ports():
    async with Cluster(1, websocket=True) as cluster:
        node = cluster.nodes[0]
        ports = [node.port, int(node.websocket_url.rpartition(":")[2])]
        await node.stop()
        for port in ports:
            with pytest.raises(OSError, match="already in use"), socket.socket() as other:
                other.bind((node.host, port))
        await node.start()
    for port in ports:
        with socket.socket() as other:
            other.bind((node.host, port))


async def test_a_running_node_cannot_be_started_again(cluster):
    with pytest.raises(RuntimeError, match="runs already"):
        await cluster.nodes[0].start()


async def test_a_port_that_is_taken_stops_the_whole_cluster():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cluster = Cluster(2, ports=[0, taken.getsockname()[1]])
        with pytest.raises(OSError, match="address already in use"):
            await cluster.__aenter__()
        assert [node.running for node in cluster.nodes] == [False, False]


async def test_a_warning_reaches_the_nodes_clients(cluster, dial):
    peer = await (await dial(cluster.nodes[0])).auth()
    cluster.nodes[0].warn("disk almost full")
    assert await peer.pending() == [Warn(2, "disk almost full")]


def test_every_node_needs_a_port_and_a_socket_of_its_own():
    with pytest.raises(ValueError, match="one port for each"):
        Cluster(2, ports=[9200])
    with pytest.raises(ValueError, match="one port for each"):
        Cluster(0)
    with pytest.raises(ValueError, match=r"\{id\}"):
        Cluster(2, unix_path="/tmp/thingsdb.sock")
