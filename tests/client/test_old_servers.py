"""Servers before 1.8.6 push no scope: of rooms with the same id only the connection tells which is meant."""

import asyncio

import pytest


@pytest.fixture
async def old(cluster):
    cluster.nodes[0].faults.omit_scope = True
    cluster.add_room("//ops", "deploys")
    cluster.add_room("//lab", "tests")
    return cluster


SCOPES = {"//stuff": "alerts", "//ops": "deploys", "//lab": "tests"}


async def test_one_collection_needs_one_connection(old, connect, Ears, until):
    client = await connect(old)
    old.add_room("//stuff", "second")
    rooms = [Ears("alerts"), Ears("second")]
    for room in rooms:
        await room.join(client)
    old.emit("//stuff", "alerts", "a")
    old.emit("//stuff", "second", "b")
    await until(lambda: all(room.heard for room in rooms))
    assert [room.events for room in rooms] == [["a"], ["b"]]
    assert old.nodes[0].connections == 1


async def test_rooms_of_the_same_id_in_several_collections_hear_their_own_events(old, connect, Ears, until):
    client = await connect(old)
    rooms = {scope: Ears(name, scope) for scope, name in SCOPES.items()}
    for room in rooms.values():
        await room.join(client)
    assert {room.id for room in rooms.values()} == {1}
    for number in range(10):
        for scope, name in SCOPES.items():
            old.emit(scope, name, f"{scope} {number}")
    await until(lambda: all(len(room.heard) == 10 for room in rooms.values()))
    for scope, room in rooms.items():
        assert room.events == [f"{scope} {number}" for number in range(10)]
    assert old.nodes[0].connections == 3


async def test_rooms_that_are_wanted_before_the_client_connects_are_told_apart(
    old, new_client, Ears, until, monkeypatch
):
    """Also events between the answer to the JOIN and the ROOM_JOIN push that shows the server's age."""
    client = new_client()
    rooms = {scope: Ears(name, scope) for scope, name in SCOPES.items()}
    from tdbwatch.node import handlers
    from tdbwatch.wire import Kind

    join = handlers._HANDLERS[Kind.JOIN]

    def join_and_emit(connection, body):
        reply = join(connection, body)
        for scope, name in SCOPES.items():
            asyncio.get_running_loop().call_soon(old.emit, scope, name, scope)
        return reply

    monkeypatch.setitem(handlers._HANDLERS, Kind.JOIN, join_and_emit)
    connecting = client.connect_pool([old.nodes[0].address], "admin", "pass")
    joining = [asyncio.create_task(room.join(client)) for room in rooms.values()]
    await connecting
    await asyncio.gather(*joining)
    for scope, name in SCOPES.items():
        old.emit(scope, name, "last")
    await until(lambda: all("last" in room.events for room in rooms.values()))
    for scope, room in rooms.items():
        assert set(room.events) == {scope, "last"}


async def test_all_connections_are_made_again_and_closed_together(old, connect, Ears, until, clock):
    client = await connect(old)
    rooms = {scope: Ears(name, scope) for scope, name in SCOPES.items()}
    for room in rooms.values():
        await room.join(client)
    old.nodes[0].faults.close_connections()
    await until(lambda: all(room.hooks.count("join") == 2 for room in rooms.values()), clock)
    for scope, name in SCOPES.items():
        old.emit(scope, name, scope)
    await until(lambda: all(room.heard for room in rooms.values()))
    assert [room.events for room in rooms.values()] == [[scope] for scope in SCOPES]
    await rooms["//ops"].leave()
    await client.close_and_wait()
    await until(lambda: old.nodes[0].connections == 0)


async def test_a_deleted_room_is_the_one_of_its_own_collection(old, connect, Ears, until):
    client = await connect(old)
    rooms = {scope: Ears(name, scope) for scope, name in SCOPES.items()}
    for room in rooms.values():
        await room.join(client)
    old.delete_room("//ops", "deploys")
    await until(lambda: "delete" in rooms["//ops"].hooks)
    assert [scope for scope, room in rooms.items() if "delete" in room.hooks] == ["//ops"]


async def test_a_server_that_is_upgraded_meanwhile_is_heard_once(old, connect, Ears, until, clock):
    client = await connect(old)
    rooms = {scope: Ears(name, scope) for scope, name in SCOPES.items()}
    for room in rooms.values():
        await room.join(client)
    await old.nodes[0].stop()
    await until(lambda: not client.is_connected())
    old.nodes[0].faults.omit_scope = False
    await old.nodes[0].start()
    await until(lambda: all(room.hooks.count("join") == 2 for room in rooms.values()), clock)
    for scope, name in SCOPES.items():
        old.emit(scope, name, scope)
    await until(lambda: all(room.heard for room in rooms.values()))
    await client.query("echo;")
    assert [room.events for room in rooms.values()] == [[scope] for scope in SCOPES]
