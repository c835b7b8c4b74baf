"""While a client is open there is a connection, or one is being made; when it is closed nothing is left."""

import asyncio
import contextlib
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tdbwatch.client import Client, Observer
from tdbwatch.client.pool import NODE_BACKOFF
from tdbwatch.client.transports import dialing
from tdbwatch.exceptions import AuthError, ConnectionLostError, NotConnectedError
from tdbwatch.wire import Kind, encode_frame


class Diary(Observer):
    def __init__(self):
        self.entries = []
        self.waits = []

    def connected(self, address):
        self.entries.append(("connected", str(address)))

    def disconnected(self, address, reason):
        self.entries.append(("disconnected", str(address)))

    def unreachable(self, address, reason, wait):
        self.entries.append(("unreachable", reason))
        self.waits.append(wait)


@pytest.fixture
async def talker():
    """A server that says what it is told to as soon as somebody connects, or in answer to anything."""
    servers = []

    async def talker(greeting=b"", answer=None, where=("127.0.0.1", 0)):
        async def serve(reader, writer):
            writer.write(greeting)
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    if answer is not None:
                        writer.write(answer(data))
            writer.close()

        server = await asyncio.start_server(serve, *where)
        servers.append(server)
        return server.sockets[0].getsockname()[:2]

    yield talker
    for server in servers:
        server.close()
        await server.wait_closed()


# -- the first connection ------------------------------------------------------------------------------------


async def test_a_first_connection_that_is_refused_is_an_error_at_once(new_client, closed_port):
    client = new_client()
    with pytest.raises(ConnectionRefusedError):
        await client.connect("127.0.0.1", closed_port)
    assert not client.is_connected()
    assert client.connection_info() == "disconnected"
    with pytest.raises(NotConnectedError):
        await client.query("echo;")


async def test_a_host_that_does_not_answer_is_an_error_after_the_timeout(new_client):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        client = new_client()
        with pytest.raises(TimeoutError, match=r"did not answer within 0\.05 s"):
            await client.connect("127.0.0.1", full.getsockname()[1], timeout=0.05)
        for each in waiting:
            each.close()


async def test_connecting_without_a_login_needs_authenticate(new_client, cluster):
    client = new_client()
    node = cluster.nodes[0]
    await client.connect(node.host, node.port)
    with pytest.raises(AuthError):
        await client.query("echo;", scope="//stuff")
    await client.authenticate(("admin", "pass"))
    assert await client.query("echo;", scope="//stuff") == {}


@pytest.mark.parametrize(
    "login", [("token-1",), ("admin", "pass"), (("admin", "pass"),), (["admin", "pass"],)]
)
async def test_a_login_is_a_token_two_strings_or_a_pair(new_client, cluster, login):
    cluster.add_token("token-1")
    client = new_client()
    await client.connect_pool([cluster.nodes[0].address], *login)
    assert await client.query("echo;", scope="//stuff") == {}


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_function_is_asked_for_the_login_each_time(new_client, cluster, until, clock, is_async):
    cluster.add_token("token-1")
    tokens = ["token-1"]

    async def ask():
        return tokens[-1]

    client = new_client()
    await client.connect_pool([cluster.nodes[0].address], ask if is_async else lambda: tokens[-1])
    cluster.add_user("rotated", "pass")
    tokens.append(("rotated", "pass"))
    cluster.nodes[0].faults.close_connections()
    await until(lambda: not client.is_connected())
    await until(client.is_connected, clock)
    [connection] = cluster.nodes[0].clients
    assert connection.user.name == "rotated"


async def test_a_function_that_gives_no_login_is_asked_again(new_client, cluster, until, clock, caplog):
    cluster.add_token("token-1")
    answers = iter([None, OSError("no such file"), "token-1"])

    def ask():
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    ready = new_client().connect_pool([cluster.nodes[0].address], ask)
    await until(ready.done, clock)
    await ready
    assert "there is no login to connect with: no such file" in caplog.text


@pytest.mark.parametrize("login", [(), (1,), ("a", "b", "c"), (("a",),), ("a", 1)])
async def test_other_logins_are_refused_without_showing_them(new_client, login):
    with pytest.raises(TypeError, match="token, or user and password"):
        new_client().connect_pool(["localhost"], *login)


async def test_a_refused_login_is_an_error_soon_and_does_not_show_the_secret(
    new_client, pair, caplog, until, clock
):
    client = new_client(connections=2)
    ready = client.connect_pool([node.address for node in pair.nodes], "admin", "secret-word")
    began = clock.monotonic()
    await until(ready.done, clock)
    assert clock.monotonic() - began <= 2.0
    with pytest.raises(AuthError) as caught:
        await ready
    assert "secret-word" not in str(caught.value) + caplog.text + repr(client._settings)
    with pytest.raises(NotConnectedError):
        await client.query("echo;")


async def test_a_pool_with_dead_nodes_ends_at_the_one_that_lives(
    new_client, cluster, closed_port, clock, until
):
    client = new_client()
    ready = client.connect_pool([("127.0.0.1", closed_port), cluster.nodes[0].address], "admin", "pass")
    await until(ready.done, clock)
    assert client.connection_info() == cluster.nodes[0].address


async def test_one_live_node_is_enough_for_two_connections(new_client, cluster, closed_port, clock, until):
    client = new_client(connections=2)
    ready = client.connect_pool([("127.0.0.1", closed_port), cluster.nodes[0].address], "admin", "pass")
    await until(ready.done, clock)
    ready.result()
    assert await client.query("echo;", scope="//stuff") == {}


async def test_an_empty_pool_and_bad_addresses_are_refused(new_client):
    with pytest.raises(ValueError, match="empty"):
        new_client().connect_pool([], "token")
    with pytest.raises(TypeError, match=re.escape("write ['node01']")):
        new_client().connect_pool("node01", "token")
    with pytest.raises(ValueError, match="not a port"):
        await new_client().connect("localhost", 0)


async def test_a_client_that_is_connected_refuses_to_connect_again(connect, cluster):
    client = await connect(cluster)
    with pytest.raises(RuntimeError, match="connected, or connecting, already"):
        await client.connect("127.0.0.1", cluster.nodes[0].port)
    with pytest.raises(RuntimeError, match="connected, or connecting, already"):
        client.connect_pool([cluster.nodes[0].address], "admin", "pass")


async def test_a_closed_client_can_connect_again_and_its_rooms_are_joined(connect, cluster, Ears, until):
    client = await connect(cluster)
    ears = Ears("alerts")
    await ears.join(client)
    await client.close_and_wait()
    assert not client.is_connected()
    await client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    cluster.emit("//stuff", "alerts", "again")
    await until(lambda: ears.events == ["again"])


async def test_rooms_wait_for_the_login_and_are_joined_right_after_it(new_client, cluster, Ears, until):
    client = new_client()
    await client.connect("127.0.0.1", cluster.nodes[0].port)
    ears = Ears("alerts")
    with pytest.raises(AuthError):
        await ears.join(client)
    await client.authenticate("admin", "pass")
    await ears.join(client)
    assert ears.hooks == ["init", "join"]


# -- cancelling and closing ----------------------------------------------------------------------------------


async def test_a_cancelled_connect_leaves_nothing_behind(new_client, cluster, until):
    cluster.nodes[0].faults.freeze()
    client = new_client()

    async def connect():
        await client.connect_pool([cluster.nodes[0].address], "admin", "pass")

    connecting = asyncio.create_task(connect())
    await until(lambda: cluster.nodes[0].connections)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    cluster.nodes[0].faults.thaw()
    await until(lambda: not cluster.nodes[0].connections)
    with pytest.raises(NotConnectedError):
        await client.query("echo;")


async def test_a_cancelled_future_of_connect_pool_stops_it(new_client, closed_port, until):
    client = new_client()
    ready = client.connect_pool([("127.0.0.1", closed_port)], "token")
    await asyncio.sleep(0)
    ready.cancel()
    await asyncio.sleep(0)
    await client.wait_closed()
    with pytest.raises(NotConnectedError):
        await client.query("echo;")


@pytest.mark.parametrize("turns", range(14))
async def test_closing_at_any_moment_of_connecting_leaves_nothing_open(new_client, cluster, until, turns):
    client = new_client()
    ready = client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    for _ in range(turns):
        await asyncio.sleep(0)
    client.close()
    await client.close_and_wait()
    assert ready.done()
    await until(lambda: not cluster.nodes[0].connections)


async def test_closing_twice_and_closing_what_never_connected_are_nothing(new_client, connect, cluster):
    client = await connect(cluster)
    await client.close_and_wait()
    await client.close_and_wait()
    await new_client().close_and_wait()


async def test_a_client_closes_itself_at_the_end_of_its_block(cluster, until):
    async with Client() as client:
        await client.connect(cluster.nodes[0].host, cluster.nodes[0].port)
        assert client.is_connected()
    assert not client.is_connected()
    await until(lambda: not cluster.nodes[0].connections)


async def test_wait_closed_does_not_wait_for_a_node_that_reads_no_more(connect, cluster, monkeypatch):
    from tdbwatch.client import link

    monkeypatch.setattr(link, "CLOSE_TIMEOUT", 0.05)
    client = await connect(cluster)
    cluster.nodes[0].faults.freeze()
    calls = [asyncio.create_task(client.query("echo;", data=b"x" * 10_000_000)) for _ in range(3)]
    await asyncio.sleep(0)
    await client.close_and_wait()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in ended} == {ConnectionLostError}


# -- staying connected ---------------------------------------------------------------------------------------


async def test_a_lost_connection_is_made_again(connect, cluster, clock, until):
    diary = Diary()
    client = await connect(cluster, observer=diary)
    cluster.nodes[0].faults.close_connections()
    await until(lambda: not client.is_connected())
    await until(client.is_connected, clock)
    assert await client.query("echo;") == {}
    assert [what for what, _ in diary.entries] == ["connected", "disconnected", "connected"]


async def test_waits_between_attempts_grow_and_are_told(connect, cluster, clock, until, pass_time):
    diary = Diary()
    client = await connect(cluster, observer=diary)
    await cluster.nodes[0].stop()
    await pass_time(clock, 120)
    attempts = sum(what == "unreachable" for what, _ in diary.entries)
    assert 5 <= attempts <= 15
    await cluster.nodes[0].start()
    await until(client.is_connected, clock)


async def test_a_node_that_accepts_and_closes_at_once_is_tried_again(
    connect, cluster, clock, until, pass_time
):
    client = await connect(cluster)
    cluster.nodes[0].faults.refuse_connections = True
    cluster.nodes[0].faults.close_connections()
    await pass_time(clock, 10)
    assert not client.is_connected()
    cluster.nodes[0].faults.refuse_connections = False
    await until(client.is_connected, clock)


async def test_a_lost_node_is_replaced_by_another_one(connect, pair, where, until, clock):
    client = await connect(pair)
    lost, other = where(client, pair)
    await lost.stop()
    await until(lambda: client.connection_info() == other.address, clock)


async def test_without_auto_reconnect_a_lost_connection_stays_lost_until_reconnect(
    connect, cluster, pass_time, clock, until
):
    client = await connect(cluster, auto_reconnect=False)
    cluster.nodes[0].faults.close_connections()
    await pass_time(clock, 10)
    assert not client.is_connected()
    with pytest.raises(NotConnectedError):
        await client.query("echo;")
    await until(client.reconnect().done, clock)
    assert await client.query("echo;") == {}


async def test_without_auto_reconnect_a_reconnect_that_fails_says_why(connect, cluster, until, clock):
    client = await connect(cluster, auto_reconnect=False)
    await cluster.nodes[0].stop()
    await until(lambda: not client.is_connected())
    failing = client.reconnect()
    await until(failing.done, clock)
    assert isinstance(failing.exception(), ConnectionRefusedError)
    await cluster.nodes[0].start()
    working = client.reconnect()
    await until(working.done, clock)
    assert client.is_connected()


async def test_reconnect_moves_to_another_node_and_loses_no_call(connect, pair, where, until):
    client = await connect(pair)
    _, other = where(client, pair)
    running = asyncio.create_task(client.query("slow;"))
    await asyncio.sleep(0)
    await client.reconnect()
    assert client.connection_info() == other.address
    assert not running.done()
    running.cancel()


async def test_reconnect_with_a_single_node_makes_a_new_connection_to_it(
    connect, cluster, clock, until, pass_time
):
    client = await connect(cluster)
    (before,) = cluster.nodes[0].clients
    await client.reconnect()
    assert client.is_connected()
    await pass_time(clock, 5)
    (after,) = cluster.nodes[0].clients
    assert after is not before


async def test_reconnect_while_reconnecting_is_none(connect, pair, until):
    client = await connect(pair)
    moving = client.reconnect()
    assert client.reconnect() is None
    await moving
    pair.nodes[0].faults.refuse_connections = pair.nodes[1].faults.refuse_connections = True
    for node in pair.nodes:
        node.faults.close_connections()
    await until(lambda: not client.is_connected())
    assert client.reconnect() is None


async def test_reconnect_before_connect_is_an_error(new_client):
    with pytest.raises(NotConnectedError, match="never connected"):
        new_client().reconnect()


async def test_a_cancelled_reconnect_goes_on_in_the_background(connect, pair, where, until):
    client = await connect(pair)
    _, other = where(client, pair)
    client.reconnect().cancel()
    await until(lambda: client.connection_info() == other.address)


async def test_a_login_that_is_refused_later_is_reported_and_retried_slowly(
    connect, cluster, clock, until, pass_time
):
    diary = Diary()
    client = await connect(cluster, observer=diary)
    cluster.add_user("admin", "changed")
    cluster.nodes[0].faults.close_connections()
    before = cluster.executed[Kind.AUTH]
    await pass_time(clock, NODE_BACKOFF.maximum * 3)
    assert 2 <= cluster.executed[Kind.AUTH] - before <= 4
    assert any(what == "unreachable" and "refused the login" in why for what, why in diary.entries)
    cluster.add_user("admin", "pass")
    await until(client.is_connected, clock)
    assert await client.query("echo;") == {}


async def test_a_login_that_is_not_answered_is_tried_again(new_client, cluster, monkeypatch, clock, until):
    from tdbwatch.client import keeper

    monkeypatch.setattr(keeper, "AUTH_TIMEOUT", 0.02)
    cluster.nodes[0].faults.drop_answers(Kind.AUTH)
    client = new_client()
    ready = client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    await until(lambda: cluster.nodes[0].connections == 0 and cluster.executed[Kind.AUTH])
    await until(ready.done, clock)
    assert client.is_connected()


# -- servers that are none -----------------------------------------------------------------------------------


def refuse_login(data):
    return encode_frame(data[4] | data[5] << 8, Kind.ERROR, b"\x82\xaaerror_code\xd0\xc8\xa9error_msg\xa2no")


async def test_bytes_that_come_before_the_first_request_do_no_harm(new_client, talker, until, clock):
    ready = new_client().connect_pool([await talker(encode_frame(5, 16), refuse_login)], "t")
    await until(ready.done, clock)
    with pytest.raises(AuthError):
        await ready


async def test_what_greets_with_garbage_is_given_up_and_tried_again(
    new_client, talker, clock, pass_time, until
):
    diary = Diary()
    client = new_client(observer=diary)
    ready = client.connect_pool([await talker(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)], "t")
    await until(lambda: len(diary.entries) >= 3, clock)
    assert not ready.done()
    assert all("check byte" in reason for _, reason in diary.entries)


async def test_garbage_right_behind_the_answer_to_the_login_is_survived(
    new_client, talker, cluster, clock, until, pass_time
):
    def login_then_garbage(data):
        return encode_frame(data[4] | data[5] << 8, 17) + b"\xff" * 64

    diary = Diary()
    client = new_client(observer=diary)
    bad = await talker(b"", login_then_garbage)
    ready = client.connect_pool([bad], "admin", "pass")
    await pass_time(clock, 20)
    assert not ready.done()
    assert len(diary.entries) >= 3
    assert all("check byte" in reason for _, reason in diary.entries)


# -- names with several addresses ----------------------------------------------------------------------------


@pytest.fixture
def names(monkeypatch):
    """What names resolve to, by name."""
    known = {}

    async def look_up(host, port):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in known.get(host, [host])]

    monkeypatch.setattr(dialing, "look_up", look_up)
    return known


async def test_a_name_that_takes_for_ever_holds_up_no_other_node(new_client, cluster, monkeypatch, until):
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # as if others filled the rest
    begun, released, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def getaddrinfo(host, *args, **options):
        if host != "hangs.test" or options.get("flags"):  # first it is asked whether that is a number
            return real(host, *args, **options)
        begun.set()
        released.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    sick, client = new_client(), new_client()
    waiting = sick.connect_pool([("hangs.test", 9200)], "admin", "pass")
    await until(begun.is_set)
    await client.connect_pool([("localhost", cluster.nodes[0].port)], "admin", "pass")
    assert await client.query("echo;", scope="//stuff") == {}
    released.set()
    await sick.close_and_wait()
    assert waiting.done()


async def test_an_address_that_does_not_answer_does_not_use_up_the_time_for_the_others(
    new_client, cluster, names
):
    names["db.test"] = ["127.0.0.2", "127.0.0.1"]
    with socket.socket() as full:
        full.bind(("127.0.0.2", cluster.nodes[0].port))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        client = new_client()
        await client.connect("db.test", cluster.nodes[0].port)
        assert client.is_connected()
        for each in waiting:
            each.close()


@pytest.mark.parametrize("hosts", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
async def test_an_address_that_refuses_the_login_leaves_it_to_the_others_of_its_name(
    new_client, cluster, names, talker, hosts
):
    names["db.test"] = hosts
    await talker(b"", refuse_login, ("127.0.0.2", cluster.nodes[0].port))
    client = new_client()
    await client.connect_pool([("db.test", cluster.nodes[0].port)], "admin", "pass")
    assert await client.query("echo;", scope="//stuff") == {}


async def test_a_login_that_all_addresses_of_a_name_refuse_for_a_moment_is_an_error(
    new_client, cluster, names, until, clock
):
    names["db.test"] = ["127.0.0.1", "127.0.0.1", "127.0.0.1"]
    ready = new_client().connect_pool([("db.test", cluster.nodes[0].port)], "admin", "wrong")
    await until(ready.done, clock)
    with pytest.raises(AuthError, match="refused the login"):
        await ready
    assert cluster.executed[Kind.AUTH] == 4


async def test_a_token_that_another_node_has_just_made_is_taken_though_it_is_refused_once(
    new_client, cluster, until, clock
):
    client = new_client()
    ready = client.connect_pool([cluster.nodes[0].address], "fresh-token")
    await until(lambda: cluster.executed[Kind.AUTH] == 1)
    cluster.add_token("fresh-token")
    await until(ready.done, clock)
    await ready
    assert await client.query("echo;", scope="//stuff") == {}


async def test_an_address_that_accepts_and_hangs_is_not_tried_for_ever(
    new_client, cluster, names, monkeypatch, clock, until
):
    from tdbwatch.client import keeper

    monkeypatch.setattr(keeper, "AUTH_TIMEOUT", 0.02)
    names["db.test"] = ["127.0.0.2", "127.0.0.1"]
    with socket.create_server(("127.0.0.2", cluster.nodes[0].port)):  # the kernel accepts, nobody answers
        client = new_client()
        ready = client.connect_pool([("db.test", cluster.nodes[0].port)], "admin", "pass")
        await until(ready.done, clock, 0.05)
        assert await client.query("echo;", scope="//stuff") == {}


async def test_a_mistake_of_ours_is_logged_and_the_next_attempt_made(
    new_client, cluster, clock, until, caplog
):
    class Broken(Diary):
        def unreachable(self, address, reason, wait):
            super().unreachable(address, reason, wait)
            raise ZeroDivisionError("a mistake")

    observer = Broken()
    client = new_client(observer=observer)
    cluster.nodes[0].faults.refuse_connections = True
    ready = client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    await until(lambda: len(observer.entries) == 3, clock)
    cluster.nodes[0].faults.refuse_connections = False
    await until(ready.done, clock)
    assert client.is_connected()
    assert caplog.text.count("keeping the connection failed by a mistake of ours") == 3
    caplog.clear()


async def test_a_single_attempt_that_fails_by_a_mistake_of_ours_ends_with_it(
    new_client, cluster, monkeypatch, clock, until
):
    async def authenticate(*args):
        raise ZeroDivisionError("a mistake")

    client = new_client(auto_reconnect=False)
    await client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    cluster.nodes[0].faults.close_connections()
    monkeypatch.setattr("tdbwatch.client.keeper.authenticate", authenticate)
    await until(lambda: not client.is_connected())
    again = client.reconnect()
    await until(again.done, clock)
    assert isinstance(again.exception(), ZeroDivisionError)


@pytest.mark.parametrize(("longest", "waits"), [(3, 3), (60, 30), (120, 30)])
async def test_a_node_waits_no_longer_than_the_client_allows(new_client, pair, clock, until, longest, waits):
    diary = Diary()
    client = new_client(observer=diary)
    client.MAX_RECONNECT_WAIT_TIME = longest
    for node in pair.nodes:
        await node.stop()
    connecting = client.connect_pool([node.address for node in pair.nodes], "admin", "pass")
    await until(lambda: len(diary.waits) > 20, clock, step=1.0)
    client.close()
    await asyncio.wait([connecting])
    assert waits / 2 < max(diary.waits) <= waits
