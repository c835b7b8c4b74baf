"""The first connection: to any node of a pool, or an error that says why."""

import asyncio
import re
import socket

import pytest

from tdbwatch.client import Client
from tdbwatch.exceptions import ConnectionLostError, NotConnectedError


async def test_a_first_connection_that_is_refused_is_an_error_at_once(new_client, closed_port):
    client = new_client()
    with pytest.raises(ConnectionRefusedError):
        await client.connect("127.0.0.1", closed_port)
    assert not client.is_connected()
    assert client.connection_info() == "disconnected"
    with pytest.raises(NotConnectedError):
        await client.query("echo;")


async def test_a_host_that_does_not_answer_is_an_error_after_the_timeout(new_client):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        client = new_client()
        with pytest.raises(TimeoutError, match=r"did not answer within 0\.05 s"):
            await client.connect("127.0.0.1", full.getsockname()[1], timeout=0.05)
        for each in waiting:
            each.close()


async def test_a_pool_with_dead_nodes_ends_at_the_one_that_lives(
    new_client, cluster, closed_port, clock, until
):
    client = new_client()
    ready = client.connect_pool([("127.0.0.1", closed_port), cluster.nodes[0].address], "admin", "pass")
    await until(ready.done, clock)
    assert client.connection_info() == cluster.nodes[0].address


async def test_one_live_node_is_enough_for_two_connections(new_client, cluster, closed_port, clock, until):
    client = new_client(connections=2)
    ready = client.connect_pool([("127.0.0.1", closed_port), cluster.nodes[0].address], "admin", "pass")
    await until(ready.done, clock)
    ready.result()
    assert await client.query("echo;", scope="//stuff") == {}


async def test_an_empty_pool_and_bad_addresses_are_refused(new_client):
    with pytest.raises(ValueError, match="empty"):
        new_client().connect_pool([], "token")
    with pytest.raises(TypeError, match=re.escape("write ['node01']")):
        new_client().connect_pool("node01", "token")
    with pytest.raises(ValueError, match="not a port"):
        await new_client().connect("localhost", 0)


async def test_a_client_that_is_connected_refuses_to_connect_again(connect, cluster):
    client = await connect(cluster)
    with pytest.raises(RuntimeError, match="connected, or connecting, already"):
        await client.connect("127.0.0.1", cluster.nodes[0].port)
    with pytest.raises(RuntimeError, match="connected, or connecting, already"):
        client.connect_pool([cluster.nodes[0].address], "admin", "pass")


async def test_a_closed_client_can_connect_again_and_its_rooms_are_joined(connect, cluster, Ears, until):
    client = await connect(cluster)
    ears = Ears("alerts")
    await ears.join(client)
    await client.close_and_wait()
    assert not client.is_connected()
    await client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    cluster.emit("//stuff", "alerts", "again")
    await until(lambda: ears.events == ["again"])


async def test_a_cancelled_connect_leaves_nothing_behind(new_client, cluster, until):
    cluster.nodes[0].faults.freeze()
    client = new_client()

    async def connect():
        await client.connect_pool([cluster.nodes[0].address], "admin", "pass")

    connecting = asyncio.create_task(connect())
    await until(lambda: cluster.nodes[0].connections)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    cluster.nodes[0].faults.thaw()
    await until(lambda: not cluster.nodes[0].connections)
    with pytest.raises(NotConnectedError):
        await client.query("echo;")


async def test_a_cancelled_future_of_connect_pool_stops_it(new_client, closed_port, until):
    client = new_client()
    ready = client.connect_pool([("127.0.0.1", closed_port)], "token")
    await asyncio.sleep(0)
    ready.cancel()
    await asyncio.sleep(0)
    await client.wait_closed()
    with pytest.raises(NotConnectedError):
        await client.query("echo;")


@pytest.mark.parametrize("turns", range(14))
async def test_closing_at_any_moment_of_connecting_leaves_nothing_open(new_client, cluster, until, turns):
    client = new_client()
    ready = client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    for _ in range(turns):
        await asyncio.sleep(0)
    client.close()
    await client.close_and_wait()
    assert ready.done()
    await until(lambda: not cluster.nodes[0].connections)


async def test_closing_twice_and_closing_what_never_connected_are_nothing(new_client, connect, cluster):
    client = await connect(cluster)
    await client.close_and_wait()
    await client.close_and_wait()
    await new_client().close_and_wait()


async def test_a_client_closes_itself_at_the_end_of_its_block(cluster, until):
    async with Client() as client:
        await client.connect(cluster.nodes[0].host, cluster.nodes[0].port)
        assert client.is_connected()
    assert not client.is_connected()
    await until(lambda: not cluster.nodes[0].connections)


async def test_wait_closed_does_not_wait_for_a_node_that_reads_no_more(connect, cluster, monkeypatch):
    from tdbwatch.client.links import link

    monkeypatch.setattr(link, "CLOSE_TIMEOUT", 0.05)
    client = await connect(cluster)
    cluster.nodes[0].faults.freeze()
    calls = [asyncio.create_task(client.query("echo;", data=b"x" * 10_000_000)) for _ in range(3)]
    await asyncio.sleep(0)
    await client.close_and_wait()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in ended} == {ConnectionLostError}
