"""Names with several addresses: one that is dead, slow or refuses keeps nobody from the others."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tdbwatch.client.transports import dialing
from tdbwatch.exceptions import AuthError
from tdbwatch.wire import Kind

from .keeper_kit import refuse_login


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
    from tdbwatch.client.links import keeper

    monkeypatch.setattr(keeper, "AUTH_TIMEOUT", 0.02)
    names["db.test"] = ["127.0.0.2", "127.0.0.1"]
    with socket.create_server(("127.0.0.2", cluster.nodes[0].port)):  # the kernel accepts, nobody answers
        client = new_client()
        ready = client.connect_pool([("db.test", cluster.nodes[0].port)], "admin", "pass")
        await until(ready.done, clock, 0.05)
        assert await client.query("echo;", scope="//stuff") == {}
