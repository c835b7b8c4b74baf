"""`context.client`: sinks ask ThingsDB by the daemon's connection, and none reacts to itself without end."""

import asyncio
import inspect
import re
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from tdbwatch import exceptions
from tdbwatch.client import Client
from tdbwatch.clock import SYSTEM_CLOCK
from tdbwatch.daemon.hosting import reacting
from tdbwatch.daemon.hosting.echoes import Echoes
from tdbwatch.daemon.hosting.reacting import AT_ONCE
from tdbwatch.node import Cluster
from tdbwatch.plugin import Event, LoopError, Sink, SinkContext, hookimpl, sink
from tdbwatch.plugin.client import MOST_BYTES, MOST_HOPS, SinkClient, delivering
from tdbwatch.plugin.sink import Verdict
from tdbwatch.testing import RunningDaemon, deliver, make_event
from tdbwatch.testing.fixtures import embedded_node, running_daemon  # noqa: F401 - fixtures

Start = Callable[..., RunningDaemon]


def refuse(*_: object) -> None:
    raise exceptions.LookupError("no such thing")


def answering(cluster: Cluster) -> None:
    """What the node knows."""
    cluster.add_room("//stuff", "acks")
    cluster.on_query("x + 1;", lambda scope, code, given: [str(scope), given["x"] + 1])
    cluster.on_query(re.compile("fails.*"), refuse)
    cluster.on_query("hangs;", lambda *_: asyncio.sleep(60))
    cluster.on_procedure("add", lambda a, b: a + b)


async def asked(client: SinkClient) -> list[Any]:
    """The results and errors of some calls."""
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: client.query("x + 1;", x=1),
        lambda: client.query("x + 1;", "@t", 5, x=2),
        lambda: client.run("add", 1, 2),
        lambda: client.run("add", a="a", b="b", scope="//stuff"),
        lambda: client.query("fails;"),
        lambda: client.query("hangs;", timeout=0.02),
        lambda: client.query("x + 1;", x=object()),
        lambda: client.query("x + 1;", x="x" * (MOST_BYTES + 1)),
    ]
    results = []
    for call in calls:
        try:
            results.append(await call())
        except (exceptions.ThingsDBError, TimeoutError, exceptions.EncodeError) as error:
            results.append(type(error))
    return results


EXPECTED = [
    ["//stuff", 2],
    ["@t", 3],
    3,
    "ab",
    exceptions.LookupError,
    TimeoutError,
    exceptions.EncodeError,
    exceptions.EncodeError,
]


@pytest.mark.parametrize("threaded", [True, False])
def test_a_sink_asks_by_the_daemons_connection(running_daemon: Start, threaded: bool) -> None:  # noqa: F811
    found: list[Any] = []

    @sink("asks", threaded=threaded)
    async def asks(event: Event, context: SinkContext) -> None:
        found.extend(await asked(context.client))

    daemon = running_daemon({"sinks": {"asks": {"type": "asks"}}}, asks)
    daemon.node.call(answering)
    daemon.emit("go")
    daemon.drained()
    assert found == EXPECTED


def test_plain_functions_ask_and_wait_and_so_do_threads_of_their_own(running_daemon: Start) -> None:  # noqa: F811
    found: list[Any] = []

    @hookimpl
    def tdbwatch_event(event: Event, context: SinkContext) -> None:
        found.append(context.client.blocking.query("x + 1;", x=event.args[0]))
        own = threading.Thread(target=lambda: found.append(context.client.blocking.run("add", 1, 1)))
        own.start()
        own.join()

    daemon = running_daemon({}, tdbwatch_event)
    daemon.node.call(answering)
    daemon.emit("go", 5)
    daemon.drained()
    assert found == [["//stuff", 6], 2]


def test_a_sink_in_the_daemons_loop_may_not_block_it(running_daemon: Start) -> None:  # noqa: F811
    said: list[str] = []

    @sink("blocks", threaded=False)
    def blocks(event: Event, context: SinkContext) -> None:
        try:
            context.client.blocking.query("x + 1;", x=1)
        except RuntimeError as error:
            said.append(str(error))

    daemon = running_daemon({"sinks": {"blocks": {"type": "blocks"}}}, blocks)
    daemon.emit("go")
    daemon.drained()
    assert "use the call with await" in said[0]


def test_a_sink_that_answers_into_its_own_room_ends_and_says_why(
    running_daemon: Start,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
) -> None:
    hops: list[int] = []

    @hookimpl
    async def tdbwatch_event(event: Event, context: SinkContext) -> None:
        hops.append(event.hops)
        await context.client.emit("alerts", "again", {"b": 1, "a": [2.5, b"x"]}, event.args)

    daemon = running_daemon({}, tdbwatch_event)
    daemon.emit("again", {"b": 1, "a": [2.5, b"x"]}, [])
    until(lambda: daemon.sink("test").counts.rejected == 1)
    daemon.drained()
    assert hops == list(range(MOST_HOPS + 1))
    assert "it follows from an event that came about by 8 emits of sinks" in capfd.readouterr().out
    assert daemon.sink("test").lag == 0


def test_a_class_that_answers_itself_ends_too_and_keeps_no_room_waiting(running_daemon: Start) -> None:  # noqa: F811
    heard: list[tuple[str, int]] = []

    class Answers(Sink):
        async def deliver(self, batch: Sequence[Event]) -> Verdict:
            for event in batch:
                if event.event == "again":
                    await self.context.client.emit("alerts", "again", cause=event)
                heard.append((event.event, event.hops))
            return None

    retry = {"initial": "10ms", "max": "20ms"}
    daemon = running_daemon(
        {"sinks": {"answers": {"type": "answers", "retry": retry}}}, sink("answers")(Answers)
    )
    daemon.emit("again")
    until(lambda: ("again", MOST_HOPS - 1) in heard)
    for _ in range(3):
        daemon.emit("other")
    until(lambda: daemon.sink("answers").counts.rejected == 1)
    daemon.drained()
    assert (daemon.sink("answers").lag, heard.count(("other", 0))) == (0, 3)


def test_the_blocking_calls_take_what_the_others_take() -> None:
    for name in ("query", "run", "emit"):
        waits, blocks = getattr(SinkClient, name), getattr(SinkClient().blocking, name)
        assert list(inspect.signature(waits).parameters.values())[1:] == list(
            inspect.signature(blocks).parameters.values()
        )


def test_hops_are_in_the_log_and_survive_a_restart(running_daemon: Start) -> None:  # noqa: F811
    waits, seen, tried = [True], [], threading.Event()

    class Later(Sink):
        async def deliver(self, batch: Sequence[Event]) -> Verdict:
            if batch[0].event == "first":
                await self.context.client.emit("alerts", "second", 1)
            elif waits:
                tried.set()
                raise ConnectionError("not now")
            else:
                seen.extend((event.event, event.hops, event.record().get("hops")) for event in batch)
            return None

    later = sink("later")(Later)
    daemon = running_daemon({"sinks": {"later": {"type": "later", "batch": {"count": 1}}}}, later)
    daemon.emit("first")
    assert tried.wait(20)
    daemon.emit("second", 1)  # the same, and nobody's answer
    daemon.heard()
    daemon.stop()
    waits.clear()
    daemon.start()
    daemon.drained()
    assert seen[:2] == [("second", 1, 1), ("second", 0, None)]


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition in the daemon's thread, which no clock of ours can turn."""
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


counted: list[int] = []


class CountsHops:
    """A way that leads nowhere, and keeps the hops of what is emitted."""

    def begin(self, ask: Any, timeout: float | None) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(None)
        return done

    def emit(self, room: int | str, event: str, args: list[Any], scope: str | None, hops: int) -> Any:
        counted.append(hops)

    def may_block(self) -> bool:
        return True


def test_outside_a_delivery_an_emit_names_its_cause() -> None:
    client = SinkClient(CountsHops())
    event = make_event(hops=2)
    with pytest.raises(ValueError, match="add cause=EVENT, or cause=None"):
        client.blocking.emit("alerts", "x")
    assert client.blocking.emit("alerts", "x", cause=None) is None
    client.blocking.emit("alerts", "x", cause=event)
    with delivering([event, make_event(hops=5), make_event()]):
        client.blocking.emit("alerts", "x")
        client.blocking.emit("alerts", "x", cause=event)
    with pytest.raises(ValueError, match="nothing is being delivered"):
        client.blocking.emit("alerts", "x")
    assert counted == [1, 3, 6, 3]
    with pytest.raises(LoopError):
        client.blocking.emit("alerts", "x", cause=make_event(hops=MOST_HOPS))


async def test_a_task_that_outlives_its_delivery_emits_for_no_event_of_it() -> None:
    client, go = SinkClient(CountsHops()), asyncio.Event()

    async def work() -> None:
        await go.wait()
        await client.emit("alerts", "x")

    with delivering([make_event()]):
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
    go.set()
    with pytest.raises(ValueError, match="cause=EVENT"):
        await task


def test_without_a_daemon_the_error_says_what_helps() -> None:
    @sink("asks")
    async def asks(event: Event, context: SinkContext) -> None:
        await context.client.run("add", 1, 2)

    with pytest.raises(exceptions.NotConnectedError, match="in a test, give it client="):
        deliver(asks, make_event())


def test_calls_that_hang_hold_up_no_other_sink_no_room_and_no_stop(running_daemon: Start) -> None:  # noqa: F811
    taken, ended = threading.Event(), []

    @sink("asks")
    async def asks(event: Event, context: SinkContext) -> None:
        taken.set()
        try:
            await asyncio.gather(*(context.client.query("hangs;", timeout=60) for _ in range(150)))
        except BaseException as error:
            ended.append(type(error))
            raise

    daemon = running_daemon(
        {
            "sinks": {"asks": {"type": "asks"}, "audit": {"type": "log"}},
            "shutdown": {"grace": "500ms"},
        },
        asks,
    )
    daemon.node.call(answering)
    for number in range(20):
        daemon.emit("go", number)
    assert taken.wait(20)
    until(lambda: daemon.sink("audit").counts.delivered == 20)
    until(lambda: sum("hangs;" in (one.body or ()) for one in daemon.node.cluster.log) == AT_ONCE)
    daemon.heard()
    daemon.stop()
    until(lambda: bool(ended))  # the stop leaves a thread that is slow to itself
    assert ended == [asyncio.CancelledError]


async def test_calls_beyond_those_at_once_wait_for_their_turn_and_a_few_more_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reacting, "AT_ONCE", 2)
    monkeypatch.setattr(reacting, "MOST_WAITING", 4)
    go, begun = asyncio.Event(), []

    async def ask(_: object, timeout: float) -> float:
        begun.append(timeout)
        await go.wait()
        return timeout

    way = reacting.Reacting(Client(), Echoes(SYSTEM_CLOCK)).way(30)
    calls = [asyncio.wrap_future(way.begin(ask, None)) for _ in range(3)]
    late, refused = (asyncio.wrap_future(way.begin(ask, seconds)) for seconds in (0.01, None))
    with pytest.raises(exceptions.NotConnectedError, match="4 calls of this sink wait already"):
        await refused
    with pytest.raises(TimeoutError, match=r"not sent within 0\.01 s: 2 calls of this sink are under way"):
        await late
    assert begun == [30, 30]
    calls[0].cancel()  # a sink's deadline has passed
    go.set()
    first, second, third = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert second == 30
    assert isinstance(third, float)
    assert third <= 30


async def test_after_the_daemon_has_stopped_nothing_is_sent_and_the_error_says_so() -> None:
    def made() -> SinkClient:
        async def make() -> SinkClient:
            return SinkClient(reacting.Reacting(Client(), Echoes(SYSTEM_CLOCK)).way(30))

        return asyncio.run(make())

    client = await asyncio.to_thread(made)
    with pytest.raises(exceptions.NotConnectedError, match="tdbwatch has stopped"):
        await client.query("x")
