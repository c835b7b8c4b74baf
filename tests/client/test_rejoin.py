"""After a reconnect every room is resolved again, in few requests, and none holds up the others."""

import asyncio

import pytest

from tdbwatch import exceptions as errors
from tdbwatch.client.rooms import joiner, retries
from tdbwatch.client.rooms.subscriptions import RoomStatus
from tdbwatch.room import Room
from tdbwatch.wire import Kind


async def test_rooms_are_joined_again_and_on_join_is_called_again(client, cluster, Ears, lose, until):
    ears = Ears("alerts")
    await ears.join(client)
    await lose()
    await until(lambda: ears.hooks == ["init", "join", "join"])
    cluster.emit("//stuff", "alerts", "after")
    await until(lambda: ears.events == ["after"])


async def test_a_room_made_anew_under_its_name_is_joined_under_its_new_id(client, cluster, Ears, lose, until):
    ears = Ears("alerts")
    await ears.join(client)

    def anew():
        cluster.delete_room("//stuff", "alerts")
        cluster.add_room("//stuff", "alerts")

    await lose(anew)
    await until(lambda: ears.id == 2)
    cluster.emit("//stuff", 2, "after")
    await until(lambda: ears.events == ["after"])
    assert "delete" not in ears.hooks


async def test_a_lasting_room_made_anew_while_connected_is_found_again(client, cluster, Ears, until, clock):
    ears = Ears("alerts")
    await ears.join(client, lasting=True)
    cluster.delete_room("//stuff", "alerts")
    await until(lambda: ears.status is RoomStatus.DELETED)
    cluster.add_room("//stuff", "alerts")
    await until(lambda: ears.id == 2, clock)
    assert ears.hooks == ["init", "join", "delete", "join"]


async def test_code_is_run_again_at_every_join(client, cluster, Ears, lose, until):
    ids = iter([1, 2, 2])
    cluster.add_room("//stuff", "other")
    cluster.on_query(".current.id();", lambda *_: next(ids))
    ears = Ears(".current.id();")
    await ears.join(client)
    assert ears.id == 1
    await lose()
    await until(lambda: ears.id == 2)
    cluster.emit("//stuff", "other", "after")
    await until(lambda: ears.events == ["after"])


@pytest.mark.parametrize("key", ["alerts", 1, ".alerts.id();"])
async def test_a_room_that_is_gone_calls_on_delete_and_is_reported(
    client, cluster, Ears, lose, until, key, caplog
):
    cluster.on_query(".alerts.id();", lambda *_: cluster.collection("stuff").room("alerts").id)
    ears = Ears(key)
    await ears.join(client)
    await lose(lambda: cluster.delete_room("//stuff", "alerts"))
    await until(lambda: "delete" in ears.hooks)
    assert ears.hooks.count("delete") == 1
    assert client.get_rooms() == ()
    assert any("was deleted" in record.getMessage() for record in caplog.records)


async def test_a_collection_that_is_gone_deletes_its_rooms(client, cluster, Ears, lose, until):
    rooms = [Ears("alerts"), Ears(1)]
    for room in rooms:
        await room.join(client)
    await lose(lambda: cluster.delete_collection("stuff") or cluster.add_collection("stuff"))
    await until(lambda: all("delete" in room.hooks for room in rooms))


async def test_a_room_whose_id_cannot_come_back_is_not_asked_for_again_on_this_connection(
    client, cluster, Ears, until, pass_time, clock
):
    ears = Ears(1)
    await ears.join(client, lasting=True)
    cluster.delete_room("//stuff", 1)
    await until(lambda: "delete" in ears.hooks)
    joins = cluster.executed[Kind.JOIN]
    await pass_time(clock, 60)
    assert cluster.executed[Kind.JOIN] == joins


async def test_one_bad_room_does_not_hold_up_the_others(client, cluster, Ears, lose, until):
    cluster.on_query(".slow.id();", 1)
    cluster.on_query(".odd.id();", 1)
    cluster.on_query(".failing.id();", 1)
    cluster.add_room("//ops", "deploys")
    rooms = {
        key: Ears(key, scope)
        for key, scope in [
            ("alerts", "//stuff"),
            (".slow.id();", "//stuff"),
            (".odd.id();", "//stuff"),
            (".failing.id();", "//stuff"),
            ("deploys", "//ops"),
        ]
    }
    for room in rooms.values():
        await room.join(client)

    def spoil():
        cluster.on_query(".slow.id();", lambda *_: asyncio.get_running_loop().create_future())
        cluster.on_query(".odd.id();", "nonsense")
        cluster.on_query(".failing.id();", fail)
        cluster.delete_collection("ops")

    def fail(*_):
        raise errors.CustomError("no")

    await lose(spoil)
    await until(lambda: rooms["alerts"].hooks.count("join") == 2)
    await until(lambda: "delete" in rooms["deploys"].hooks)
    assert rooms[".slow.id();"].status is RoomStatus.WAITING
    assert rooms[".odd.id();"].status is RoomStatus.REFUSED
    assert rooms[".failing.id();"].status is RoomStatus.REFUSED


async def test_rooms_by_quick_code_do_not_wait_for_slow_code(client, cluster, Ears, lose, until):
    cluster.on_query(".quick.id();", 1)
    cluster.on_query(".slow.id();", 1)
    quick, slow = Ears(".quick.id();"), Ears(".slow.id();")
    await quick.join(client)
    await slow.join(client)
    never = asyncio.get_running_loop().create_future()
    await lose(lambda: cluster.on_query(".slow.id();", lambda *_: never))
    await until(lambda: quick.hooks.count("join") == 2)
    never.set_result(1)
    await until(lambda: slow.hooks.count("join") == 2)


@pytest.mark.parametrize(
    "error", [errors.NodeError("not ready"), errors.ForbiddenError("no"), errors.InternalError("hm")]
)
async def test_a_room_that_cannot_be_joined_now_is_tried_again(
    client, cluster, node, Ears, lose, until, clock, error
):
    ears = Ears("alerts")
    await ears.join(client)
    await lose(lambda: node.faults.refuse(Kind.JOIN, 5, error))
    await until(lambda: ears.status is RoomStatus.JOINED, clock)
    cluster.emit("//stuff", "alerts", "after")
    await until(lambda: ears.events == ["after"])
    assert "delete" not in ears.hooks


async def test_one_room_that_the_server_chokes_on_does_not_keep_the_rest_of_its_request_away(
    client, cluster, Ears, monkeypatch, until
):
    from tdbwatch.node import handlers

    join = handlers._HANDLERS[Kind.JOIN]

    def choke(connection, body):
        if "poison" in body:
            raise errors.BadDataError("poison")
        return join(connection, body)

    monkeypatch.setitem(handlers._HANDLERS, Kind.JOIN, choke)
    await client.close_and_wait()
    rooms = [Ears(name) for name in ("alerts", "poison")]
    for number in range(50):
        cluster.add_room("//stuff", f"room{number}")
        rooms.append(Ears(f"room{number}"))
    connecting = client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    joining = [asyncio.create_task(room.join(client)) for room in rooms]
    await connecting
    results = await asyncio.gather(*joining, return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [errors.BadDataError]
    assert sum(room.status is RoomStatus.JOINED for room in rooms) == 51
    assert cluster.executed[Kind.JOIN] < 16


class Counting(Room):
    """A cheap room."""

    heard = 0

    def on_emit(self, event, *args):
        self.heard += 1


async def all_joined(rooms, until):
    """Each room is looked at until it is joined, and once more at the end."""
    for room in rooms:
        await until(lambda room=room: room.status is RoomStatus.JOINED)
    assert all(room.status is RoomStatus.JOINED for room in rooms)


async def test_many_rooms_are_joined_again_in_few_requests(client, cluster, lose, until, monkeypatch):
    monkeypatch.setattr(joiner, "ROOMS_PER_REQUEST", 100)
    rooms = []
    for number in range(300):
        cluster.add_room("//stuff", f"room{number}")
        rooms.append(Counting(f"room{number}"))
    await asyncio.gather(*(room.join(client, wait=0) for room in rooms))
    before = cluster.executed[Kind.JOIN]
    await lose()
    await all_joined(rooms, until)
    assert cluster.executed[Kind.JOIN] - before <= 4
    cluster.emit("//stuff", "room0", "e")
    cluster.emit("//stuff", "room299", "e")
    await until(lambda: rooms[0].heard and rooms[-1].heard)


async def test_rooms_by_code_are_joined_again_in_few_requests(client, cluster, lose, until):
    rooms = []
    for number in range(300):
        room_id = cluster.add_room("//stuff")
        cluster.on_query(f".room{number}.id();", room_id)
        rooms.append(Counting(f".room{number}.id();"))
    await asyncio.gather(*(room.join(client, wait=0) for room in rooms))
    before = cluster.executed[Kind.JOIN]
    await lose()
    await all_joined(rooms, until)
    assert cluster.executed[Kind.JOIN] - before <= 15


@pytest.mark.parametrize("error", [errors.NodeError("not ready"), errors.ForbiddenError("no")])
async def test_rooms_that_were_refused_together_are_asked_for_again_in_one_request(
    client, cluster, node, lose, until, clock, error
):
    rooms = []
    for number in range(100):
        cluster.add_room("//stuff", f"room{number}")
        rooms.append(Counting(f"room{number}"))
    await asyncio.gather(*(room.join(client, wait=0) for room in rooms))
    before = cluster.executed[Kind.JOIN]
    await lose(lambda: node.faults.refuse(Kind.JOIN, 3, error))
    await until(lambda: all(room.status is RoomStatus.JOINED for room in rooms), clock, 0.01)
    assert cluster.executed[Kind.JOIN] - before == 1


async def test_a_connection_lost_while_joining_is_no_end(client, cluster, node, Ears, until, clock):
    ears = Ears("alerts")
    await ears.join(client)
    node.faults.close_on(Kind.JOIN, 3)
    node.faults.close_connections()
    await until(lambda: ears.hooks == ["init", "join", "join"], clock)


async def test_garbage_while_joining_is_no_end(client, cluster, node, Ears, until, clock, monkeypatch):
    from tdbwatch.node import handlers

    join = handlers._HANDLERS[Kind.JOIN]
    garbage = [b"\xff" * 8] * 2

    def spoil(connection, body):
        if garbage:
            connection.send(garbage.pop())
        return join(connection, body)

    ears = Ears("alerts")
    await ears.join(client)
    monkeypatch.setitem(handlers._HANDLERS, Kind.JOIN, spoil)
    node.faults.close_connections()
    await until(lambda: ears.hooks == ["init", "join", "join"], clock)


async def test_a_room_that_the_server_leaves_by_itself_is_joined_again(
    client, cluster, node, Ears, until, clock
):
    from tdbwatch.wire import encode_push

    ears = Ears("alerts")
    await ears.join(client)
    (connection,) = node.clients
    room = cluster.collection("stuff").room("alerts")
    del room.listeners[connection]
    connection.rooms.discard(room)
    connection.send(encode_push(Kind.ROOM_LEAVE, {"scope": "@collection:stuff", "id": 1}))
    await until(lambda: room.listeners, clock)


async def test_waits_between_attempts_at_a_room_grow(client, cluster, node, Ears, pass_time, clock, lose):
    ears = Ears("alerts")
    await ears.join(client, lasting=True)
    await lose(lambda: cluster.delete_room("//stuff", "alerts"))
    before = cluster.executed[Kind.JOIN]
    await pass_time(clock, 300)
    attempts = cluster.executed[Kind.JOIN] - before
    assert 5 <= attempts <= 20
    assert retries.OF_ROOM.maximum == 60
