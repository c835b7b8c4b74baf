"""A room that was left or deleted is let go of, whole; one that only lost its name is not."""

import asyncio
import gc
import logging
import weakref

import pytest

from tdbwatch.client.rooms.subscriptions import RoomStatus
from tdbwatch.room import Room, event
from tdbwatch.wire import Kind

KEYS = ["alerts", 1, ".alerts.id();"]


@pytest.fixture(params=KEYS)
async def ears(client, cluster, Ears, request):
    """A room that is joined in one of the three ways."""
    cluster.on_query(".alerts.id();", lambda *_: cluster.collection("stuff").room("alerts").id)
    ears = Ears(request.param)
    await ears.join(client)
    return ears


async def test_a_deleted_room_leaves_the_table_tells_so_and_is_not_tried_again(
    client, cluster, ears, until, pass_time, clock
):
    cluster.delete_room("//stuff", "alerts")
    await until(lambda: ears.hooks == ["init", "join", "delete"])
    assert (client.get_rooms(), ears.status, ears.id) == ((), RoomStatus.DELETED, 1)
    cluster.add_room("//stuff", "alerts")
    requests = cluster.executed.total()
    await pass_time(clock, 4)
    assert cluster.executed.total() == requests


async def test_a_room_deleted_while_disconnected_leaves_the_table_and_is_not_tried_again(
    client, cluster, ears, until, pass_time, clock, lose
):
    await lose(lambda: cluster.delete_room("//stuff", "alerts"))
    await until(lambda: ears.hooks == ["init", "join", "delete"])
    assert (client.get_rooms(), ears.status, ears.id) == ((), RoomStatus.DELETED, 1)
    requests = cluster.executed.total()
    await pass_time(clock, 4)
    await lose()
    assert (cluster.executed.total() - requests, cluster.executed[Kind.LEAVE]) == (2, 0)  # AUTH and the query


async def test_a_deleted_room_can_be_joined_again_once_it_is_made_again_also_from_on_delete(
    client, cluster, until
):
    class Insisting(Room):
        heard = None

        async def on_delete(self):
            while True:
                try:
                    return await self.join(self.client)
                except LookupError:
                    await client.query("echo;")

        @event("e")
        def on_e(self, number):
            self.heard = number

    room = Insisting("alerts")
    await room.join(client)
    cluster.delete_room("//stuff", "alerts")
    await until(lambda: client.get_rooms() == ())
    cluster.add_room("//stuff", "alerts")
    await until(lambda: room.id == 2)
    cluster.emit("//stuff", "alerts", "e", 1)
    await until(lambda: room.heard == 1)


async def test_a_lasting_room_stays_and_is_joined_again_once_it_is_made_again(
    client, cluster, Ears, until, clock
):
    ears = Ears("alerts")
    await ears.join(client, lasting=True)
    cluster.delete_room("//stuff", "alerts")
    await until(lambda: ears.hooks == ["init", "join", "delete"])
    assert (client.get_rooms(), ears.status) == ((ears,), RoomStatus.DELETED)
    cluster.add_room("//stuff", "alerts")
    await until(lambda: ears.hooks == ["init", "join", "delete", "join"], clock)


async def test_what_another_connection_still_hears_of_a_deleted_room_is_handled(
    connect, pair, Ears, until, clock
):
    client = await connect(pair, connections=2)
    await until(lambda: all(node.connections for node in pair.nodes), clock)
    ears = Ears("alerts")
    await ears.join(client)
    quick, slow = pair.nodes
    quick.faults.lag = 100.0
    slow.faults.freeze()
    pair.emit("//stuff", "alerts", "before", node=slow.id)
    pair.delete_room("//stuff", "alerts")
    await until(lambda: "delete" in ears.hooks)
    assert (ears.heard, client.get_rooms()) == ([], ())
    slow.faults.thaw()
    await until(lambda: ears.events == ["before"])
    await client.query("echo;")
    assert ears.hooks == ["init", "join", "delete"]


def let_go(leave):
    """The two ways of a room to end."""

    async def end(room, cluster, name, until):
        if leave:
            await room.leave()
            cluster.delete_room("//stuff", name)
        else:
            cluster.delete_room("//stuff", name)
            await until(lambda: room.status is RoomStatus.DELETED)

    return end


@pytest.mark.parametrize("end", [let_go(True), let_go(False)], ids=["left", "deleted"])
@pytest.mark.parametrize("by", ["name", "id", "code"])
async def test_a_program_that_makes_and_ends_rooms_without_end_collects_nothing(
    client, cluster, until, end, by, caplog
):
    caplog.set_level(logging.CRITICAL, "tdbwatch")  # pytest keeps what is logged

    class Lock(Room):
        @event("go")
        def on_go(self): ...

        @event("async go")
        async def on_async_go(self): ...

    async def use(number):
        name = f"lock{number}"
        room_id = cluster.add_room("//stuff", name)
        cluster.on_query(f".{name}.id();", room_id)
        lock = Lock({"name": name, "id": room_id, "code": f".{name}.id();"}[by])
        await lock.join(client)
        cluster.emit("//stuff", name, "async go")
        await end(lock, cluster, name, until)
        missing = Lock("nowhere")
        with pytest.raises(LookupError):
            await missing.join(client)
        return weakref.ref(lock), weakref.ref(missing), weakref.ref(lock._Room__tdbwatch.membership)

    used = [reference for number in range(30) for reference in await use(number)]
    await client.query("echo;")
    for _ in range(10):
        await asyncio.sleep(0)
    gc.collect()
    assert client.get_rooms() == ()
    assert [reference() for reference in used if reference() is not None] == []


# -- rooms that are called otherwise now ---------------------------------------------------------------------


@pytest.mark.parametrize("key", ["alerts", ".alerts.id();"])
async def test_a_room_that_lost_its_name_is_joined_again_by_its_id(client, cluster, Ears, until, lose, key):
    """As with python-thingsdb, which resolves a name once."""
    cluster.on_query(".alerts.id();", lambda *_: cluster.collection("stuff").room("alerts").id)
    ears = Ears(key)
    await ears.join(client)
    await lose(lambda: rename(cluster, "alerts", "warnings"))
    await until(lambda: ears.hooks == ["init", "join", "join"])
    cluster.emit("//stuff", "warnings", "e")
    await until(lambda: ears.events == ["e"])


async def test_a_name_that_another_room_has_now_leads_to_that_room(client, cluster, Ears, until, lose):
    ears = Ears("alerts")
    await ears.join(client)

    def swap():
        rename(cluster, "alerts", "old")
        cluster.add_room("//stuff", "alerts")

    await lose(swap)
    await until(lambda: ears.id == 2)
    assert "delete" not in ears.hooks


def rename(cluster, old, new):
    """What `set_name` does."""
    collection = cluster.collection("stuff")
    room = collection._named.pop(old)
    room.name = new
    collection._named[new] = room
