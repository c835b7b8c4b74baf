"""Rooms: who hears what, beyond what the recordings show."""

import asyncio

import pytest

from tdbwatch import exceptions as errors
from tdbwatch.node import Cluster
from tdbwatch.wire import Emit, Kind, Response, RoomDelete, RoomJoin, RoomLeave
from tdbwatch.wire.names import is_room_name

STUFF = "@collection:stuff"


@pytest.mark.parametrize(
    "scope", ["//stuff", "@:stuff", "/collection/stuff", "@collection:stuff", "/c/stuff", "@coll:stuff"]
)
async def test_every_spelling_of_a_scope_joins_the_same_room(cluster, dial, scope):
    peer = await (await dial(cluster.nodes[0])).auth()
    (answer,) = await peer.ask(Kind.JOIN, [scope, "alerts"])
    assert answer.value == [1]
    assert await peer.pending() == [RoomJoin(1, STUFF)]


@pytest.mark.parametrize("scope", ["@", "/", "@x:stuff", "//", "@:", "stuff", "", "/collection", "@n:x"])
async def test_what_is_no_scope_is_a_value_error(cluster, dial, scope):
    peer = await (await dial(cluster.nodes[0])).auth()
    (answer,) = await peer.ask(Kind.JOIN, [scope, "alerts"])
    assert (answer.kind, answer.value["error_code"]) == (Kind.ERROR, -60)


@pytest.mark.parametrize("scope", ["@t", "@thingsdb", "/t", "@n", "@node:1", "/n/0"])
async def test_rooms_are_in_collections_only(cluster, dial, scope):
    peer = await (await dial(cluster.nodes[0])).auth()
    (answer,) = await peer.ask(Kind.JOIN, [scope, 1])
    assert answer.value["error_code"] == -53


async def test_code_that_emits_is_heard_on_every_node(cluster, join):
    peers = [await join(node) for node in cluster.nodes]
    cluster.emit("//stuff", "alerts", "disk-full", {"severity": 5, "more": {"deep": [1]}}, node=0)
    for peer in peers:
        assert await peer.pending() == [
            Emit(1, "disk-full", ({"severity": 5, "more": {"deep": [1]}},), STUFF)
        ]


async def test_many_emits_keep_their_order(cluster, join):
    peer = await join(cluster.nodes[1])
    for number in range(5000):
        cluster.emit("//stuff", "alerts", "n", number, node=0)
    assert [emit.args for emit in await peer.pending()] == [(number,) for number in range(5000)]


async def test_who_left_or_never_joined_hears_nothing(cluster, join, dial):
    left, never = await join(cluster.nodes[0]), await (await dial(cluster.nodes[0])).auth()
    leave, answer = await left.ask(Kind.LEAVE, ["//stuff", 1])
    assert (leave, answer.value) == (RoomLeave(1, STUFF), [1])
    cluster.emit("//stuff", "alerts", "e")
    assert (await left.pending(), await never.pending()) == ([], [])


async def test_a_client_that_went_is_no_listener_any_more(cluster, join):
    peer = await join(cluster.nodes[0])
    await peer.close()
    async with asyncio.timeout(20):
        while cluster.nodes[0].connections:
            await asyncio.sleep(0)
    assert not cluster.collection("stuff").room("alerts").listeners


async def test_the_same_id_in_two_collections_is_two_rooms(cluster, join):
    peer = await join(cluster.nodes[0])
    cluster.add_room("//other", "alerts", room_id=1)
    cluster.emit("//other", 1, "elsewhere")
    assert await peer.pending() == []


async def test_deleting_a_room_is_heard_on_every_node_and_its_id_is_not_given_again(cluster, join):
    peers = [await join(node) for node in cluster.nodes]
    cluster.delete_room("//stuff", "alerts")
    assert cluster.add_room("//stuff", "alerts") == 2
    cluster.emit("//stuff", "alerts", "to-new-room")
    for peer in peers:
        assert await peer.pending() == [RoomDelete(1, STUFF)]


async def test_deleting_a_collection_deletes_all_its_rooms(cluster, join):
    cluster.add_room("//stuff", "deploys")
    peer = await join(cluster.nodes[0])
    await peer.ask(Kind.JOIN, ["//stuff", "deploys"])
    await peer.pending()
    cluster.delete_collection("stuff")
    assert await peer.pending() == [RoomDelete(1, STUFF), RoomDelete(2, STUFF)]
    (answer,) = await peer.ask(Kind.JOIN, ["//stuff", "deploys"])
    assert answer.value == {"error_code": -54, "error_msg": "collection `stuff` not found"}


async def test_a_join_of_which_one_room_is_of_a_wrong_type_joins_none(cluster, dial):
    peer = await (await dial(cluster.nodes[0])).auth()
    (answer,) = await peer.ask(Kind.JOIN, ["//stuff", "alerts", True])
    assert answer.value["error_code"] == -53
    cluster.emit("//stuff", "alerts", "e")
    assert await peer.pending() == []


async def test_a_room_named_twice_in_one_join_is_joined_once(cluster, dial):
    peer = await (await dial(cluster.nodes[0])).auth()
    (answer,) = await peer.ask(Kind.JOIN, ["//stuff", "alerts", 1])
    assert answer.value == [1, 1]
    assert await peer.pending() == [RoomJoin(1, STUFF)]


async def test_an_extension_type_in_an_emit_is_refused_and_nobody_hears_it(cluster, join):
    peer = await join(cluster.nodes[0])
    request_id, data = peer.session.request(Kind.EMIT, ["//stuff", 1, "e", b"12345"])
    peer.send_raw(data.replace(b"\xc4\x0512345", b"\xc7\x04\x072345"))  # bin -> ext of type 7
    (answer,) = await peer.until(lambda each: isinstance(each, Response) and each.id == request_id)
    assert answer.value["error_code"] == -53
    assert "ThingsDB cannot take this value" in answer.value["error_msg"]
    assert await peer.pending() == []


def test_a_room_cannot_be_made_twice():
    cluster = Cluster()
    cluster.add_room("//stuff", "alerts", room_id=7)
    with pytest.raises(errors.ValueError):
        cluster.add_room("//stuff", "alerts")
    with pytest.raises(errors.ValueError):
        cluster.add_room("//stuff", room_id=7)
    assert cluster.add_room("//stuff") == 8


def test_a_collection_cannot_take_the_name_of_another():
    cluster = Cluster()
    cluster.add_collection("other")
    with pytest.raises(errors.ValueError):
        cluster.rename_collection("other", "stuff")
    cluster.rename_collection("other", "renamed")
    with pytest.raises(errors.LookupError):
        cluster.collection("other")


async def test_emitting_without_a_running_node_or_room_is_an_error():
    cluster = Cluster(2)
    cluster.add_room("//stuff", "alerts")
    for node in (None, 1):
        with pytest.raises(errors.NodeError):
            cluster.emit("//stuff", "alerts", "e", node=node)
    async with cluster:
        with pytest.raises(errors.LookupError):
            cluster.emit("//stuff", "nope", "e")
        with pytest.raises(errors.EncodeError):
            cluster.emit("//stuff", "alerts", "e", object())


NAMES = [
    ("a" * 255, True),
    ("_1", True),
    ("a" * 256, False),
    ("\u00e9", False),
    ("1a", False),
    ("a-b", False),
    ("", False),
]


@pytest.mark.parametrize(("name", "is_one"), NAMES)
async def test_rooms_are_called_as_thingsdb_lets_them_be(cluster, dial, name, is_one):
    peer = await (await dial(cluster.nodes[0])).auth()
    assert is_room_name(name) is is_one
    (emitted,) = await peer.ask(Kind.EMIT, ["//stuff", name, "e"])
    assert emitted.value["error_code"] == (-54 if is_one else -60)
    (joined,) = await peer.ask(Kind.JOIN, ["//stuff", name])
    assert joined.value == [None]
    if is_one:
        cluster.add_room("//stuff", name)
    else:
        with pytest.raises(errors.ValueError, match="must follow the naming rules"):
            cluster.add_room("//stuff", name)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (["//stuff", -1, "e"], -53),
        (["//stuff", "alerts", 5], -53),
        (["//stuff", "alerts", "e", {1: 2}], -61),
        (["//stuff", "alerts", "e", [[{"a": {True: 1}}]]], -61),
    ],
)
async def test_emits_that_thingsdb_refuses_are_refused(cluster, dial, body, code):
    peer = await (await dial(cluster.nodes[0])).auth()
    (answer,) = await peer.ask(Kind.EMIT, body)
    assert (answer.kind, answer.value["error_code"]) == (Kind.ERROR, code)
