"""While a client is open there is a connection, or one is being made; when it is lost another one is made."""

import asyncio

import pytest

from tdbwatch.exceptions import NotConnectedError

from .keeper_kit import Diary


async def test_a_lost_connection_is_made_again(connect, cluster, clock, until):
    diary = Diary()
    client = await connect(cluster, observer=diary)
    cluster.nodes[0].faults.close_connections()
    await until(lambda: not client.is_connected())
    await until(client.is_connected, clock)
    assert await client.query("echo;") == {}
    assert [what for what, _ in diary.entries] == ["connected", "disconnected", "connected"]


async def test_waits_between_attempts_grow_and_are_told(connect, cluster, clock, until, pass_time):
    diary = Diary()
    client = await connect(cluster, observer=diary)
    await cluster.nodes[0].stop()
    await pass_time(clock, 120)
    attempts = sum(what == "unreachable" for what, _ in diary.entries)
    assert 5 <= attempts <= 15
    await cluster.nodes[0].start()
    await until(client.is_connected, clock)


async def test_a_node_that_accepts_and_closes_at_once_is_tried_again(
    connect, cluster, clock, until, pass_time
):
    client = await connect(cluster)
    cluster.nodes[0].faults.refuse_connections = True
    cluster.nodes[0].faults.close_connections()
    await pass_time(clock, 10)
    assert not client.is_connected()
    cluster.nodes[0].faults.refuse_connections = False
    await until(client.is_connected, clock)


async def test_a_lost_node_is_replaced_by_another_one(connect, pair, where, until, clock):
    client = await connect(pair)
    lost, other = where(client, pair)
    await lost.stop()
    await until(lambda: client.connection_info() == other.address, clock)


async def test_without_auto_reconnect_a_lost_connection_stays_lost_until_reconnect(
    connect, cluster, pass_time, clock, until
):
    client = await connect(cluster, auto_reconnect=False)
    cluster.nodes[0].faults.close_connections()
    await pass_time(clock, 10)
    assert not client.is_connected()
    with pytest.raises(NotConnectedError):
        await client.query("echo;")
    await until(client.reconnect().done, clock)
    assert await client.query("echo;") == {}


async def test_without_auto_reconnect_a_reconnect_that_fails_says_why(connect, cluster, until, clock):
    client = await connect(cluster, auto_reconnect=False)
    await cluster.nodes[0].stop()
    await until(lambda: not client.is_connected())
    failing = client.reconnect()
    await until(failing.done, clock)
    assert isinstance(failing.exception(), ConnectionRefusedError)
    await cluster.nodes[0].start()
    working = client.reconnect()
    await until(working.done, clock)
    assert client.is_connected()


async def test_reconnect_moves_to_another_node_and_loses_no_call(connect, pair, where, until):
    client = await connect(pair)
    _, other = where(client, pair)
    running = asyncio.create_task(client.query("slow;"))
    await asyncio.sleep(0)
    await client.reconnect()
    assert client.connection_info() == other.address
    assert not running.done()
    running.cancel()


async def test_reconnect_with_a_single_node_makes_a_new_connection_to_it(
    connect, cluster, clock, until, pass_time
):
    client = await connect(cluster)
    (before,) = cluster.nodes[0].clients
    await client.reconnect()
    assert client.is_connected()
    await pass_time(clock, 5)
    (after,) = cluster.nodes[0].clients
    assert after is not before


async def test_reconnect_while_reconnecting_is_none(connect, pair, until):
    client = await connect(pair)
    moving = client.reconnect()
    assert client.reconnect() is None
    await moving
    pair.nodes[0].faults.refuse_connections = pair.nodes[1].faults.refuse_connections = True
    for node in pair.nodes:
        node.faults.close_connections()
    await until(lambda: not client.is_connected())
    assert client.reconnect() is None


async def test_reconnect_before_connect_is_an_error(new_client):
    with pytest.raises(NotConnectedError, match="never connected"):
        new_client().reconnect()


async def test_a_cancelled_reconnect_goes_on_in_the_background(connect, pair, where, until):
    client = await connect(pair)
    _, other = where(client, pair)
    client.reconnect().cancel()
    await until(lambda: client.connection_info() == other.address)


async def test_a_mistake_of_ours_is_logged_and_the_next_attempt_made(
    new_client, cluster, clock, until, caplog
):
    class Broken(Diary):
        def unreachable(self, address, reason, wait):
            super().unreachable(address, reason, wait)
            raise ZeroDivisionError("a mistake")

    observer = Broken()
    client = new_client(observer=observer)
    cluster.nodes[0].faults.refuse_connections = True
    ready = client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    await until(lambda: len(observer.entries) == 3, clock)
    cluster.nodes[0].faults.refuse_connections = False
    await until(ready.done, clock)
    assert client.is_connected()
    assert caplog.text.count("keeping the connection failed by a mistake of ours") == 3
    caplog.clear()


async def test_a_single_attempt_that_fails_by_a_mistake_of_ours_ends_with_it(
    new_client, cluster, monkeypatch, clock, until
):
    async def authenticate(*args):
        raise ZeroDivisionError("a mistake")

    client = new_client(auto_reconnect=False)
    await client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    cluster.nodes[0].faults.close_connections()
    monkeypatch.setattr("tdbwatch.client.links.keeper.authenticate", authenticate)
    await until(lambda: not client.is_connected())
    again = client.reconnect()
    await until(again.done, clock)
    assert isinstance(again.exception(), ZeroDivisionError)


@pytest.mark.parametrize(("longest", "waits"), [(3, 3), (60, 30), (120, 30)])
async def test_a_node_waits_no_longer_than_the_client_allows(new_client, pair, clock, until, longest, waits):
    diary = Diary()
    client = new_client(observer=diary)
    client.MAX_RECONNECT_WAIT_TIME = longest
    for node in pair.nodes:
        await node.stop()
    connecting = client.connect_pool([node.address for node in pair.nodes], "admin", "pass")
    await until(lambda: len(diary.waits) > 20, clock, step=1.0)
    client.close()
    await asyncio.wait([connecting])
    assert waits / 2 < max(diary.waits) <= waits
