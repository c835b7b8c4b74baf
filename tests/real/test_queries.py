"""Queries, procedures and logins on real nodes."""

import asyncio
import math
from functools import partial

import pytest

from tdbwatch import exceptions
from tdbwatch.client import Client

from .cluster import ask
from .waiting import until

pytestmark = pytest.mark.real

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63) + 1,
    1.5,
    math.inf,
    "",
    "héllo ☃ 𝄞",
    b"\x00\xff",
    [],
    [1, [2, ["three", None]]],
    {},
    {"a": {"b": [1, {"c": "d"}]}},
]
ERRORS = [
    ("1/0;", exceptions.ZeroDivisionError, -58),
    ("9223372036854775807 + 1;", exceptions.OverflowError, -59),
    (".no_such_property;", exceptions.LookupError, -54),
    ("this is not code", exceptions.SyntaxError, -52),
    ("assert(false);", exceptions.AssertionError, -50),
    ("'a' + 1;", exceptions.TypeError, -61),
    ("raise(value_err());", exceptions.ValueError, -60),
    ("int(1, 2, 3);", exceptions.NumArgumentsError, -62),
    ("raise(operation_err());", exceptions.OperationError, -63),
    ("raise(cancelled_err());", exceptions.CancelledError, -64),
    ("raise(max_quota_err());", exceptions.MaxQuotaError, -57),
    ("raise(bad_data_err());", exceptions.BadDataError, -53),
    ("raise('of our own');", exceptions.CustomError, -100),
    ("raise(err(-123, 'of our own'));", exceptions.CustomError, -123),
]


@pytest.fixture
async def procedures(watcher, scopes):
    await watcher.query("new_procedure('subtract', |a, b| a - b); nil;", scope=scopes[0])
    yield scopes[0]
    await watcher.query("del_procedure('subtract');", scope=scopes[0])


@pytest.fixture
async def reader(watcher, target, scopes):
    """A user who may query the first collection, and a token of theirs."""
    name = f"reader_{scopes[0].removeprefix('//')}"
    token = await watcher.query(
        f"new_user('{name}'); grant('{scopes[0]}', '{name}', QUERY); new_token('{name}');", scope="@t"
    )
    async with asyncio.timeout(60):
        for node in target.nodes:  # the user reaches other nodes a little later
            await until(partial(logs_in, node, token), f"the new user at {node}")
    yield token
    await watcher.query(f"del_user('{name}');", scope="@t")


async def logs_in(node, token):
    try:
        return await ask(node, (token,), "true;", "@n") is not None
    except exceptions.AuthError:
        return False
    except exceptions.ForbiddenError:
        return True


async def test_hello_world(watcher):
    assert await watcher.query("'Hello World!';", scope="@t") == "Hello World!"


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_a_value_comes_back_as_it_was_sent(watcher, scopes, value):
    back = await watcher.query("return value, 9;", scope=scopes[0], value=value)

    assert (type(back), back) == (type(value), value)


@pytest.mark.parametrize(("code", "error", "number"), ERRORS)
async def test_an_error_has_its_class_and_code(watcher, scopes, code, error, number):
    with pytest.raises(error) as caught:
        await watcher.query(code, scope=scopes[0])

    assert caught.value.error_code == number
    assert caught.value.error_msg


async def test_a_collection_that_does_not_exist_is_a_lookup_error(watcher):
    with pytest.raises(LookupError, match="no_such_collection"):
        await watcher.query("1;", scope="//no_such_collection")


async def test_a_procedure_runs_with_arguments_by_position_and_by_name(watcher, procedures):
    assert await watcher.run("subtract", 44, 2, scope=procedures) == 42
    assert await watcher.run("subtract", b=2, a=44, scope=procedures) == 42


async def test_a_procedure_that_is_unknown_or_called_wrongly_raises(watcher, procedures):
    with pytest.raises(LookupError, match="no_such_procedure"):
        await watcher.run("no_such_procedure", scope=procedures)
    with pytest.raises(exceptions.TypeError):
        await watcher.run("subtract", "a", 2, scope=procedures)


async def test_many_queries_at_once_get_each_its_own_answer(watcher, scopes):
    answers = [asyncio.create_task(watcher.query("n * 2;", scope=scopes[0], n=n)) for n in range(500)]

    assert [await answer for answer in answers] == [n * 2 for n in range(500)]


async def test_a_token_logs_in(connect, reader, target, scopes):
    client = await connect(target.nodes[0], auth=(reader,))

    assert await client.query("'in';", scope=scopes[0]) == "in"


async def test_who_may_not_join_is_told_so(connect, reader, watcher, new_room, hear):
    room = await new_room(watcher)
    client = await connect(watcher.connection_info(), auth=(reader,))

    with pytest.raises(exceptions.ForbiddenError, match="JOIN"):
        await hear(client, room.name, room.scope)


@pytest.mark.parametrize("secret", [("admin", "wr0ng-passw0rd"), ("wr0ngtokenwr0ngtoken00",)])
async def test_a_refused_login_names_the_node_and_not_the_secret(target, secret):
    async with Client() as client:
        with pytest.raises(exceptions.AuthError) as caught:
            await client.connect_pool(target.nodes[:1], *secret)

    assert target.nodes[0] in str(caught.value)
    assert secret[-1] not in f"{caught.value!r} {client!r} {vars(caught.value)}"
    assert not client.is_connected()


async def test_a_node_tells_how_the_cluster_is(watcher, target):
    infos = await watcher.nodes_info()

    assert len(infos) >= len(target.nodes)
    assert {"node_id", "status"} <= infos[0].keys()
