"""Whatever programs do with an event loop works: what asks is a coroutine, what connects is a future."""

import asyncio
import threading
import warnings

import pytest

from tdbwatch.client import Client
from tdbwatch.exceptions import NotConnectedError
from tdbwatch.node import Cluster
from tdbwatch.room import Room, event
from tdbwatch.wire import Kind
from tests.passing import let_pass

ASK = {
    "query": lambda client: client.query("echo;", n=1),
    "run": lambda client: client.run("answer", 1),
    "emit": lambda client: client.emit("alerts", "e", 1),
    "a short name": lambda client: client.has_user("admin"),
}
ANSWERS = {"query": {"n": 1}, "run": 1, "emit": None, "a short name": True}


@pytest.fixture(params=ASK)
def ask(request, cluster):
    """A call that asks the server, and its answer."""
    cluster.on_procedure("answer", lambda n: n)
    cluster.on_query("has_user(arg0);", True)
    return ASK[request.param], ANSWERS[request.param]


async def in_a_task_group(request):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(request)
    return task.result()


async def from_another_thread(request):
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(request, loop).result(20))


async def gathered(request):
    (answer,) = await asyncio.gather(request)
    return answer


async def waited_for(request):
    done, _ = await asyncio.wait([asyncio.ensure_future(request)])
    return done.pop().result()


async def as_it_completes(request):
    (first,) = asyncio.as_completed([request])
    return await first


async def awaited(request):
    return await request


WAYS = {
    "await": awaited,
    "create_task": lambda request: asyncio.create_task(request),  # noqa: PLW0108
    "ensure_future": asyncio.ensure_future,
    "loop.create_task": lambda request: asyncio.get_running_loop().create_task(request),
    "TaskGroup": in_a_task_group,
    "gather": gathered,
    "wait_for": lambda request: asyncio.wait_for(request, 20),
    "shield": asyncio.shield,
    "wait": waited_for,
    "as_completed": as_it_completes,
    "run_coroutine_threadsafe": from_another_thread,
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_asks_the_server_may_be_awaited_and_made_a_task_in_every_way(client, ask, way):
    request, answer = ask
    assert await WAYS[way](request(client)) == answer


async def test_nothing_is_sent_and_no_deadline_runs_before_a_request_is_awaited(client, cluster):
    before = len(cluster.log)
    request = client.query("echo;", n=1, timeout=30)
    let_pass(60)
    await asyncio.sleep(0)
    assert len(cluster.log) == before
    assert await request == {"n": 1}


async def test_the_default_scope_is_that_of_the_call_and_wrong_arguments_are_an_error_at_once(
    client, cluster
):
    request = client.query("echo;")
    client.set_default_scope("@t")
    await request
    assert cluster.log[-1].body[0] == "//stuff"
    with pytest.raises(ValueError, match="not both"):
        client.run("procedure", 1, n=1)


async def test_a_request_that_is_never_awaited_is_warned_of_and_not_sent(client, cluster):
    before = len(cluster.log)
    with pytest.warns(RuntimeWarning, match="was never awaited"):
        client.query("echo;")
    assert await client.query("echo;") == {}
    assert len(cluster.log) == before + 1


async def test_a_request_that_is_cancelled_while_it_waits_for_its_answer_ends_at_once(client, cluster, until):
    task = asyncio.create_task(client.query("slow;"))
    await until(lambda: cluster.executed[Kind.QUERY] == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.query("slow;"), 0.01)
    assert await client.query("echo;") == {}


async def test_connecting_and_reconnecting_go_on_without_anybody_who_waits(new_client, pair, where, until):
    client = new_client()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client.connect_pool([node.address for node in pair.nodes], "admin", "pass")
        await until(client.is_connected)
        _, other = where(client, pair)
        client.reconnect()
        await until(lambda: client.connection_info() == other.address)


# -- before, between and after the loop's runs ---------------------------------------------------------------


class Rig:
    """Embedded nodes in a thread of their own, and an event loop for the client that runs when told."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.served = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.served.run_forever)
        self.thread.start()
        self.cluster = Cluster(2)
        self.serve(self.cluster.__aenter__())
        self.cluster.add_room("//stuff", "chat")
        self.cluster.on_query("echo;", lambda scope, code, variables: variables)
        self.cluster.on_query("never;", lambda *_: self.served.create_future())

    def serve(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.served).result(20)

    def nodes(self):
        return [node.address for node in self.cluster.nodes]

    def end(self):
        self.serve(self.cluster.__aexit__(None, None, None))
        self.served.call_soon_threadsafe(self.served.stop)
        self.thread.join()
        self.served.close()
        assert asyncio.all_tasks(self.loop) == set()
        self.loop.close()


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.end()


def test_a_client_is_made_connected_asked_and_closed_from_outside_the_loop(rig):
    run = rig.loop.run_until_complete
    client = Client(loop=rig.loop)
    assert client.get_event_loop() is rig.loop
    run(client.connect_pool(rig.nodes(), "admin", "pass"))
    assert client.is_connected()
    assert run(client.query("echo;", n=1)) == {"n": 1}
    assert run(asyncio.wait_for(client.query("echo;", timeout=20), 20)) == {}
    client.close()
    run(client.wait_closed())
    assert not client.is_connected()


def test_a_client_that_is_made_before_the_loop_runs_needs_to_be_given_none(rig):
    run, client = rig.loop.run_until_complete, Client()

    async def connect():
        await client.connect_pool(rig.nodes(), "admin", "pass")

    run(connect())
    before = client.connection_info()
    run(client.reconnect())
    assert client.connection_info() != before
    run(client.close_and_wait())


def test_connecting_without_any_loop_is_an_error_at_once():
    with pytest.raises(RuntimeError, match="no running event loop"):
        Client().connect_pool(["localhost"], "token")


def test_one_node_is_connected_to_and_logged_in_at_in_several_runs(rig):
    run, client = rig.loop.run_until_complete, Client(loop=rig.loop)
    node = rig.cluster.nodes[0]
    run(client.connect(node.host, node.port))
    run(client.authenticate("admin", "pass"))
    assert run(client.query("echo;")) == {}
    client.close()
    run(client.wait_closed())


def test_a_room_is_joined_heard_and_left_in_several_runs(rig):
    class Chat(Room):
        heard = ""

        @event("message")
        def on_message(self, text):
            self.heard += text
            asyncio.get_running_loop().stop()

    run, client = rig.loop.run_until_complete, Client(loop=rig.loop)
    run(client.connect_pool(rig.nodes(), "admin", "pass"))
    chat = Chat("chat", scope="//stuff")
    run(chat.join(client))
    rig.loop.create_task(chat.emit("message", "hello"))
    rig.loop.run_forever()
    assert chat.heard == "hello"
    run(chat.leave())
    client.close()
    run(client.wait_closed())


def test_closing_outside_the_loop_fails_what_waits_for_an_answer(rig):
    run, client = rig.loop.run_until_complete, Client(loop=rig.loop)
    run(client.connect_pool(rig.nodes(), "admin", "pass"))
    waiting = rig.loop.create_task(client.query("never;"))
    run(asyncio.sleep(0.01))
    client.close()
    with pytest.raises(ConnectionError):
        run(waiting)
    run(client.wait_closed())


def test_a_client_that_is_closed_before_the_loop_runs_does_not_connect(rig):
    client = Client(loop=rig.loop)
    connecting = client.connect_pool(rig.nodes(), "admin", "pass")
    client.close()
    with pytest.raises(ConnectionError, match="closed before it could connect"):
        rig.loop.run_until_complete(connecting)
    assert rig.cluster.nodes[0].connections == rig.cluster.nodes[1].connections == 0


def test_a_client_serves_one_run_after_another_of_loops_that_end(rig):
    client = Client()

    async def main():
        await client.connect_pool(rig.nodes(), "admin", "pass")
        answer = await client.query("echo;")
        await client.close_and_wait()
        return answer

    assert [asyncio.run(main()) for _ in range(2)] == [{}, {}]


async def test_the_loop_of_a_client_is_the_given_one_or_the_one_it_first_ran_on(new_client):
    running, other = asyncio.get_running_loop(), asyncio.new_event_loop()
    client = new_client()
    assert client.get_event_loop() is running
    assert await asyncio.to_thread(client.get_event_loop) is running
    assert Client(loop=other).get_event_loop() is other
    other.close()
    assert Client(loop=other).get_event_loop() is running


# -- closed --------------------------------------------------------------------------------------------------


async def test_a_closed_client_asks_nothing_until_it_is_connected_again(client, cluster):
    client.close()
    await client.wait_closed()
    before = len(cluster.log)
    with pytest.raises(NotConnectedError, match=r"connect_pool\(\) or reconnect\(\)"):
        await client.query("echo;")
    assert len(cluster.log) == before
    await client.reconnect()
    assert await client.query("echo;", n=1) == {"n": 1}


async def test_a_room_is_not_joined_with_a_client_that_nobody_connects(new_client, client):
    client.close()
    for closed in (client, new_client()):
        with pytest.raises(NotConnectedError, match=r"connect_pool\(\) or reconnect\(\) first"):
            await Room("alerts", scope="//stuff").join(closed)


async def test_a_client_that_is_connecting_does_not_connect_a_second_time(new_client, cluster):
    client = new_client()
    first = client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    with pytest.raises(RuntimeError, match="connected, or connecting, already"):
        client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    await first
    assert client.is_connected()


async def test_a_client_that_is_closed_while_it_connects_can_connect_again_at_once(new_client, cluster):
    client = new_client()
    first = client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    client.close()
    await client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    with pytest.raises(ConnectionError):
        await first
    assert client.is_connected()
