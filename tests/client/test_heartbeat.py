"""An idle link lives as long as its node answers pings, and not longer."""

import asyncio

import pytest

from tdbwatch.client import Client, Heartbeat
from tdbwatch.exceptions import ConnectionLostError
from tdbwatch.node import Cluster
from tdbwatch.testing import ManualClock
from tdbwatch.wire import Kind


@pytest.fixture
async def node():
    async with Cluster(1) as cluster:
        yield cluster.nodes[0]


@pytest.fixture
async def idle(node):
    """A client that asks for nothing, and the clock that it goes by."""
    clock = ManualClock()
    async with Client(heartbeat=Heartbeat(interval=5.0, timeout=15.0), clock=clock) as client:
        await client.connect(node.host, node.port)
        await client.authenticate("admin", "pass")
        yield client, clock


async def test_an_idle_connection_to_a_node_that_answers_pings_is_kept(idle, node):
    client, clock = idle
    (connection,) = node.clients

    for _ in range(120):
        await clock.advance(1.0)

    assert client.is_connected()
    assert node.clients == (connection,)


async def test_a_node_that_freezes_while_idle_is_noticed_within_the_timeout(idle, node):
    client, clock = idle
    for _ in range(60):
        await clock.advance(1.0)

    node.faults.freeze()
    for _ in range(15):
        await clock.advance(1.0)

    assert not client.is_connected()


async def test_a_node_that_freezes_in_use_is_left_for_another_one(connect, pair, where, Ears, until, clock):
    client = await connect(pair)
    ears = Ears("alerts")
    await ears.join(client)
    frozen, other = where(client, pair)
    unknown = asyncio.create_task(client.query("slow;"))
    await asyncio.sleep(0)
    frozen.faults.freeze()
    waiting_since = clock.monotonic()
    await until(lambda: client.connection_info() == other.address, clock)
    assert clock.monotonic() - waiting_since <= 16
    with pytest.raises(ConnectionLostError, match="executed or not"):
        await unknown
    pair.emit("//stuff", "alerts", "after")
    await until(lambda: ears.events == ["after"], clock)


async def test_a_node_that_answers_late_but_in_time_is_kept(idle, node):
    client, clock = idle
    for _ in range(5):
        node.faults.freeze()
        for _ in range(14):
            await clock.advance(1.0)
        node.faults.thaw()
        for _ in range(10):
            await clock.advance(1.0)
    assert client.is_connected()


async def test_a_process_that_slept_asks_before_it_gives_a_node_up(idle, node):
    client, clock = idle
    (connection,) = node.clients
    clock._elapsed += 3600.0  # as after a suspended laptop: nothing ran meanwhile
    for _ in range(30):
        await clock.advance(1.0)
    assert node.clients == (connection,)
    assert client.is_connected()


async def test_events_are_signs_of_life_and_spare_the_pings(connect, cluster, clock, until):
    client = await connect(cluster)
    for number in range(60):
        assert await client.query("echo;", number=number) == {"number": number}
        await clock.advance(1.0)
    assert cluster.executed[Kind.PING] == 0


@pytest.mark.parametrize(("interval", "timeout"), [(0, 15), (5, 5), (15, 5), (-1, 1)])
def test_a_heartbeat_that_cannot_work_is_refused(interval, timeout):
    with pytest.raises(ValueError, match="0 < interval < timeout"):
        Heartbeat(interval, timeout)
