"""An idle link lives as long as its node answers pings, and not longer."""

import pytest

from tdbwatch.client import Client, Heartbeat
from tdbwatch.node import Cluster
from tdbwatch.testing import ManualClock


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
