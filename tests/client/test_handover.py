"""A node that shuts down is left in order: nothing that can be heard is missed, nothing is heard twice."""

import asyncio

import pytest

from tdbwatch.client import Observer
from tdbwatch.client.merging.merge import SETTLE
from tdbwatch.client.rooms.subscriptions import RoomStatus
from tdbwatch.exceptions import NodeError
from tdbwatch.node import Cluster
from tdbwatch.wire import Kind


@pytest.fixture
async def client(connect, pair):
    return await connect(pair)


@pytest.fixture
async def shut_down():
    tasks = []

    def shut_down(node):
        tasks.append(asyncio.create_task(node.shutdown()))
        return tasks[-1]

    yield shut_down
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_planned_shutdown_moves_the_client_before_the_node_is_gone(
    client, pair, where, shut_down, until
):
    leaving, other = where(client, pair)
    shut_down(leaving)
    await until(lambda: client.connection_info() == other.address)  # and no time has passed
    assert leaving.running


async def test_running_requests_finish_on_the_old_connection(client, pair, where, shut_down, until, clock):
    answer = asyncio.get_running_loop().create_future()
    pair.on_query("later;", lambda *_: answer)
    leaving, other = where(client, pair)
    running = asyncio.create_task(client.query("later;"))
    await client.query("echo;")
    shut_down(leaving)
    await until(lambda: client.connection_info() == other.address)
    await clock.advance(SETTLE + 1)
    answer.set_result("done")
    assert await running == "done"
    await until(lambda: leaving.connections == 0)


async def test_new_requests_go_to_the_new_node(client, pair, where, shut_down, until):
    leaving, other = where(client, pair)
    shut_down(leaving)
    await until(lambda: client.connection_info() == other.address)
    await client.query("echo;", n=1)
    assert pair.log[-1].node_id == other.id


async def test_an_emit_that_the_leaving_node_refuses_is_sent_by_another_one(
    client, pair, where, shut_down, until, Ears, monkeypatch
):
    from tdbwatch.client import outbox

    monkeypatch.setattr(outbox, "NODE_RETRY_WAIT", 0.0)
    ears = Ears("alerts")
    await ears.join(client)
    leaving, _ = where(client, pair)
    shut_down(leaving)
    await asyncio.sleep(0)
    await ears.emit("hello")
    await until(lambda: ears.events == ["hello"])


async def test_no_event_is_heard_twice_while_both_connections_live(
    client, pair, where, shut_down, until, Ears, clock, pass_time
):
    ears = Ears("alerts")
    await ears.join(client)
    leaving, other = where(client, pair)
    pair.emit("//stuff", "alerts", "before", node=other.id)
    await until(lambda: ears.heard)
    shut_down(leaving)
    await until(lambda: client.connection_info() == other.address)
    for number in range(20):
        pair.emit("//stuff", "alerts", f"while {number}", node=(leaving, other)[number % 2].id)
        await clock.advance(0.1)
    await pass_time(clock, 20)
    pair.emit("//stuff", "alerts", "after")
    await until(lambda: "after" in ears.events)
    assert ears.events[0] == "before"
    assert sorted(ears.events[1:-1]) == sorted(f"while {number}" for number in range(20))


async def test_equal_events_are_counted_while_both_connections_live(
    client, pair, Ears, until, clock, pass_time
):
    ears = Ears("alerts")
    await ears.join(client)
    await client.reconnect()
    for _ in range(10):
        pair.emit("//stuff", "alerts", "tick")
    await until(lambda: len(ears.heard) >= 10)
    await pass_time(clock, 20)
    pair.emit("//stuff", "alerts", "tock")
    await until(lambda: "tock" in ears.events)
    assert ears.events == ["tick"] * 10 + ["tock"]


async def test_the_old_connection_is_let_go_of_when_all_that_was_under_way_is_heard(
    client, pair, where, until, clock, pass_time
):
    old, new = where(client, pair)
    await client.reconnect()
    assert (old.connections, new.connections) == (1, 1)
    await pass_time(clock, SETTLE + 1)
    await until(lambda: old.connections == 0)


async def test_what_the_old_node_sends_late_is_still_heard(client, pair, where, until, Ears, clock):
    ears = Ears("alerts")
    await ears.join(client)
    old, _ = where(client, pair)
    old.faults.freeze()  # it is behind: what it is about to send the new connection is too late for
    pair.emit("//stuff", "alerts", "under way")
    await client.reconnect()
    old.faults.thaw()
    await until(lambda: ears.events == ["under way"])


async def test_on_join_is_called_again_after_a_move(client, pair, where, shut_down, until, Ears):
    ears = Ears("alerts")
    await ears.join(client)
    leaving, other = where(client, pair)
    shut_down(leaving)
    await until(lambda: client.connection_info() == other.address)
    await until(lambda: ears.hooks == ["init", "join", "join"])


async def test_on_join_is_called_once_for_a_reconnect_that_was_asked_for(
    client, pair, until, Ears, clock, pass_time
):
    ears = Ears("alerts")
    await ears.join(client)
    await client.reconnect()
    await until(lambda: len(ears.hooks) >= 3)
    await pass_time(clock, 20)
    assert ears.hooks == ["init", "join", "join"]


async def test_a_room_joined_while_moving_is_heard_on_the_new_connection(
    client, pair, where, until, Ears, clock, pass_time
):
    _, new = where(client, pair)
    new.faults.delay = 1.0
    early, late = Ears("alerts"), Ears("alerts")
    await early.join(client)
    moving = client.reconnect()
    await until(lambda: new.connections)
    await late.join(client)
    assert not moving.done()
    await until(moving.done, clock)
    await pass_time(clock, 20)
    pair.emit("//stuff", "alerts", "after", node=new.id)
    await until(lambda: early.events == late.events == ["after"], clock)


async def test_a_room_left_while_moving_is_left_on_both_connections(client, pair, where, until, Ears, clock):
    ears = Ears("alerts")
    await ears.join(client)
    await client.reconnect()
    await ears.leave()
    assert not pair.collection("stuff").room("alerts").listeners


async def test_a_connection_lost_while_moving_is_replaced_at_once_by_the_new_one(
    client, pair, where, until, Ears, clock
):
    old, new = where(client, pair)
    ears = Ears("alerts")
    await ears.join(client)
    slow = asyncio.get_running_loop().create_future()
    code = Ears(".slow.id();")
    pair.on_query(".slow.id();", 1)
    await code.join(client)
    pair.on_query(".slow.id();", lambda *_: slow)
    client.reconnect()  # hangs at the room whose code is slow
    await until(lambda: pair.executed[Kind.JOIN] == 3)
    await old.stop()
    await until(lambda: client.connection_info() == new.address)
    assert await client.query("echo;", n=1) == {"n": 1}
    slow.set_result(1)
    await until(lambda: code.status is RoomStatus.JOINED)


async def test_a_move_that_fails_keeps_the_old_connection(client, pair, where, until, Ears, clock, pass_time):
    old, new = where(client, pair)
    ears = Ears("alerts")
    await ears.join(client)
    new.faults.refuse_connections = True
    moving = client.reconnect()
    await pass_time(clock, 10)
    assert not moving.done() or client.connection_info() == old.address
    pair.emit("//stuff", "alerts", "still here")
    await until(lambda: ears.events == ["still here"])
    new.faults.refuse_connections = False
    await until(moving.done, clock)
    pair.emit("//stuff", "alerts", "moved")
    await until(lambda: ears.events == ["still here", "moved"])


async def test_when_every_node_leaves_in_turn_the_client_follows(
    connect, shut_down, until, Ears, clock, where
):
    async with Cluster(3, clock=clock) as three:
        three.add_room("//stuff", "alerts")
        client = await connect(three)
        ears = Ears("alerts")
        await ears.join(client)
        for number in range(6):
            node = where(client, three)[0]
            gone = shut_down(node)
            await until(
                lambda node=node: client.connection_info() not in {node.address, "disconnected"}, clock
            )
            await until(gone.done, clock)
            three.emit("//stuff", "alerts", f"e{number}", node=where(client, three)[0].id)
            await until(lambda number=number: f"e{number}" in ears.events)
            await node.start()
        assert ears.events == [f"e{number}" for number in range(6)]
        await client.close_and_wait()


async def test_a_single_node_that_restarts_is_back_in_seconds(
    connect, cluster, shut_down, until, clock, Ears
):
    client = await connect(cluster)
    ears = Ears("alerts")
    await ears.join(client)
    await shut_down(cluster.nodes[0])
    await clock.advance(1)
    assert not client.is_connected()
    await cluster.nodes[0].start()
    before = clock.monotonic()
    await until(client.is_connected, clock)
    assert clock.monotonic() - before < 5
    await until(lambda: ears.hooks == ["init", "join", "join"], clock)


async def test_a_leaving_node_is_not_moved_to(client, pair, where, shut_down, until, clock, pass_time):
    _, other = where(client, pair)
    staying = where(client, pair)[0]
    shut_down(other)
    await clock.advance(1)
    other.faults.refuse_connections = False
    await client.reconnect()
    await pass_time(clock, 3)
    assert client.connection_info() in {staying.address, other.address}
    await pass_time(clock, 10)
    assert client.connection_info() == staying.address
    assert await client.query("echo;") == {}


async def test_a_node_that_cannot_join_rooms_yet_is_not_moved_to_until_it_can(
    client, pair, where, Ears, until, clock, pass_time
):
    ears = Ears("alerts")
    await ears.join(client)
    old, new = where(client, pair)
    new.synchronizing()
    moving = client.reconnect()
    await pass_time(clock, 20)
    assert client.connection_info() == old.address
    pair.emit("//stuff", "alerts", "still here")
    await until(lambda: ears.events == ["still here"])
    new.ready()
    await until(moving.done, clock)
    assert client.connection_info() == new.address
    pair.emit("//stuff", "alerts", "moved")
    await until(lambda: ears.events == ["still here", "moved"])


async def test_a_room_made_anew_after_a_move_is_heard(client, pair, Ears, until, clock, pass_time):
    ears = Ears("alerts")
    await ears.join(client, lasting=True)
    await client.reconnect()
    pair.emit("//stuff", "alerts", "before")
    pair.delete_room("//stuff", "alerts")
    await until(lambda: "delete" in ears.hooks)
    await pass_time(clock, 20)  # both connections are not compared any more
    pair.add_room("//stuff", "alerts")
    await until(lambda: ears.status is RoomStatus.JOINED, clock)
    pair.emit("//stuff", "alerts", "after")
    await until(lambda: ears.events == ["before", "after"])


async def test_a_node_that_is_away_is_not_left(client, pair, where, Ears, until, pass_time, clock):
    node, _ = where(client, pair)
    ears = Ears("alerts")
    await ears.join(client)
    for step in (node.away_soon, node.away, node.ready):
        step()
        await pass_time(clock, 20)
        pair.emit("//stuff", "alerts", step.__name__)
    await until(lambda: len(ears.heard) == 3)
    assert client.connection_info() == node.address
    assert ears.hooks == ["init", "join"]


async def test_two_connections_hear_every_event_once_and_survive_the_loss_of_one(
    connect, pair, Ears, until, clock, pass_time
):
    client = await connect(pair, connections=2)
    await until(lambda: all(node.connections for node in pair.nodes), clock)
    ears = Ears("alerts")
    await ears.join(client)
    assert len(pair.collection("stuff").room("alerts").listeners) == 2
    for number in range(50):
        pair.emit("//stuff", "alerts", str(number), node=number % 2)
    await until(lambda: len(ears.heard) >= 50)
    await pair.nodes[0].stop()
    for number in range(50, 60):
        pair.emit("//stuff", "alerts", str(number), node=1)
    await until(lambda: len(ears.heard) >= 60)
    await pair.nodes[0].start()
    await until(lambda: len(pair.collection("stuff").room("alerts").listeners) == 2, clock)
    await pass_time(clock, 30)
    assert sorted(ears.events, key=int) == [str(number) for number in range(60)]
    await ears.leave()
    assert not pair.collection("stuff").room("alerts").listeners


async def test_without_auto_reconnect_a_leaving_node_is_not_left(connect, pair, where, shut_down, clock):
    client = await connect(pair, auto_reconnect=False)
    leaving, _ = where(client, pair)
    shut_down(leaving)
    await clock.advance(1)
    assert client.connection_info() == leaving.address
    with pytest.raises(NodeError):
        await client.emit("alerts", "e")


async def test_of_two_connections_the_replaced_one_is_let_go_of_and_told_of(connect, clock, until, pass_time):
    told = []

    class Watcher(Observer):
        def disconnected(self, address, reason):
            told.append(str(address))

    async with Cluster(3, clock=clock) as cluster:
        client = await connect(cluster, connections=2, observer=Watcher())
        await until(lambda: sum(node.connections for node in cluster.nodes) == 2, clock)
        replaced = client.connection_info()
        await client.reconnect()
        await pass_time(clock, 10)
        await until(lambda: sum(node.connections for node in cluster.nodes) == 2, clock)
        assert told == [replaced]


async def test_what_was_counted_of_repeated_events_outlives_the_connection_that_repeated_them(
    connect, pair, where, Ears, until, clock, pass_time
):
    client = await connect(pair, connections=1)
    ears = Ears("alerts")
    await ears.join(client)
    [subscription] = client.__tdbwatch__.fleet.subscriptions
    client.reconnect()
    await until(lambda: subscription.merge is not None and len(subscription.merge) == 2, clock, step=0.05)
    pair.emit("//stuff", "alerts", "once")
    await until(lambda: subscription.doubled == 1)
    await pass_time(clock, 12)
    assert subscription.merge is None
    assert (ears.events, subscription.doubled) == (["once"], 1)
