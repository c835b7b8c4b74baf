"""A login that a node refuses is an error only when every node was reached and refuses it."""

import asyncio
import contextlib
import random

import pytest

from tdbwatch import exceptions
from tdbwatch.client.links import keeper
from tdbwatch.exceptions import AuthError, NodeError
from tdbwatch.wire import Kind

ORDERS = range(4)
"""Seeds of chance, so that each of two nodes is tried first in some."""
JOINING = AuthError("invalid username or password")
"""What a node answers that is just joining its cluster: it knows no users yet."""


def refuse(node, error=JOINING):
    node.faults.refuse(Kind.AUTH, error=error)


@pytest.fixture
def start(new_client):
    def start(nodes, **options):
        client = new_client(**options)
        addresses = [node if isinstance(node, str) else node.address for node in nodes]
        return client, client.connect_pool(addresses, "admin", "pass")

    return start


@pytest.fixture
async def other_server():
    """A server that accepts, and greets with what is no ThingsDB."""
    servers = []

    async def other_server(greeting=b""):
        async def serve(reader, writer):
            writer.write(greeting)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        return "{}:{}".format(*server.sockets[0].getsockname()[:2])

    yield other_server
    for server in servers:
        server.close()
        await server.wait_closed()


# -- the first connection ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", ORDERS)
@pytest.mark.parametrize("connections", [1, 2])
async def test_a_node_that_refuses_is_passed_over_at_once(start, pair, seed, connections):
    refuse(pair.nodes[0])
    client, ready = start(pair.nodes, rng=random.Random(seed), connections=connections)
    await ready
    assert client.connection_info() == pair.nodes[1].address


@pytest.mark.parametrize("seed", ORDERS)
async def test_if_every_node_refuses_the_error_names_each(start, pair, seed, until, clock):
    for node in pair.nodes:
        refuse(node)
    _, ready = start(pair.nodes, rng=random.Random(seed))
    await until(ready.done, clock)
    with pytest.raises(AuthError) as caught:
        await ready
    assert str(caught.value).startswith("no node takes the login: ")
    for node in pair.nodes:
        assert f"{node.address} refused the login: invalid username or password" in str(caught.value)


async def test_while_a_node_is_down_the_others_may_wait_for_it_so_a_refusal_is_not_the_end(
    start, pair, clock, until, pass_time
):
    refuse(pair.nodes[0])
    await pair.nodes[1].stop()
    client, ready = start(pair.nodes)
    await pass_time(clock, 60)
    assert not ready.done()
    pair.nodes[0].faults.clear()
    await until(ready.done, clock)
    assert client.connection_info() == pair.nodes[0].address


@pytest.mark.parametrize("seed", ORDERS)
async def test_once_the_last_node_is_up_it_is_the_end_only_if_all_refuse_then(
    start, pair, seed, clock, until, pass_time
):
    for node in pair.nodes:
        refuse(node)
    await pair.nodes[1].stop()
    client, ready = start(pair.nodes, rng=random.Random(seed))
    await pass_time(clock, 30)
    await pair.nodes[1].start()
    pair.nodes[0].faults.clear()  # it is a member again, but was asked before
    await until(ready.done, clock)
    assert client.connection_info() == pair.nodes[0].address


async def test_all_that_refuse_once_each_is_up_end_it(start, pair, clock, until, pass_time):
    for node in pair.nodes:
        refuse(node)
    await pair.nodes[1].stop()
    _, ready = start(pair.nodes)
    await pass_time(clock, 30)
    assert not ready.done()
    await pair.nodes[1].start()
    await until(ready.done, clock)
    with pytest.raises(AuthError, match="no node takes the login"):
        await ready


async def test_a_node_that_says_nothing_is_one_that_cannot_be_reached(
    start, pair, monkeypatch, clock, pass_time, until
):
    monkeypatch.setattr(keeper, "AUTH_TIMEOUT", 0.02)
    refuse(pair.nodes[0])
    pair.nodes[1].faults.freeze()
    client, ready = start(pair.nodes)
    await pass_time(clock, 20)
    assert not ready.done()
    pair.nodes[0].faults.clear()
    await until(ready.done, clock, step=0.01)
    assert client.connection_info() == pair.nodes[0].address


async def test_what_is_not_thingsdb_is_a_node_that_cannot_be_reached(
    start, cluster, other_server, clock, pass_time, until
):
    other = await other_server(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
    refuse(cluster.nodes[0])
    client, ready = start([cluster.nodes[0], other])
    await pass_time(clock, 20)
    assert not ready.done()
    cluster.nodes[0].faults.clear()
    await until(ready.done, clock)
    assert client.connection_info() == cluster.nodes[0].address


@pytest.mark.parametrize(
    "error", [NodeError("not ready"), exceptions.from_wire({"error_code": -77, "error_msg": "new"})]
)
async def test_a_node_that_answers_otherwise_may_take_the_login_later(
    start, pair, error, clock, until, pass_time
):
    refuse(pair.nodes[0])
    refuse(pair.nodes[1], error)
    client, ready = start(pair.nodes)
    await pass_time(clock, 60)
    assert not ready.done()
    pair.nodes[1].faults.clear()
    await until(ready.done, clock)
    assert client.connection_info() == pair.nodes[1].address


async def test_while_another_node_may_still_take_it_a_node_that_joins_its_cluster_is_waited_for(
    start, pair, clock, until, pass_time
):
    refuse(pair.nodes[0])
    refuse(pair.nodes[1], NodeError("not ready"))
    client, ready = start(pair.nodes)
    await pass_time(clock, 12)
    pair.nodes[0].faults.clear()
    before = clock.monotonic()
    await until(ready.done, clock)
    assert client.connection_info() == pair.nodes[0].address
    assert clock.monotonic() - before < 20


# -- later ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", ORDERS)
async def test_a_node_that_refuses_holds_up_no_other_one(start, pair, where, clock, until, seed):
    client, ready = start(pair.nodes, rng=random.Random(seed))
    await ready
    used, other = where(client, pair)
    refuse(other)
    used.faults.close_connections()
    await until(lambda: not client.is_connected())
    before = clock.monotonic()
    await until(client.is_connected, clock)
    assert client.connection_info() == used.address
    assert clock.monotonic() - before < 2


async def test_a_node_that_comes_back_is_used_though_another_one_refuses(
    start, pair, where, clock, until, pass_time
):
    client, ready = start(pair.nodes)
    await ready
    used, other = where(client, pair)
    refuse(other)
    await used.stop()
    await until(lambda: not client.is_connected())
    await pass_time(clock, 5)
    await used.start()
    before = clock.monotonic()
    await until(client.is_connected, clock)
    assert clock.monotonic() - before < 20


async def test_a_second_connection_is_made_when_its_node_stops_refusing(start, pair, clock, until, pass_time):
    refuse(pair.nodes[0])
    client, ready = start(pair.nodes, connections=2)
    await ready
    await pass_time(clock, 12)
    assert [str(link.address) for link in client.links()] == [pair.nodes[1].address]
    pair.nodes[0].faults.clear()
    before = clock.monotonic()
    await until(lambda: len(client.links()) == 2, clock)
    assert clock.monotonic() - before < 20


async def test_a_move_to_a_node_that_refuses_leaves_the_connection_in_use(
    start, pair, where, clock, until, pass_time
):
    client, ready = start(pair.nodes)
    await ready
    used, other = where(client, pair)
    refuse(other)
    moving = client.reconnect()
    await pass_time(clock, 5)
    assert not moving.done()
    assert await client.query("echo;", scope="//stuff") == {}
    assert client.connection_info() == used.address
    other.faults.clear()
    await until(moving.done, clock)
    assert client.connection_info() == other.address


@pytest.mark.parametrize("seed", ORDERS)
async def test_without_auto_reconnect_a_reconnect_tries_each_node_before_it_fails(
    start, pair, where, until, seed, clock
):
    client, ready = start(pair.nodes, auto_reconnect=False, rng=random.Random(seed))
    await ready
    used, other = where(client, pair)
    refuse(other)
    used.faults.close_connections()
    await until(lambda: not client.is_connected())
    again = client.reconnect()
    await until(again.done, clock)
    assert client.connection_info() == used.address
    refuse(used)
    used.faults.close_connections()
    await until(lambda: not client.is_connected())
    again = client.reconnect()
    await until(again.done, clock)
    assert isinstance(again.exception(), AuthError)
