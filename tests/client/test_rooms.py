"""Rooms: joined, heard, left; what their handlers do stays with them."""

import asyncio
import logging

import pytest

from tdbwatch import exceptions as errors
from tdbwatch.client import joiner
from tdbwatch.client.rooms import RoomStatus
from tdbwatch.room import Room, event
from tdbwatch.wire import Kind


@pytest.fixture
def emit(cluster):
    return lambda name, *args, room="alerts", scope="//stuff": cluster.emit(scope, room, name, *args)


# -- joining -------------------------------------------------------------------------------------------------


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


async def test_handlers_get_their_events_and_on_emit_gets_the_rest(client, emit, until):
    class Chat(Room):
        def __init__(self):
            super().__init__("alerts")
            self.seen = []

        @event("say")
        def said(self, *args):
            self.seen.append(("said", *args))

        @event("async say")
        async def said_later(self, text):
            self.seen.append(("later", text))

        def on_emit(self, event, *args):
            self.seen.append((event, *args))

    chat = Chat()
    await chat.join(client)
    emit("say", "a", "b")
    emit("async say", "c")
    emit("other", 1)
    await until(lambda: len(chat.seen) == 3)
    assert sorted(chat.seen) == [("later", "c"), ("other", 1), ("said", "a", "b")]


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


async def test_on_join_may_query(client):
    class Asking(Room):
        async def on_join(self):
            self.answer = await self.client.query("echo;", scope=self.scope, room=self.id)

    asking = Asking("alerts")
    await asking.join(client)
    assert asking.answer == {"room": 1}


async def test_hooks_may_be_plain_or_async_and_init_ends_before_join(client):
    class Hooked(Room):
        def __init__(self):
            super().__init__("alerts")
            self.hooks = []

        async def on_init(self):
            await asyncio.sleep(0)
            self.hooks.append("init")

        def on_join(self):
            self.hooks.append("join")

        async def on_leave(self):
            self.hooks.append("leave")

    room = Hooked()
    await room.join(client)
    await room.leave()
    for _ in range(3):
        await asyncio.sleep(0)
    assert room.hooks == ["init", "join", "leave"]


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


async def test_a_room_with_an_impossible_id_is_refused():
    for wrong in (-1, 2**63):
        with pytest.raises(ValueError, match="no room's id"):
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


# -- leaving -------------------------------------------------------------------------------------------------


async def test_a_room_that_is_left_is_heard_no_more_and_can_be_joined_again(
    client, emit, Ears, until, cluster
):
    ears = Ears("alerts")
    await ears.join(client)
    await ears.leave()
    assert ears.hooks == ["init", "join", "leave"]
    assert not cluster.collection("stuff").room("alerts").listeners
    emit("unheard")
    await ears.join(client)
    emit("heard")
    await until(lambda: ears.heard)
    assert ears.events == ["heard"]
    assert ears.hooks == ["init", "join", "leave", "init", "join"]


@pytest.mark.parametrize(("key", "error"), [("alerts", TypeError), (".code;", TypeError), (1, RuntimeError)])
async def test_leaving_a_room_that_was_never_joined_is_an_error(Ears, key, error):
    with pytest.raises(error):
        await Ears(key).leave()


async def test_a_room_is_not_joined_with_a_client_that_nobody_connects(new_client, client, Ears):
    client.close()
    for closed in (client, new_client()):
        with pytest.raises(ConnectionError, match=r"connect_pool\(\) or reconnect\(\) first"):
            await Ears("alerts").join(closed)
        assert closed.get_rooms() == ()


async def test_leaving_again_changes_nothing(client, cluster, Ears):
    one, other = Ears("alerts"), Ears("alerts")
    await one.join(client)
    await other.join(client)
    await one.leave()
    await one.leave()
    assert one.hooks == ["init", "join", "leave"]
    assert cluster.collection("stuff").room("alerts").listeners


async def test_leaving_a_room_that_is_gone_is_a_lookup_error(client, cluster, Ears, until):
    ears = Ears("alerts")
    await ears.join(client)
    cluster.delete_room("//stuff", "alerts")
    await until(lambda: "delete" in ears.hooks)
    for _ in range(2):
        with pytest.raises(LookupError, match="not found"):
            await ears.leave()
    assert ears.hooks == ["init", "join", "delete"]


async def test_a_room_can_be_left_while_disconnected(client, node, Ears, until, clock, cluster):
    ears = Ears("alerts")
    await ears.join(client)
    await node.stop()
    await until(lambda: not client.is_connected())
    await ears.leave()
    assert ears.hooks[-1] == "leave"
    await node.start()
    await until(client.is_connected, clock)
    await client.query("echo;")
    assert not cluster.collection("stuff").room("alerts").listeners


async def test_a_room_that_was_never_joined_yet_can_be_left(client, node, Ears, until, clock, cluster):
    await node.stop()
    await until(lambda: not client.is_connected())
    ears = Ears("alerts")
    await ears.join(client, wait=0)
    assert client.get_rooms() == (ears,)
    await ears.leave()
    assert client.get_rooms() == ()
    await node.start()
    await until(client.is_connected, clock)
    await client.query("echo;")
    assert (ears.hooks, cluster.executed[Kind.JOIN]) == (["leave"], 0)


async def test_a_node_that_dies_while_a_room_is_left_has_left_it(client, node, Ears):
    ears = Ears("alerts")
    await ears.join(client)
    node.faults.close_on(Kind.LEAVE)
    await ears.leave()
    assert ears.hooks[-1] == "leave"


async def test_a_cancelled_leave_has_left(client, emit, Ears, node):
    ears = Ears("alerts")
    await ears.join(client)
    node.faults.freeze()
    leaving = asyncio.create_task(ears.leave())
    await asyncio.sleep(0)
    emit("too late")
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    node.faults.thaw()
    await client.query("echo;")
    assert (ears.heard, client.get_rooms()) == ([], ())


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


# -- several of the same -------------------------------------------------------------------------------------


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


# -- emitting ------------------------------------------------------------------------------------------------


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


# -- handlers ------------------------------------------------------------------------------------------------


class Ended(BaseException):
    """As libraries have them, to get past `except Exception`."""


@pytest.mark.parametrize("hook", ["on_leave", "on_init"])
async def test_a_hook_that_raises_an_exception_past_exception_costs_no_connection(client, Ears, hook):
    def ends(self):
        raise Ended

    ears = type("Clumsy", (Ears,), {hook: ends})("alerts")
    if hook == "on_init":
        with pytest.raises(RuntimeError, match="on_init"):
            await ears.join(client)
    else:
        await ears.join(client)
        await ears.leave()
    assert client.is_connected()
    assert await client.query("echo;") == {}


async def test_leaving_a_room_whose_join_failed_is_an_error_as_in_python_thingsdb(client, Ears):
    by_id, by_name = Ears(77), Ears("nowhere")
    for ears, error in ((by_id, LookupError), (by_name, TypeError)):
        with pytest.raises(LookupError):
            await ears.join(client)
        with pytest.raises(error):
            await ears.leave()


async def test_a_handler_that_raises_is_logged_with_room_and_event_and_hurts_nothing_else(
    client, emit, until, caplog, Ears
):
    class Clumsy(Room):
        @event("raise")
        def raises(self, *args):
            raise RuntimeError("oops")

        @event("cancel")
        def cancels(self):
            raise asyncio.CancelledError

        @event("own")
        def ends_nothing(self):
            raise Ended("of its own")

        @event("async own")
        async def ends_nothing_later(self):
            raise Ended("of its own")

        @event("async raise")
        async def raises_later(self):
            raise RuntimeError("oops later")

        @event("async cancel")
        async def cancels_later(self):
            raise asyncio.CancelledError

    clumsy, ears = Clumsy("alerts"), Ears("alerts")
    await clumsy.join(client)
    await ears.join(client)
    caplog.clear()
    for name in ("own", "async own", "raise", "cancel", "async raise", "async cancel", "async raise"):
        emit(name)
    emit("raise", 1, 2, 3)
    emit("async raise", "too many")
    await until(lambda: len(ears.heard) == 9 and not clumsy.backlog)
    await asyncio.sleep(0)
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(messages) == 9
    assert all("Clumsy" in message and "alerts" in message for message in messages)
    for name in ("own", "async own", "raise", "cancel", "async raise", "async cancel"):
        assert any(f"'{name}'" in message for message in messages)
    assert client.is_connected()


async def test_an_on_join_that_raises_or_is_cancelled_ends_the_waiting_join(client, caplog):
    class Clumsy(Room):
        async def on_join(self):
            raise self.what

    for what in (RuntimeError("oops"), asyncio.CancelledError()):
        clumsy = Clumsy("alerts")
        clumsy.what = what
        await clumsy.join(client)
    assert sum("on_join of" in record.getMessage() for record in caplog.records) == 2


async def test_async_handlers_of_a_room_run_one_after_the_other_in_order(client, emit, until):
    class Ordered(Room):
        def __init__(self):
            super().__init__("alerts")
            self.log = []

        @event("e")
        async def heard(self, number):
            self.log.append(("start", number))
            for _ in range(5 - number):
                await asyncio.sleep(0)
            self.log.append(("end", number))

    room = Ordered()
    await room.join(client)
    for number in range(5):
        emit("e", number)
    await until(lambda: len(room.log) == 10)
    assert room.log == [(what, number) for number in range(5) for what in ("start", "end")]


async def test_a_slow_async_handler_stops_no_other_room_and_its_backlog_is_bounded_and_visible(
    client, emit, until, Ears, caplog
):
    class Stuck(Room):
        @event("e")
        async def stuck(self, number):
            await never.wait()

    never = asyncio.Event()
    stuck, ears = Stuck("alerts", max_backlog=5), Ears("alerts")
    await stuck.join(client)
    await ears.join(client)
    for number in range(20):
        emit("e", number)
    await until(lambda: len(ears.heard) == 20)
    assert (stuck.backlog, stuck.dropped) == (5, 15)
    messages = [record.getMessage() for record in caplog.records if "dropped so far" in record.getMessage()]
    assert [int(message.split(">: ")[1].split()[0]) for message in messages] == [1, 2, 4, 8]
    await stuck.leave()
    assert stuck.backlog == 0
    never.set()


async def test_a_handler_may_leave_its_own_room(client, emit, until):
    class OneShot(Room):
        left = False

        @event("e")
        async def heard(self):
            await self.leave()
            await asyncio.sleep(0)
            self.left = True

    room = OneShot("alerts")
    await room.join(client)
    emit("e")
    emit("e")
    await until(lambda: room.left)


async def test_a_handler_may_close_the_client(client, emit, until):
    class Closing(Room):
        @event("e")
        def heard(self):
            self.client.close()

    room = Closing("alerts")
    await room.join(client)
    pending = asyncio.create_task(client.query("slow;"))
    for _ in range(3):
        emit("e")
    await until(pending.done)
    assert isinstance(pending.exception(), ConnectionError)


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


async def test_subclasses_inherit_and_override_handlers(client, emit, until):
    class Base(Room):
        def __init__(self):
            super().__init__("alerts")
            self.heard = []

        @event("a")
        def a(self):
            self.heard.append("a")

        @event("b")
        def b(self):
            self.heard.append("base's b")

        def on_emit(self, event, *args):
            self.heard.append(f"unhandled {event}")

    class Derived(Base):
        @Room.event("c")
        def b(self):
            self.heard.append("c")

        @Room.event("a")
        def later_a(self):
            self.heard.append("derived's a")

    room = Derived()
    await room.join(client)
    for name in "abc":
        emit(name)
    await until(lambda: len(room.heard) == 3)
    assert room.heard == ["derived's a", "unhandled b", "c"]
