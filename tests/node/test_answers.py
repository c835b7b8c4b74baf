"""Registered answers, users and tokens."""

import asyncio
import re

import pytest

from tdbwatch import exceptions as errors
from tdbwatch.wire import Kind, Warn, encode_frame


@pytest.fixture
async def peer(cluster, dial):
    return await (await dial(cluster.nodes[0])).auth()


async def test_a_registered_value_is_answered_whatever_the_space_around_the_code(cluster, peer):
    cluster.on_query(".monitor.room.id();", 7)
    (answer,) = await peer.ask(Kind.QUERY, ["//stuff", "\n  .monitor.room.id();  "])
    assert answer.value == 7


@pytest.mark.parametrize("later", [False, True])
async def test_a_function_gets_scope_code_and_variables(cluster, peer, later):
    def function(scope, code, variables):
        return [scope, code, variables]

    async def coroutine(scope, code, variables):
        await asyncio.sleep(0)
        return [scope, code, variables]

    cluster.on_query("x + y;", coroutine if later else function)
    (answer,) = await peer.ask(Kind.QUERY, ["//stuff", "x + y;", {"x": 40}])
    assert answer.value == ["//stuff", "x + y;", {"x": 40}]


async def test_a_pattern_answers_all_code_that_it_matches_whole(cluster, peer):
    cluster.on_query(re.compile(r"\.rooms\.\w+\.id\(\);"), lambda _scope, code, _vars: len(code))
    (answer,) = await peer.ask(Kind.QUERY, ["//stuff", ".rooms.a.id();"])
    assert answer.value == 14
    (answer,) = await peer.ask(Kind.QUERY, ["//stuff", ".rooms.a.id(); .del('all');"])
    assert answer.value["error_code"] == -52


async def test_code_that_is_not_registered_says_that_this_is_no_database(peer):
    (answer,) = await peer.ask(Kind.QUERY, ["//stuff", "nil;" * 100])
    assert answer.value["error_code"] == -52
    assert "embedded node" in answer.value["error_msg"]
    assert len(answer.value["error_msg"]) < 250


@pytest.mark.parametrize("later", [False, True])
async def test_an_error_that_an_answer_raises_is_answered_with_its_code(cluster, peer, later):
    def function(*_):
        raise errors.from_wire({"error_code": -123, "error_msg": "custom code"})

    async def coroutine(*_):
        function()

    cluster.on_query("boom;", coroutine if later else function)
    (answer,) = await peer.ask(Kind.QUERY, ["//stuff", "boom;"])
    assert answer.value == {"error_code": -123, "error_msg": "custom code"}


@pytest.mark.parametrize("later", [False, True])
async def test_a_bug_in_an_answer_is_an_internal_error_and_is_logged(cluster, peer, caplog, later):
    def function(*_):
        return 1 / 0

    async def coroutine(*_):
        return 1 / 0

    cluster.on_query("bug;", coroutine if later else function)
    (answer,) = await peer.ask(Kind.QUERY, ["//stuff", "bug;"])
    assert answer.value["error_code"] == -1
    assert "ZeroDivisionError" in answer.value["error_msg"]
    assert "ZeroDivisionError" in caplog.text


async def test_an_answer_that_thingsdb_has_no_type_for_is_an_internal_error(cluster, peer):
    cluster.on_query("odd;", object())
    (answer,) = await peer.ask(Kind.QUERY, ["//stuff", "odd;"])
    assert answer.value["error_code"] == -1


async def test_a_slow_answer_does_not_hold_up_the_others(cluster, peer):
    gate = asyncio.Event()

    async def slow(*_):
        await gate.wait()
        return "slow"

    cluster.on_query("slow;", slow)
    slow_id = peer.send(Kind.QUERY, ["//stuff", "slow;"])
    assert await peer.pending() == []
    gate.set()
    (answer,) = await peer.until(lambda each: each.id == slow_id)
    assert answer.value == "slow"


async def test_an_answer_may_stop_its_own_node(cluster, peer):
    async def crash(*_):
        await cluster.nodes[0].stop()

    cluster.on_query("crash;", crash)
    peer.send(Kind.QUERY, ["//stuff", "crash;"])
    assert await peer.closed() == []
    assert not cluster.nodes[0].running


async def test_a_warning_comes_before_the_answer(cluster, peer):
    cluster.on_query("warn;", 1, warning="mind the gap")
    warn, answer = await peer.ask(Kind.QUERY, ["//stuff", "warn;"])
    assert (warn, answer.value) == (Warn(2, "mind the gap"), 1)


@pytest.mark.parametrize("arguments", [[41], {"x": 41}])
async def test_a_procedure_runs_by_position_and_by_name(cluster, peer, arguments):
    cluster.on_procedure("add_one", lambda x: x + 1)
    (answer,) = await peer.ask(Kind.RUN, ["//stuff", "add_one", arguments])
    assert answer.value == 42


@pytest.mark.parametrize("rest", [[], [None], [[]], [{}]])
async def test_a_procedure_without_arguments_runs(cluster, peer, rest):
    cluster.on_procedure("hello", lambda: "hi")
    (answer,) = await peer.ask(Kind.RUN, ["//stuff", "hello", *rest])
    assert answer.value == "hi"


@pytest.mark.parametrize(
    ("rest", "code"),
    [(["add_one"], -62), (["add_one", {"y": 1}], -62), (["nope"], -54), ([1], -53), ([], -53)],
)
async def test_a_wrong_call_of_a_procedure_is_refused(cluster, peer, rest, code):
    cluster.on_procedure("add_one", lambda x: x + 1)
    (answer,) = await peer.ask(Kind.RUN, ["//stuff", *rest])
    assert answer.value["error_code"] == code


@pytest.mark.parametrize("kind", [Kind.QUERY, Kind.RUN, Kind.JOIN, Kind.LEAVE, Kind.EMIT, Kind.EMIT_PEER])
@pytest.mark.parametrize("body", [None, 1, "x", [], [1], {"scope": "//stuff"}])
async def test_a_body_of_a_wrong_shape_is_bad_data(peer, kind, body):
    (answer,) = await peer.ask(kind, body)
    assert answer.value["error_code"] == -53


async def test_a_body_that_does_not_decode_is_bad_data_and_the_connection_lives_on(peer):
    request_id, _ = peer.session.request(Kind.QUERY)
    peer.send_raw(encode_frame(request_id, Kind.QUERY, b"\x92\x01"))
    (answer,) = await peer.until(lambda each: each.id == request_id)
    assert answer.value["error_code"] == -53
    assert await peer.pending() == []


async def test_a_token_stands_for_its_user(cluster, dial):
    cluster.add_user("reader", "secret", join=False)
    cluster.add_token("t0ken", user="reader")
    peer = await dial(cluster.nodes[0])
    (answer,) = await peer.ask(Kind.AUTH, "t0ken")
    assert answer.kind == Kind.OK
    (answer,) = await peer.ask(Kind.JOIN, ["//stuff", "alerts"])
    assert "`reader` is missing" in answer.value["error_msg"]


async def test_a_token_for_nobody_is_refused(cluster):
    with pytest.raises(errors.LookupError):
        cluster.add_token("t0ken", user="nobody")


async def test_what_was_executed_is_counted_without_refusals_and_secrets(cluster, peer, dial):
    cluster.on_query("1;", 1)
    stranger = await dial(cluster.nodes[1])
    await stranger.ask(Kind.QUERY, ["//stuff", "1;"])
    await peer.ask(Kind.QUERY, ["//stuff", "1;"])
    assert cluster.executed[Kind.QUERY] == 1
    assert cluster.log[-1] == (0, Kind.QUERY, ["//stuff", "1;"])
    assert "pass" not in repr(cluster.log)
    assert "secret" not in repr(vars(cluster.users))
