"""What a login may be, when it is asked for, and what becomes of one that is refused."""

import pytest

from tdbwatch.client.links.pool import NODE_BACKOFF
from tdbwatch.exceptions import AuthError, NotConnectedError
from tdbwatch.wire import Kind

from .keeper_kit import Diary


async def test_connecting_without_a_login_needs_authenticate(new_client, cluster):
    client = new_client()
    node = cluster.nodes[0]
    await client.connect(node.host, node.port)
    with pytest.raises(AuthError):
        await client.query("echo;", scope="//stuff")
    await client.authenticate(("admin", "pass"))
    assert await client.query("echo;", scope="//stuff") == {}


@pytest.mark.parametrize("timeout", [10, 0.02])
async def test_a_login_that_was_not_answered_is_that_of_the_next_connection(
    new_client, cluster, clock, until, timeout
):
    client, node = new_client(), cluster.nodes[0]
    await client.connect(node.host, node.port)
    if timeout == 10:
        node.faults.close_on(Kind.AUTH)
    else:
        node.faults.drop_answers(Kind.AUTH)
    with pytest.raises((ConnectionError, TimeoutError)):
        await client.authenticate("admin", "pass", timeout=timeout)
    node.faults.close_connections()
    await until(lambda: not client.is_connected())
    await until(client.is_connected, clock)
    assert await client.query("echo;", scope="//stuff") == {}


async def test_a_login_that_was_refused_leaves_the_one_before(new_client, cluster, clock, until):
    client, node = new_client(), cluster.nodes[0]
    await client.connect(node.host, node.port)
    await client.authenticate("admin", "pass")
    with pytest.raises(AuthError):
        await client.authenticate("admin", "wrong")
    node.faults.close_connections()
    await until(lambda: not client.is_connected())
    await until(client.is_connected, clock)
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
    assert "secret-word" not in str(caught.value) + caplog.text + repr(client.__tdbwatch__.settings)
    with pytest.raises(NotConnectedError):
        await client.query("echo;")


async def test_rooms_wait_for_the_login_and_are_joined_right_after_it(new_client, cluster, Ears, until):
    client = new_client()
    await client.connect("127.0.0.1", cluster.nodes[0].port)
    ears = Ears("alerts")
    with pytest.raises(AuthError):
        await ears.join(client)
    await client.authenticate("admin", "pass")
    await ears.join(client)
    assert ears.hooks == ["init", "join"]


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
    from tdbwatch.client.links import keeper

    monkeypatch.setattr(keeper, "AUTH_TIMEOUT", 0.02)
    cluster.nodes[0].faults.drop_answers(Kind.AUTH)
    client = new_client()
    ready = client.connect_pool([cluster.nodes[0].address], "admin", "pass")
    await until(lambda: cluster.nodes[0].connections == 0 and cluster.executed[Kind.AUTH])
    await until(ready.done, clock)
    assert client.is_connected()
