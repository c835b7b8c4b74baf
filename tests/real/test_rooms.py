"""Rooms on real nodes: found in every way, heard from everywhere, deleted, made anew, renamed."""

import asyncio
import secrets

import pytest

from tdbwatch.room import Room, event

from .waiting import until

pytestmark = pytest.mark.real


class Chat(Room):
    """As in the documentation: plain and async handlers, and one for the rest."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.said, self.rest, self.joins = [], [], 0

    async def on_join(self):
        self.joins += 1

    @event("message")
    def on_message(self, user, text):
        self.said.append(("plain", user, text))

    @event("slow-message")
    async def on_slow_message(self, text):
        await asyncio.sleep(0)
        self.said.append(("async", text))

    def on_emit(self, event, *args):
        self.rest.append((event, *args))


async def test_a_chat_room_hears_messages_of_another_node(watcher, emitter, new_room):
    room = await new_room(watcher)
    chat = Chat(room.name, scope=room.scope)
    await chat.join(watcher)
    assert (chat.id, chat.joins) == (room.id, 1)

    await emitter.emit(room.name, "message", "iris", "hello", scope=room.scope)
    await emitter.emit(room.name, "slow-message", "hello again", scope=room.scope)
    await emitter.emit(room.name, "typing", scope=room.scope)

    await until(lambda: len(chat.said) == 2 and chat.rest, "three events")
    assert chat.said == [("plain", "iris", "hello"), ("async", "hello again")]
    assert chat.rest == [("typing",)]


@pytest.mark.parametrize("way", ["name", "id", "code"])
async def test_a_room_is_found_by(watcher, emitter, new_room, hear, way):
    room = await new_room(watcher)
    key = {"name": room.name, "id": room.id, "code": f".{room.name}.id();"}[way]
    ears = await hear(watcher, key, room.scope)

    await emitter.emit(room.id, "found", scope=room.scope)

    await until(lambda: ears.heard, "the event")
    assert (ears.id, ears.heard) == (room.id, [("found",)])


async def test_rooms_of_two_collections_with_one_id_are_kept_apart(watcher, emitter, twins, hear):
    one, other = await twins(watcher)
    assert one.id == other.id
    at_one, at_other = await hear(watcher, one.name, one.scope), await hear(watcher, other.id, other.scope)

    for n in range(20):
        await emitter.emit(one.id, "to-one", n, scope=one.scope)
        await emitter.emit(other.id, "to-other", n, scope=other.scope)

    await until(lambda: len(at_one.heard) >= 20 and len(at_other.heard) >= 20, "40 events")
    assert at_one.heard == [("to-one", n) for n in range(20)]
    assert at_other.heard == [("to-other", n) for n in range(20)]


async def test_emits_of_queries_and_of_clients_arrive_in_the_order_of_their_node(
    watcher, emitter, new_room, hear
):
    room = await new_room(watcher)
    ears = await hear(watcher, room.name, room.scope)

    for n in range(50):
        await emitter.emit(room.name, "tick", 2 * n, scope=room.scope)
        code = "room(id).emit('tick', n);"
        await emitter.query(code, scope=room.scope, id=room.id, n=2 * n + 1)

    await until(lambda: len(ears.heard) >= 100, "100 events")
    assert ears.heard == [("tick", n) for n in range(100)]


async def test_arguments_of_an_emit_arrive_as_they_were_sent(watcher, emitter, new_room, hear):
    room = await new_room(watcher)
    ears = await hear(watcher, room.name, room.scope)
    arguments = (None, True, -(2**63) + 1, 1.5, "☃", b"\x00\xff", [1, [2, [3]]], {"a": {"b": {"c": 1}}})

    await emitter.emit(room.name, "values", *arguments, scope=room.scope)

    await until(lambda: ears.heard, "the event")
    assert ears.heard == [("values", *arguments)]


async def test_an_emit_to_peers_only_leaves_its_own_connection_out(watcher, emitter, new_room, hear):
    room = await new_room(watcher)
    here, there = await hear(watcher, room.name, room.scope), await hear(emitter, room.name, room.scope)

    await here.emit("to-peers", peers_only=True)
    await here.emit("to-all")

    await until(lambda: len(here.heard) >= 1 and len(there.heard) >= 2, "the events")
    assert here.heard == [("to-all",)]
    assert there.heard == [("to-peers",), ("to-all",)]


async def test_a_room_that_was_left_is_not_heard_any_more(watcher, emitter, new_room, hear):
    room = await new_room(watcher)
    left, kept = await hear(watcher, room.name, room.scope), await hear(emitter, room.name, room.scope)

    await left.leave()
    await watcher.emit(room.id, "after", scope=room.scope)

    await until(lambda: kept.heard, "the event")
    assert (left.heard, left.life) == ([], ["joined", "left"])
    await left.leave()
    assert left.life == ["joined", "left"]


async def test_joining_a_room_that_does_not_exist_is_a_lookup_error(watcher, scopes, hear):
    for key in ("no_such_room", 999_999_999):
        with pytest.raises(LookupError):
            await hear(watcher, key, scopes[0])
    with pytest.raises(LookupError, match="collection"):
        await hear(watcher, "no_such_room", "//no_such_collection")


@pytest.mark.parametrize("way", ["name", "code"])
async def test_a_room_that_is_deleted_and_made_again_is_heard_again(watcher, emitter, new_room, hear, way):
    room = await new_room(watcher)
    key = room.name if way == "name" else f".{room.name}.id();"
    ears = await hear(watcher, key, room.scope, lasting=True)

    await watcher.query(f".del('{room.name}'); nil;", scope=room.scope, timeout=30)
    await until(lambda: "deleted" in ears.life, "the deletion")
    again = await new_room(watcher, scope=room.scope, name=room.name)
    assert again.id != room.id
    await until(lambda: ears.life == ["joined", "deleted", "joined"], "the second join", 60)
    await emitter.emit(again.id, "anew", scope=room.scope)

    await until(lambda: ears.heard, "the event")
    assert (ears.id, ears.heard) == (again.id, [("anew",)])


async def test_a_room_is_heard_after_its_collection_is_renamed(watcher, emitter, new_room, hear):
    old, new = (f"tdbwatch_{secrets.token_hex(4)}" for _ in range(2))
    await watcher.query("new_collection(name);", scope="@t", timeout=30, name=old)
    room = await new_room(watcher, scope=f"//{old}")
    ears = await hear(watcher, room.name, room.scope)

    await emitter.emit(room.id, "before", scope=f"//{old}")
    await emitter.query(f"rename_collection('{old}', '{new}');", scope="@t", timeout=30)
    await emitter.emit(room.id, "after", scope=f"//{new}")
    await until(lambda: len(ears.heard) == 2, "both events")
    await emitter.query(f"del_collection('{new}');", scope="@t", timeout=30)

    await until(lambda: "deleted" in ears.life, "the deletion of the collection")
    assert ears.heard == [("before",), ("after",)]


async def test_a_room_is_heard_over_a_websocket(target, connect, emitter, new_room, hear):
    if not target.websockets:
        pytest.skip("no WebSocket is known: add ws://host:port to TDBWATCH_TEST_NODES")
    client = await connect(target.websockets[0])
    assert client.is_websocket()
    room = await new_room(emitter)
    ears = await hear(client, room.name, room.scope)

    assert await client.query("range(50000);", scope=room.scope, timeout=30) == list(range(50_000))
    await emitter.emit(room.id, "over-the-web", "x" * 100_000, scope=room.scope)

    await until(lambda: ears.heard, "the event")
    assert ears.heard == [("over-the-web", "x" * 100_000)]


async def test_a_client_that_moves_by_itself_goes_on_hearing(watcher, emitter, new_room, hear):
    room = await new_room(watcher)
    ears = await hear(watcher, room.name, room.scope)

    moved = watcher.reconnect()
    assert moved is not None
    async with asyncio.timeout(60):
        await moved
    await emitter.emit(room.id, "after", scope=room.scope)

    await until(lambda: ears.heard, "the event")
    assert ears.heard == [("after",)]
