"""Emitting to a room, joined or not, and the order in which emits are heard."""

import asyncio

import pytest


async def test_an_emit_comes_back_unless_it_is_for_peers_only(client, connect, cluster, Ears, until):
    mine, other = Ears("alerts"), Ears("alerts")
    await mine.join(client)
    await other.join(await connect(cluster))
    await mine.emit("all", 1)
    await mine.emit("peers", peers_only=True)
    await until(lambda: len(other.heard) == 2)
    assert (mine.events, other.events) == (["all"], ["all", "peers"])


@pytest.mark.parametrize("key", ["alerts", 1, ".alerts.id();"])
async def test_a_room_can_be_emitted_to_without_joining(client, cluster, Ears, until, key):
    cluster.on_query(".alerts.id();", 1)
    cluster.on_query(
        "room(name).id();", lambda scope, code, v: cluster.collection("stuff").room(v["name"]).id
    )
    cluster.on_query("room(id).id();", lambda scope, code, v: cluster.collection("stuff").room(v["id"]).id)
    ears, mouth = Ears("alerts"), Ears(key)
    await ears.join(client)
    await mouth.no_join(client)
    await mouth.emit("hello")
    assert (ears.events, mouth.events, mouth.id) == (["hello"], [], 1)
    await mouth.leave()
    assert (mouth.hooks, client.get_rooms()) == ([], (ears,))


@pytest.mark.parametrize(("key", "error"), [("nowhere", LookupError), (77, TypeError), (".odd;", TypeError)])
async def test_no_join_of_something_that_is_no_room_is_an_error(client, cluster, Ears, key, error):
    cluster.on_query(".odd;", "chat")
    for code, name in (("room(id).id();", "id"), ("room(name).id();", "name")):
        cluster.on_query(code, lambda scope, code, v, n=name: cluster.collection("stuff").room(v[n]).id)
    with pytest.raises(error):
        await Ears(key).no_join(client)


async def test_emitting_needs_a_client_and_a_room(client, cluster, Ears, until):
    ears = Ears("alerts")
    with pytest.raises(RuntimeError, match=r"join\(\) or no_join\(\) first"):
        await ears.emit("e")
    await ears.join(client)
    cluster.delete_room("//stuff", "alerts")
    await until(lambda: "delete" in ears.hooks)
    assert ears.id == 1
    with pytest.raises(LookupError):
        await ears.emit("e")


async def test_nothing_is_emitted_before_it_is_awaited(client, Ears, until):
    ears = Ears("alerts")
    await ears.join(client)
    second, first = ears.emit("second"), asyncio.create_task(ears.emit("first"))
    await first
    await second
    await until(lambda: ears.events == ["first", "second"])


async def test_an_emit_to_a_missing_room_is_a_lookup_error(client):
    with pytest.raises(LookupError):
        await client.emit("nowhere", "e")


async def test_events_of_a_room_are_heard_in_the_order_they_were_emitted(client, cluster, emit, Ears, until):
    cluster.add_room("//stuff", "other")
    rooms = [Ears("alerts"), Ears("other")]
    for room in rooms:
        await room.join(client)
    for number in range(2000):
        emit(str(number), b"x" * (number * 37 % 500), room=("alerts", "other")[number % 3 == 0])
    await until(lambda: sum(len(room.heard) for room in rooms) == 2000)
    for room in rooms:
        assert room.events == sorted(room.events, key=int)
