"""Every call ends exactly once, and nothing is executed twice behind the caller's back."""

import asyncio
from decimal import Decimal
from fractions import Fraction

import pytest

from tdbwatch import exceptions as errors
from tdbwatch.client import outbox
from tdbwatch.exceptions import ConnectionLostError, EncodeError, NotConnectedError
from tdbwatch.wire import Kind, session
from tests.passing import let_pass


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr(outbox, "NODE_RETRY_WAIT", 0.0)
    monkeypatch.setattr(outbox, "MAX_NODE_RETRY_WAIT", 0.0)


async def test_a_query_is_answered_with_its_variables_in_the_default_scope(client, cluster):
    assert await client.query("echo;", a=1, b=[None, True]) == {"a": 1, "b": [None, True]}
    assert cluster.log[-1].body == ["//stuff", "echo;", {"a": 1, "b": [None, True]}]


async def test_code_is_stripped_unless_its_lines_must_stay(client, cluster):
    await client.query("\n  echo;\n", scope="@:stuff")
    assert cluster.log[-1].body == ["@:stuff", "echo;"]
    await client.query("\n  echo;\n", skip_strip_code=True)
    assert cluster.log[-1].body[1] == "\n  echo;\n"


async def test_an_empty_scope_is_not_taken_for_the_default(client, cluster):
    requests = (
        lambda: client.query("echo;", scope=""),
        lambda: client.run("answer", scope=""),
        lambda: client.emit("alerts", "e", scope=""),
    )
    for request in requests:
        with pytest.raises(errors.ThingsDBError, match="scope"):
            await request()
        assert cluster.log[-1].body[0] == ""


@pytest.mark.parametrize("timeout", ["0.01", Decimal("0.01"), Fraction(1, 100), 0.01])
async def test_a_timeout_is_any_number_or_the_text_of_one(client, timeout):
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        await client.query("slow;", timeout=timeout)


@pytest.mark.parametrize("timeout", [0, 0.0, "0", None])
async def test_a_timeout_of_nothing_is_none(client, timeout):
    assert await client.query("echo;", timeout=timeout) == {}


async def test_a_procedure_runs_with_arguments_by_position_or_by_name_but_not_both(client, cluster):
    cluster.on_procedure("add", lambda a, b: a + b)
    assert await client.run("add", 1, 2) == 3
    assert await client.run("add", a=1, b=2, scope="//stuff") == 3
    with pytest.raises(ValueError, match="not both"):
        client.run("add", 1, b=2)


async def test_a_procedure_without_arguments_is_sent_without_any(client, cluster):
    cluster.on_procedure("now", lambda: 5)
    assert await client.run("now") == 5
    assert cluster.log[-1].body == ["//stuff", "now"]


@pytest.mark.parametrize(
    ("code", "mine", "builtin"),
    [
        (-54, errors.LookupError, LookupError),
        (-60, errors.ValueError, ValueError),
        (-58, errors.ZeroDivisionError, ZeroDivisionError),
        (-50, errors.AssertionError, AssertionError),
    ],
)
async def test_an_error_is_raised_as_its_class_and_as_the_built_in_that_python_thingsdb_gives_it(
    client, node, code, mine, builtin
):
    node.faults.refuse(Kind.QUERY, 1, errors.from_wire({"error_code": code, "error_msg": "so it is"}))
    with pytest.raises(mine, match="so it is") as caught:
        await client.query("echo;")
    assert isinstance(caught.value, builtin)
    assert caught.value.error_code == code


@pytest.mark.parametrize("code", [-100, -127, -99, -65, 7])
async def test_an_unknown_code_keeps_its_number_and_its_message(client, node, code):
    node.faults.refuse(Kind.QUERY, 1, errors.from_wire({"error_code": code, "error_msg": "mine"}))
    with pytest.raises(errors.CustomError) as caught:
        await client.query("echo;")
    assert (caught.value.error_code, caught.value.error_msg) == (code, "mine")


async def test_what_cannot_be_encoded_fails_and_sends_nothing(client, cluster):
    before = cluster.executed.total()
    for value, builtin in (
        (object(), TypeError),
        ({1, 2}, TypeError),
        (2**64, OverflowError),
        ("\ud800", UnicodeEncodeError),
    ):
        with pytest.raises(EncodeError, match="cannot take this value") as caught:
            await client.query("echo;", value=value)
        assert isinstance(caught.value, TypeError)
        assert isinstance(caught.value, builtin)
    assert cluster.executed.total() == before
    assert await client.query("echo;") == {}


async def test_a_call_that_is_sent_ends_at_its_deadline_and_a_late_answer_hits_nobody(client, node, cluster):
    node.faults.freeze()
    with pytest.raises(TimeoutError, match=r"0\.01 s \(waited for its answer\)") as caught:
        await client.query("echo;", late=True, timeout=0.01)
    assert not isinstance(caught.value, errors.ThingsDBError)
    other = asyncio.create_task(client.query("echo;", late=False))
    node.faults.thaw()
    assert await other == {"late": False}
    assert cluster.executed[Kind.QUERY] == 2


async def test_a_call_that_waits_for_a_connection_ends_at_its_deadline(client, node, cluster, until):
    await node.stop()
    await until(lambda: not client.is_connected())
    with pytest.raises(TimeoutError, match="waited for a connection"):
        await client.query("echo;", timeout=0.01)
    assert cluster.executed[Kind.QUERY] == 0


async def test_a_cancelled_call_ends_whether_it_was_sent_or_not(client, node, cluster, until, clock):
    sent = asyncio.create_task(client.query("slow;"))
    await asyncio.sleep(0)
    sent.cancel()
    await node.stop()
    await until(lambda: not client.is_connected())
    waiting = asyncio.create_task(client.query("echo;", never=True))
    await asyncio.sleep(0)
    waiting.cancel()
    await node.start()
    await until(client.is_connected, clock)
    assert await client.query("echo;", after=1) == {"after": 1}
    assert [request.body[2] for request in cluster.log if request.body and "echo;" in request.body] == [
        {"after": 1}
    ]


async def test_a_call_that_is_not_sent_yet_waits_for_the_connection(client, node, until, clock):
    await node.stop()
    await until(lambda: not client.is_connected())
    waiting = [asyncio.create_task(client.query("echo;", number=number)) for number in range(100)]
    await node.start()
    await until(lambda: all(future.done() for future in waiting), clock)
    assert [future.result()["number"] for future in waiting] == list(range(100))


async def test_a_call_whose_connection_dies_after_it_was_sent_is_not_repeated(
    client, node, cluster, until, clock
):
    node.faults.close_on(Kind.QUERY)
    with pytest.raises(ConnectionLostError, match="executed or not") as caught:
        await client.query("echo;")
    assert isinstance(caught.value, ConnectionError)
    await until(client.is_connected, clock)
    assert await client.query("echo;", again=1) == {"again": 1}
    assert cluster.executed[Kind.QUERY] == 2


async def test_only_so_many_calls_wait_for_a_connection(client, node, until, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WAITING", 3)
    await node.stop()
    await until(lambda: not client.is_connected())
    waiting = [asyncio.create_task(client.query("echo;")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(NotConnectedError, match="3 requests wait"):
        await client.query("echo;")
    waiting[0].cancel()
    await asyncio.sleep(0)
    another = asyncio.create_task(client.query("echo;"))
    await asyncio.sleep(0)
    assert not another.done()
    client.close()
    await asyncio.gather(*waiting, another, return_exceptions=True)


async def test_a_client_that_never_connected_says_so(new_client):
    with pytest.raises(NotConnectedError, match="not sent"):
        await new_client().query("echo;")


async def test_closing_ends_what_is_sent_and_what_waits(connect, cluster, until):
    sending, waiting = await connect(cluster), await connect(cluster)
    sent = asyncio.create_task(sending.query("slow;"))
    await until(lambda: cluster.executed[Kind.QUERY] == 1)
    sending.close()
    with pytest.raises(ConnectionLostError, match="executed or not"):
        await sent
    await cluster.nodes[0].stop()
    await until(lambda: not waiting.is_connected())
    queued = asyncio.create_task(waiting.query("echo;"))
    await asyncio.sleep(0)
    waiting.close()
    with pytest.raises(NotConnectedError, match="before the request was sent"):
        await queued
    with pytest.raises(NotConnectedError):
        await waiting.query("echo;")


@pytest.mark.usefixtures("quick_retries")
async def test_a_node_that_is_not_ready_is_asked_again_and_the_query_runs_once(client, node, cluster):
    node.faults.refuse(Kind.QUERY, 3)
    assert await client.query("echo;", n=1) == {"n": 1}
    assert cluster.executed[Kind.QUERY] == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_request_that_one_node_is_not_ready_for_runs_on_another(connect, pair, where):
    client = await connect(pair)
    node, _ = where(client, pair)
    node.faults.refuse(Kind.QUERY)
    assert await client.query("echo;", n=1, timeout=10) == {"n": 1}
    assert where(client, pair)[0] is not node
    assert pair.executed[Kind.QUERY] == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_request_goes_back_to_the_node_that_is_ready_first(connect, pair, where, until):
    client = await connect(pair)
    node, other = where(client, pair)
    for each in pair.nodes:
        each.faults.refuse(Kind.QUERY)
    call = asyncio.create_task(client.query("echo;", n=1))
    await until(lambda: where(client, pair)[0] is other)
    node.faults.clear()
    assert await call == {"n": 1}
    assert pair.executed[Kind.QUERY] == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_node_that_is_not_ready_for_long_is_asked_until_the_deadline_or_until_it_is(client, node):
    node.faults.refuse(Kind.QUERY)
    with pytest.raises(TimeoutError):
        await client.query("echo;", timeout=0.05)
    node.faults.refuse(Kind.QUERY, 100)
    assert await client.query("echo;", n=1) == {"n": 1}


@pytest.mark.usefixtures("quick_retries")
async def test_a_node_that_is_not_ready_for_long_is_complained_of_less_and_less_often(client, node, caplog):
    node.faults.refuse(Kind.QUERY, 40)
    await client.query("echo;")
    complaints = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert [message.split(" times")[0].split()[-1] for message in complaints] == ["4", "8", "16", "32"]


async def test_only_so_many_calls_wait_for_a_node_to_be_ready(client, node, until, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WAITING", 3)
    node.faults.refuse(Kind.QUERY)
    calls = [asyncio.create_task(client.query("echo;", n=n)) for n in range(3)]
    await until(lambda: len(client.__tdbwatch__.outbox._repeated) == 3)
    with pytest.raises(errors.NodeError):
        await client.query("echo;")
    node.faults.clear()
    assert [await call for call in calls] == [{"n": n} for n in range(3)]


async def test_the_deadline_of_a_call_that_no_node_was_ready_for_says_so(client, node, until, monkeypatch):
    monkeypatch.setattr(outbox, "NODE_RETRY_WAIT", 60.0)
    monkeypatch.setattr(outbox, "MAX_NODE_RETRY_WAIT", 60.0)
    node.faults.refuse(Kind.QUERY)
    asked = asyncio.create_task(client.query("echo;", timeout=30))
    await until(lambda: client.__tdbwatch__.outbox._repeated)
    let_pass(30)
    with pytest.raises(TimeoutError, match="waited for a node that is ready"):
        await asked


async def test_closing_ends_a_call_that_is_about_to_be_tried_again(client, node, until):
    node.faults.refuse(Kind.QUERY)
    again = asyncio.create_task(client.query("echo;"))
    await until(lambda: client.__tdbwatch__.outbox._repeated)
    client.close()
    with pytest.raises(NotConnectedError):
        await again


async def test_ids_are_not_used_again_while_they_are_outstanding_and_all_of_them_may_be(
    client, cluster, monkeypatch
):
    """Here there are few; that it is all 65,535 of them, the session's own tests say."""
    monkeypatch.setattr(session, "PUSH_ID", 300)
    outstanding = [asyncio.create_task(client.query("slow;")) for _ in range(300)]
    await asyncio.sleep(0)
    with pytest.raises(NotConnectedError, match="no id is free"):
        await client.query("echo;")
    assert not any(future.done() for future in outstanding)
    for future in outstanding[:10]:
        future.cancel()
    await asyncio.sleep(0)
    with pytest.raises(NotConnectedError, match="no id is free"):  # they were not answered yet
        await client.query("echo;")
    client.close()
    results = await asyncio.gather(*outstanding[10:], return_exceptions=True)
    assert {type(result) for result in results} == {ConnectionLostError}


async def test_an_answer_that_does_not_decode_fails_its_own_call_only(client, monkeypatch, cluster):
    cluster.on_query("bad;", b"")
    other = asyncio.create_task(client.query("echo;", fine=1))
    from tdbwatch.node import connection
    from tdbwatch.wire import encode_frame

    encode = connection.Connection._encode

    def garbled(self, request, reply):
        return (
            encode_frame(request.id, Kind.DATA, b"\xc1")
            if reply.value == b""
            else encode(self, request, reply)
        )

    monkeypatch.setattr(connection.Connection, "_encode", garbled)
    with pytest.raises(errors.ProtocolError, match="not valid MessagePack"):
        await client.query("bad;")
    assert await other == {"fine": 1}
    assert client.is_connected()


async def test_a_node_that_stops_reading_is_not_fed_without_end(client, node, monkeypatch):
    from tdbwatch.client.links import link

    monkeypatch.setattr(link, "MAX_BACKLOG", 1_000_000)
    node.faults.freeze()
    calls = [asyncio.create_task(client.query("echo;", data=b"x" * 1_000_000)) for _ in range(20)]
    await asyncio.sleep(0)
    refused = [call for call in calls if call.done()]
    assert refused
    assert all("does not read" in str(call.exception()) for call in refused)
    assert isinstance(refused[0].exception(), NotConnectedError)
    node.faults.thaw()
    answers = await asyncio.gather(*(call for call in calls if call not in refused))
    assert all(answer == {"data": b"x" * 1_000_000} for answer in answers)
