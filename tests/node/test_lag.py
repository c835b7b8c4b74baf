"""The fault switch `lag`: emits of other nodes arrive later, as they do on a real cluster."""

from itertools import chain, repeat

import pytest

from tdbwatch.testing import settle
from tdbwatch.wire import Emit, Kind


@pytest.fixture
async def peer(cluster, join):
    return await join(cluster.nodes[0])


@pytest.fixture
def faults(cluster):
    return cluster.nodes[0].faults


def emit(cluster, *numbers, node):
    for number in numbers:
        cluster.emit("//stuff", "alerts", "e", number, node=node)


async def arrived(peer):
    return [push.args[0] for push in await peer.pending() if isinstance(push, Emit)]


async def test_emits_of_other_nodes_come_late_and_a_nodes_own_at_once(cluster, clock, peer, faults):
    faults.lag = 2.0
    emit(cluster, 1, node=1)
    emit(cluster, 2, node=0)
    assert await arrived(peer) == [2]
    await clock.advance(2.0)
    assert await arrived(peer) == [1]


async def test_the_order_of_an_emitting_node_is_kept_whatever_each_emit_takes(cluster, clock, peer, faults):
    lags = chain([3.0, 1.0, 0.0], repeat(0.5))
    faults.lag = lambda: next(lags)
    emit(cluster, 1, 2, 3, 4, node=1)
    await clock.advance(2.9)
    assert await arrived(peer) == []
    await clock.advance(0.1)
    assert await arrived(peer) == [1, 2, 3, 4]


async def test_emits_overtake_nothing_when_the_lag_ends(cluster, clock, peer, faults):
    faults.lag = 2.0
    emit(cluster, 1, node=1)
    faults.clear()
    emit(cluster, 2, node=1)
    assert await arrived(peer) == []
    await clock.advance(2.0)
    emit(cluster, 3, node=1)
    assert await arrived(peer) == [1, 2, 3]


async def test_a_late_emit_is_heard_by_whoever_joined_meanwhile(cluster, clock, faults, join):
    faults.lag = 2.0
    emit(cluster, 1, node=1)
    peer = await join(cluster.nodes[0])
    await clock.advance(2.0)
    assert await arrived(peer) == [1]


async def test_what_is_under_way_to_a_node_that_stops_is_lost(cluster, clock, peer, faults, join):
    faults.lag = 2.0
    emit(cluster, 1, node=1)
    await cluster.nodes[0].stop()
    await cluster.nodes[0].start()
    again = await join(cluster.nodes[0])
    await clock.advance(2.0)
    emit(cluster, 2, node=1)
    await clock.advance(2.0)
    assert await arrived(again) == [2]


async def test_what_is_under_way_to_a_deleted_room_is_heard_by_nobody(cluster, clock, peer, faults):
    faults.lag = 2.0
    emit(cluster, 1, node=1)
    cluster.delete_room("//stuff", "alerts")
    await clock.advance(2.0)
    assert [push.__class__.__name__ for push in await peer.pending()] == ["RoomDelete"]


async def test_a_late_emit_shows_the_collections_name_of_its_arrival(cluster, clock, peer, faults):
    faults.lag = 2.0
    emit(cluster, 1, node=1)
    cluster.rename_collection("stuff", "other")
    await clock.advance(2.0)
    (push,) = await peer.pending()
    assert push.scope == "@collection:other"


async def test_a_node_that_synchronizes_refuses_joins_and_hears_the_others(cluster, clock, peer):
    cluster.nodes[0].synchronizing()
    emit(cluster, 1, node=1)
    await settle()
    assert await arrived(peer) == [1]
    *_, answer = await peer.ask(Kind.JOIN, ["//stuff", "alerts"])
    assert answer.value["error_code"] == -51
