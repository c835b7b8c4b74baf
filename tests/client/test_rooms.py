"""Rooms beside each other: several of one room, several of one id, a collection by its id."""

import asyncio
import copy

import pytest

from tdbwatch.wire import Kind


async def test_leaving_one_of_two_rooms_of_the_same_id_keeps_the_other(client, cluster, emit, Ears, until):
    cluster.add_room("//ops", "deploys")
    stuff, ops = Ears("alerts"), Ears("deploys", "//ops")
    await stuff.join(client)
    await ops.join(client)
    assert stuff.id == ops.id == 1
    await stuff.leave()
    emit("for nobody")
    emit("for ops", room="deploys", scope="//ops")
    await until(lambda: ops.heard)
    assert (stuff.events, ops.events) == ([], ["for ops"])


async def test_events_of_a_room_just_left_go_to_nobody_even_if_another_one_has_its_id(
    client, cluster, emit, Ears, node, until
):
    cluster.add_room("//ops", "deploys")
    stuff, ops = Ears("alerts"), Ears("deploys", "//ops")
    await stuff.join(client)
    await ops.join(client)
    leaving = asyncio.create_task(stuff.leave())
    await asyncio.sleep(0)
    for _ in range(3):
        emit("late")
    await leaving
    emit("for ops", room="deploys", scope="//ops")
    await until(lambda: ops.heard)
    assert (stuff.events, ops.events) == ([], ["for ops"])


async def test_two_objects_may_hear_one_room_and_leave_it_one_by_one(client, cluster, emit, Ears, until):
    one, two = Ears("alerts"), Ears(1)
    await one.join(client)
    await two.join(client)
    assert set(client.get_rooms()) == {one, two}
    emit("both")
    await until(lambda: two.heard)
    await one.leave()
    assert cluster.executed[Kind.LEAVE] == 0
    emit("two only")
    await until(lambda: len(two.heard) == 2)
    await two.leave()
    assert (one.events, two.events) == (["both"], ["both", "two only"])
    assert cluster.executed[Kind.LEAVE] == 1


async def test_rooms_of_the_same_id_in_two_collections_are_told_apart(client, cluster, emit, Ears, until):
    cluster.add_room("//ops", "deploys")
    rooms = [Ears("alerts"), Ears("deploys", "@:ops")]
    for room in rooms:
        await room.join(client)
    emit("stuff")
    emit("ops", room="deploys", scope="//ops")
    await until(lambda: all(room.heard for room in rooms))
    assert [room.events for room in rooms] == [["stuff"], ["ops"]]


async def test_a_collection_may_be_named_by_its_id(client, cluster, emit, Ears, until, monkeypatch):
    find = cluster.collection
    monkeypatch.setattr(cluster, "collection", lambda name: find("stuff" if name == "7" else name))
    ears = Ears("alerts", "//7")
    await ears.join(client)
    emit("e")
    await until(lambda: ears.heard)


async def test_a_copy_of_a_room_is_a_room_of_its_own(client, cluster, emit, Ears, until):
    class Slotted(Ears):
        __slots__ = ("mine",)

    room = Slotted("alerts")
    room.mine = "kept"
    await room.join(client)
    copied = copy.copy(room)
    assert (copied.mine, copied.id, copied.scope, copied.client) == ("kept", room.id, room.scope, client)
    copied.heard = []
    assert client.get_rooms() == (room,)
    await copied.join(client)
    assert set(client.get_rooms()) == {room, copied}
    await room.leave()
    emit("copy only")
    await until(lambda: copied.events)
    assert (room.events, copied.events) == ([], ["copy only"])


def test_a_copy_of_a_room_that_was_never_joined_has_no_client(Ears):
    room = Ears("alerts", "//ops")
    copied = copy.copy(room)
    assert repr(copied) == repr(room)
    with pytest.raises(RuntimeError, match="has no client yet"):
        _ = copied.client
