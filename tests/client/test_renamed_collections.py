"""Renaming a collection changes the scope of its pushes, and nothing is said about it."""

import asyncio

import pytest

from tdbwatch.client.rooms import strays
from tdbwatch.client.rooms.subscriptions import RoomStatus
from tdbwatch.wire import Kind


@pytest.fixture
async def client(connect, cluster):
    cluster.add_room("//ops", "deploys")
    return await connect(cluster)


@pytest.fixture
async def rooms(client, Ears):
    """Room 1 of //stuff and room 1 of //ops."""
    rooms = [Ears("alerts"), Ears("deploys", "//ops")]
    for room in rooms:
        await room.join(client)
    return rooms


async def test_rooms_of_a_renamed_collection_are_heard_on(client, cluster, Ears, until):
    ears = Ears("alerts")
    await ears.join(client)
    cluster.rename_collection("stuff", "things")
    for number in range(10):
        cluster.emit("//things", "alerts", str(number))
    await until(lambda: ears.events == [str(number) for number in range(10)])
    assert ears.scope == "@collection:things"


async def test_a_renamed_collection_is_found_though_another_one_has_a_room_of_the_same_id(
    client, cluster, rooms, until
):
    stuff, ops = rooms
    cluster.rename_collection("ops", "operations")
    for number in range(20):
        cluster.emit("//operations", "deploys", f"ops {number}")
        cluster.emit("//stuff", "alerts", f"stuff {number}")
    await until(lambda: len(stuff.heard) == len(ops.heard) == 20)
    assert stuff.events == [f"stuff {number}" for number in range(20)]
    assert ops.events == [f"ops {number}" for number in range(20)]


async def test_what_comes_while_it_is_not_known_whose_it_is_waits_and_comes_in_order(
    client, cluster, rooms, until, clock
):
    stuff, ops = rooms
    cluster.nodes[0].faults.delay = 1.0  # the question takes a second
    cluster.rename_collection("stuff", "things")
    cluster.emit("//things", "alerts", "0")
    await until(lambda: clock.sleepers and not cluster.nodes[0].faults.refuse_connections, clock, 0.0)
    for number in range(1, 5):
        cluster.emit("//things", "alerts", str(number))
        await clock.advance(0.1)
    assert stuff.events == []
    await until(lambda: len(stuff.heard) == 5, clock, 0.1)
    cluster.emit("//things", "alerts", "5")
    await until(lambda: len(stuff.heard) == 6, clock, 0.1)
    assert stuff.events == [str(number) for number in range(6)]
    assert ops.events == []


async def test_only_so_many_events_wait(client, cluster, Ears, until, clock, monkeypatch, caplog):
    monkeypatch.setattr(strays, "MAX_HELD", 3)
    ears = Ears("alerts")
    await ears.join(client)
    cluster.nodes[0].faults.delay = 1.0
    cluster.rename_collection("stuff", "things")
    for number in range(10):
        cluster.emit("//things", "alerts", str(number))
    await until(lambda: len(ears.heard) == 3, clock, 0.1)
    assert any("dropped" in record.getMessage() for record in caplog.records)


async def test_a_room_that_is_deleted_after_its_collection_was_renamed_is_deleted(
    client, cluster, rooms, until
):
    stuff, ops = rooms
    cluster.rename_collection("stuff", "things")
    cluster.emit("//things", "alerts", "last words")
    cluster.delete_room("//things", "alerts")
    await until(lambda: "delete" in stuff.hooks)
    assert (stuff.events, "delete" in ops.hooks) == (["last words"], False)


async def test_a_renamed_collection_is_emitted_to_and_joined_again_under_its_new_name(
    client, cluster, rooms, until, clock
):
    stuff, _ = rooms
    cluster.rename_collection("stuff", "things")
    cluster.emit("//things", "alerts", "1")
    await until(lambda: stuff.heard)
    await stuff.emit("2")
    await until(lambda: stuff.events == ["1", "2"])
    cluster.nodes[0].faults.close_connections()
    await until(lambda: not client.is_connected())
    await until(lambda: stuff.hooks.count("join") == 2, clock)
    cluster.emit("//things", "alerts", "3")
    await until(lambda: stuff.events == ["1", "2", "3"])
    assert "delete" not in stuff.hooks


async def test_a_collection_that_got_its_old_name_back_is_found_under_that(
    client, cluster, rooms, until, clock
):
    stuff, _ = rooms
    cluster.rename_collection("stuff", "things")
    cluster.emit("//things", "alerts", "1")
    await until(lambda: stuff.heard)
    cluster.nodes[0].faults.close_connections()
    await until(lambda: not client.is_connected())
    cluster.rename_collection("things", "stuff")
    await until(lambda: stuff.hooks.count("join") == 2, clock)
    assert (stuff.scope, "delete" in stuff.hooks) == ("@collection:stuff", False)


async def test_a_room_of_a_renamed_collection_can_be_left(client, cluster, rooms, until):
    stuff, ops = rooms
    cluster.rename_collection("stuff", "things")
    cluster.emit("//things", "alerts", "1")
    await until(lambda: stuff.heard)
    await stuff.leave()
    assert not cluster.collection("things").room("alerts").listeners
    cluster.emit("//ops", "deploys", "2")
    await until(lambda: ops.heard)


async def test_scopes_that_nobody_knows_cost_few_questions_and_no_memory(client, cluster, rooms, until):
    from tdbwatch.wire import encode_push

    stuff, ops = rooms
    before = cluster.executed[Kind.JOIN]
    (connection,) = cluster.nodes[0].clients
    for number in range(1_000):
        body = {"scope": f"@collection:c{number}", "id": 1, "event": "e", "args": []}
        connection.send(encode_push(Kind.ROOM_EMIT, body))
    cluster.emit("//stuff", "alerts", "mine")
    await until(lambda: stuff.heard)
    await client.query("echo;")
    (joiner,) = client.__tdbwatch__.fleet._groups[0].keepers[0].joiners
    await until(lambda: not joiner._strays._held)
    assert cluster.executed[Kind.JOIN] - before <= 2 * strays.MAX_SCOPES
    assert (stuff.events, ops.events) == (["mine"], [])


async def test_renaming_during_a_move_is_followed_on_both_connections(
    connect, pair, Ears, until, clock, pass_time
):
    client = await connect(pair)
    ears = Ears("alerts")
    await ears.join(client)
    await client.reconnect()
    pair.rename_collection("stuff", "things")
    for number in range(5):
        pair.emit("//things", "alerts", str(number))
        await clock.advance(0.5)
    await pass_time(clock, 20)
    pair.emit("//things", "alerts", "5")
    await until(lambda: "5" in ears.events)
    assert ears.events == [str(number) for number in range(6)]
    assert asyncio.get_running_loop().is_running()


def give_name_anew(cluster, *rooms):
    """The collection `stuff` is renamed, and another one made under its name, before anything is emitted."""
    cluster.rename_collection("stuff", "old")
    cluster.add_collection("stuff")
    for room_id, name in rooms:
        cluster.add_room("//stuff", name, room_id=room_id)


@pytest.mark.parametrize("room_id", [1, 7])
async def test_a_name_that_another_collection_got_leads_to_that_ones_rooms(
    client, cluster, Ears, until, caplog, room_id
):
    ears = Ears("alerts")
    await ears.join(client)
    give_name_anew(cluster, (room_id, "alerts"))
    cluster.emit("//old", "alerts", "from the renamed one")
    await until(lambda: ears.hooks.count("join") == 2)
    cluster.emit("//stuff", "alerts", "from the new one")
    await until(lambda: ears.heard)
    assert (ears.events, ears.id, ears.scope) == (["from the new one"], room_id, "@collection:stuff")
    assert "a collection is called //old now, and another one has its name, //stuff" in caplog.text


async def test_the_other_rooms_of_a_name_given_anew_are_looked_for_too_and_by_no_id_of_before(
    client, cluster, Ears, until, clock
):
    alerts, second = Ears("alerts"), Ears("second")
    cluster.add_room("//stuff", "second", room_id=8)
    await alerts.join(client)
    await second.join(client, lasting=True)
    give_name_anew(cluster, (8, "alerts"), (9, "another"))
    cluster.emit("//old", "alerts", "1")
    await until(lambda: alerts.id == 8)
    await until(lambda: second.status is RoomStatus.MISSING, clock, 0.0)
    cluster.add_room("//stuff", "second", room_id=10)
    await until(lambda: second.id == 10, clock)


async def test_late_events_of_a_room_that_was_left_displace_none(client, cluster, rooms, Ears, until):
    from tdbwatch.wire import encode_push

    stuff, ops = rooms
    await ops.leave()
    (connection,) = cluster.nodes[0].clients
    body = {"scope": "@collection:ops", "id": 1, "event": "late", "args": []}
    connection.send(encode_push(Kind.ROOM_EMIT, body))
    (joiner,) = client.__tdbwatch__.fleet._groups[0].keepers[0].joiners
    await until(lambda: "@collection:ops" in joiner._strays._foreign)
    cluster.emit("//stuff", "alerts", "mine")
    await until(lambda: stuff.heard)
    assert (stuff.events, stuff.hooks.count("join")) == (["mine"], 1)


async def test_of_several_collections_with_that_room_each_is_looked_into_and_none_falls_silent(
    client, cluster, rooms, until
):
    stuff, ops = rooms
    give_name_anew(cluster, (4, "alerts"))
    cluster.emit("//old", "alerts", "from the renamed one")
    for number in range(20):
        cluster.emit("//ops", "deploys", str(number))
    await until(lambda: stuff.id == 4 and ops.hooks.count("join") == 2)
    cluster.emit("//stuff", "alerts", "from the new one")
    await until(lambda: stuff.heard and len(ops.heard) == 20)
    assert (stuff.events, ops.events) == (["from the new one"], [str(number) for number in range(20)])
