"""A room is joined by name, by id or by code; what keeps it from that is an error or tried again."""

import asyncio

import pytest

from tdbwatch import exceptions as errors
from tdbwatch.client.rooms import joiner
from tdbwatch.client.rooms.subscriptions import RoomStatus
from tdbwatch.room import Room
from tdbwatch.wire import Kind


@pytest.mark.parametrize("key", ["alerts", 1, ".alerts.id();"])
async def test_a_room_is_joined_by_name_by_id_or_by_code(client, cluster, emit, Ears, until, key):
    cluster.on_query(".alerts.id();", 1)
    ears = Ears(key)
    await ears.join(client)
    assert (ears.id, ears.scope, ears.client, ears.hooks) == (
        1,
        "@collection:stuff",
        client,
        ["init", "join"],
    )
    emit("e", 1, [2], {"a": None})
    await until(lambda: ears.heard == [("e", 1, [2], {"a": None})])


async def test_a_room_without_a_scope_takes_the_clients(client, Ears):
    ears = Ears("alerts", scope=None)
    assert (ears.id, ears.scope) == (None, None)
    with pytest.raises(RuntimeError, match=r"join\(\) or no_join\(\) first"):
        ears.client.query("echo;")
    await ears.join(client)
    assert (ears.scope, ears.client) == ("@collection:stuff", client)


@pytest.mark.parametrize(
    "scope", ["//stuff", "@:stuff", "/collection/stuff", "@collection:stuff", "@c:stuff"]
)
async def test_a_rooms_scope_is_spelled_as_the_server_does(client, Ears, scope):
    ears = Ears("alerts", scope)
    assert ears.scope == "@collection:stuff"
    await ears.join(client)
    assert ears.scope == "@collection:stuff"


async def test_a_scope_that_is_no_collections_is_refused_before_anything_is_sent(client, Ears):
    for scope in ("@t", "@n:0", "stuff", ""):
        with pytest.raises(ValueError, match="no collection's scope"):
            Ears("alerts", scope)
    client.set_default_scope("@t")
    with pytest.raises(ValueError, match="no collection's scope"):
        await Ears("alerts", None).join(client)


async def test_events_right_behind_the_answer_to_the_join_are_heard(
    client, cluster, emit, Ears, until, monkeypatch
):
    from tdbwatch.node.connection import Connection

    answer = Connection._answer

    def answer_and_emit(self, request, reply):
        push, reply = reply.then, reply._replace(then=())
        answer(self, request, reply)
        if request.kind == Kind.JOIN:
            emit("between")
            for each in push:
                self.push(each)

    monkeypatch.setattr(Connection, "_answer", answer_and_emit)
    ears = Ears("alerts")
    await ears.join(client)
    assert ears.events == ["between"]


async def test_on_join_has_ended_when_join_returns_unless_it_should_not_wait(client, until):
    class Slow(Room):
        ended = False

        async def on_join(self):
            for _ in range(20):
                await asyncio.sleep(0)
            self.ended = True

    waited, unwaited = Slow("alerts"), Slow("alerts")
    await waited.join(client)
    await unwaited.join(client, wait=0)
    assert (waited.ended, unwaited.ended) == (True, False)
    await until(lambda: unwaited.ended)


@pytest.mark.parametrize(
    ("key", "scope", "error"),
    [
        ("nowhere", "//stuff", LookupError),
        (77, "//stuff", LookupError),
        ("alerts", "//nowhere", LookupError),
        ("nonsense();", "//stuff", errors.SyntaxError),
        (".text;", "//stuff", TypeError),
        (".yes;", "//stuff", TypeError),
    ],
)
async def test_a_room_that_cannot_be_joined_is_an_error_and_not_tried_again(
    client, cluster, Ears, key, scope, error, pass_time, clock, caplog
):
    cluster.on_query(".text;", "not an id")
    cluster.on_query(".yes;", True)
    ears = Ears(key, scope)
    with pytest.raises(error):
        await ears.join(client)
    assert (ears.hooks, client.get_rooms()) == ([], ())
    assert "tried again" not in caplog.text
    requests = cluster.executed.total()
    await pass_time(clock, 4)
    assert cluster.executed.total() == requests


async def test_a_user_without_the_privilege_is_told_so(new_client, cluster, Ears):
    cluster.add_user("guest", "guest", join=False)
    client = new_client()
    await client.connect_pool([cluster.nodes[0].address], "guest", "guest")
    with pytest.raises(errors.ForbiddenError):
        await Ears("alerts").join(client)


async def test_a_node_that_is_not_ready_makes_join_wait(client, node, Ears, until, clock):
    node.faults.refuse(Kind.JOIN, 3)
    ears = Ears("alerts")
    joining = asyncio.create_task(ears.join(client))
    await until(joining.done, clock, 0.1)
    joining.result()
    assert ears.hooks == ["init", "join"]


async def test_a_join_that_takes_too_long_is_an_error_and_goes_on(client, node, Ears, until, clock, emit):
    node.faults.refuse(Kind.JOIN)
    ears = Ears("alerts")
    with pytest.raises(TimeoutError, match="not joined within"):
        await ears.join(client, wait=0.01)
    assert ears.status is RoomStatus.REFUSED
    node.faults.clear()
    await until(lambda: ears.hooks == ["init", "join"], clock)


async def test_nodes_that_are_not_ready_are_said_once_however_many_links_ask_in_turn(
    new_client, pair, Ears, clock, pass_time, caplog
):
    for number, node in enumerate(pair.nodes):
        error = errors.NodeError(f"`node:{number}` is not ready to handle join requests")
        node.faults.refuse(Kind.JOIN, error=error)
    client = new_client(connections=2)
    await client.connect_pool([node.address for node in pair.nodes], "admin", "pass")
    joining = asyncio.create_task(Ears("alerts").join(client))
    await pass_time(clock, 30)
    assert not joining.done()
    joining.cancel()
    said = [line for line in caplog.messages if "cannot be joined" in line]
    assert len(said) == 1


async def test_a_join_while_disconnected_waits_for_the_connection(client, node, Ears, until, clock):
    await node.stop()
    await until(lambda: not client.is_connected())
    ears = Ears("alerts")
    joining = asyncio.create_task(ears.join(client))
    await asyncio.sleep(0)
    await node.start()
    await until(joining.done, clock)
    joining.result()
    assert ears.status is RoomStatus.JOINED


async def test_a_missing_room_that_is_found_missing_later_is_an_error_of_join_too(
    client, node, Ears, until, clock
):
    await node.stop()
    await until(lambda: not client.is_connected())
    joining = asyncio.create_task(Ears("nowhere").join(client))
    await asyncio.sleep(0)
    await node.start()
    await until(joining.done, clock)
    with pytest.raises(LookupError):
        joining.result()
    assert client.get_rooms() == ()


@pytest.mark.parametrize("turns", range(12))
async def test_a_join_that_is_cancelled_leaves_no_room_joined(client, cluster, Ears, until, turns):
    ears = Ears("alerts")
    joining = asyncio.create_task(ears.join(client))
    for _ in range(turns):
        await asyncio.sleep(0)
    joining.cancel()
    (result,) = await asyncio.gather(joining, return_exceptions=True)
    if isinstance(result, asyncio.CancelledError):
        assert client.get_rooms() == ()
        await client.query("echo;")
        await until(lambda: not cluster.collection("stuff").room("alerts").listeners)
    await asyncio.gather(ears.leave(), return_exceptions=True)
    await ears.join(client)


async def test_a_room_that_is_joined_refuses_to_be_joined_again(client, Ears):
    ears = Ears("alerts")
    await ears.join(client)
    with pytest.raises(RuntimeError, match="joined already"):
        await ears.join(client)


async def test_a_room_that_cannot_be_one_is_refused():
    for wrong in (-1, 2**63):
        with pytest.raises(ValueError, match="no room's id"):
            Room(wrong)
    for wrong in (None, 1.5, b"alerts"):
        with pytest.raises(TypeError, match="write its id, its name, or code"):
            Room(wrong)


async def test_an_unanswered_join_is_asked_again(client, node, Ears, until, clock, monkeypatch):
    monkeypatch.setattr(joiner, "REQUEST_TIMEOUT", 0.02)
    node.faults.drop_answers(Kind.JOIN)
    ears = Ears("alerts")
    joining = asyncio.create_task(ears.join(client))
    await until(joining.done, clock, 0.05)
    joining.result()


async def test_an_answer_to_a_join_that_is_none_is_asked_for_again(client, Ears, monkeypatch, until, clock):
    from tdbwatch.node import handlers

    join = handlers._HANDLERS[Kind.JOIN]
    answers = [None, [], ["one"], [1, 2], {"a": 1}, [True], 5]

    def odd(connection, body):
        return handlers.Reply(Kind.DATA, answers.pop()) if answers else join(connection, body)

    monkeypatch.setitem(handlers._HANDLERS, Kind.JOIN, odd)
    ears = Ears("alerts")
    joining = asyncio.create_task(ears.join(client))
    await until(joining.done, clock)
    joining.result()
    assert (ears.id, ears.hooks, client.is_connected()) == (1, ["init", "join"], True)


async def test_a_room_is_not_joined_with_a_client_that_nobody_connects(new_client, client, Ears):
    client.close()
    for closed in (client, new_client()):
        with pytest.raises(ConnectionError, match=r"connect_pool\(\) or reconnect\(\) first"):
            await Ears("alerts").join(closed)
        assert closed.get_rooms() == ()
