"""Hosts: whatever a sink does, the event loop and the process go on."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from tdbwatch.daemon.deadline import DeadlineError
from tdbwatch.daemon.hosting.hosts import InlineHost, ThreadHost
from tdbwatch.daemon.hosting.sink_thread import SinkExitError
from tdbwatch.plugin import Sink
from tdbwatch.testing import ManualClock, settle

from .hosts_kit import BATCH, Acting, MakeHost

both = pytest.mark.parametrize("kind", [InlineHost, ThreadHost])


async def ended(task: "asyncio.Task[Any]") -> None:
    """Wait for a task whose end depends on another thread, not on time."""
    await asyncio.wait([task])


@both
async def test_the_sinks_answer_is_handed_on(make_host: MakeHost, kind: type) -> None:
    host, sink = await make_host(kind, lambda: None)
    assert await host.deliver(BATCH) is None
    assert (sink.thread == threading.get_ident()) is (kind is InlineHost)


@both
async def test_what_the_sink_raises_is_raised(make_host: MakeHost, kind: type) -> None:
    host, _ = await make_host(kind, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await host.deliver(BATCH)
    with pytest.raises(ZeroDivisionError):
        await host.deliver(BATCH)


@both
async def test_a_sink_cannot_end_the_process(make_host: MakeHost, kind: type) -> None:
    host, _ = await make_host(kind, lambda: sys.exit(3))
    with pytest.raises(SinkExitError, match="SystemExit"):
        await host.deliver(BATCH)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("end", "code"),
    [
        pytest.param(sys.exit, 0, id="exits"),
        pytest.param(lambda: sys.exit(3), 3, id="exits_with_a_code"),
        pytest.param(lambda: sys.exit("why"), 1, id="exits_with_a_text"),
        pytest.param(lambda: None, os.EX_SOFTWARE, id="returns"),
        pytest.param(lambda: 1 / 0, os.EX_SOFTWARE, id="raises"),
    ],
)
async def test_a_child_that_a_sink_forks_becomes_no_second_daemon(
    make_host: MakeHost, end: Callable[[], Any], code: int
) -> None:
    children = []

    def fork() -> Any:
        child = os.fork()
        children.append(child)
        return None if child else end()

    host, _ = await make_host(ThreadHost, fork)
    await host.deliver(BATCH)
    _, status = await asyncio.to_thread(os.waitpid, children[0], 0)
    assert os.waitstatus_to_exitcode(status) == code


@both
async def test_a_sink_cannot_cancel_its_courier(make_host: MakeHost, kind: type) -> None:
    def cancel() -> None:
        raise asyncio.CancelledError

    host, _ = await make_host(kind, cancel)
    with pytest.raises(SinkExitError, match="CancelledError"):
        await host.deliver(BATCH)


@both
async def test_a_call_beyond_the_deadline_is_cancelled(
    make_host: MakeHost, kind: type, clock: ManualClock
) -> None:
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    host, sink = await make_host(kind, hang)
    delivering = asyncio.create_task(host.deliver(BATCH))
    await settle()
    while sink.thread is None:
        await asyncio.sleep(0)
    await clock.advance(5)
    await ended(delivering)
    with pytest.raises(DeadlineError, match="no answer within 5 s"):
        delivering.result()
    assert cancelled.is_set()
    sink.act = lambda: None
    assert await host.deliver(BATCH) is None


async def test_a_call_beyond_the_deadline_says_where_in_the_sinks_code_it_was(
    make_host: MakeHost, clock: ManualClock
) -> None:
    there, release = threading.Event(), threading.Event()

    async def hangs_inside() -> None:
        there.set() or await asyncio.wait_for(asyncio.Event().wait(), None)  # it awaits

    async def awaits() -> None:
        await hangs_inside()

    async def blocks() -> None:
        there.set() or release.wait()  # it blocks

    lines = Path(__file__).read_text().splitlines()
    host, sink = await make_host(ThreadHost, awaits)
    for act in (awaits, blocks):
        release.clear()
        sink.act = act
        there.clear()
        delivering = asyncio.create_task(host.deliver(BATCH))
        while not there.is_set():
            await asyncio.sleep(0)
        await clock.advance(5)
        await clock.advance(1)
        with pytest.raises(DeadlineError) as caught:
            await delivering
        line = next(n for n, line in enumerate(lines, 1) if line.endswith(f"  # it {act.__name__}"))
        release.set()
        assert str(caught.value) == f"no answer within 5 s (it was at {__file__}:{line})"
        while host.stuck:  # the next call is not begun before the thread is back from this one
            await asyncio.sleep(0)


@both
async def test_a_timeout_of_the_sinks_own_stays_what_it_is(make_host: MakeHost, kind: type) -> None:
    def time_out() -> None:
        raise TimeoutError("of the sink")

    host, _ = await make_host(kind, time_out)
    with pytest.raises(TimeoutError, match="of the sink"):
        await host.deliver(BATCH)


class Plain(Acting):
    """`deliver` is no coroutine function."""

    def deliver(self, batch: Any) -> Any:  # type: ignore[override]
        return self.act()


@both
async def test_a_sink_that_runs_out_of_something_fails_like_any_other(kind: type, clock: ManualClock) -> None:
    host = kind(lambda: Plain(lambda: next(iter(()))), name="x", timeout=5, clock=clock)
    await host.open()
    with pytest.raises(RuntimeError, match="StopIteration"):
        await host.deliver(BATCH)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await host.deliver(BATCH)
    await host.close(1)


@both
@pytest.mark.parametrize(
    "raised", [KeyboardInterrupt(), GeneratorExit(), BaseExceptionGroup("g", [SystemExit(1)])]
)
async def test_nothing_that_a_sink_raises_is_more_than_an_exception(
    make_host: MakeHost, kind: type, raised: BaseException
) -> None:
    def fail() -> None:
        raise raised

    host, _ = await make_host(kind, fail)
    with pytest.raises(SinkExitError, match=type(raised).__name__):
        await host.deliver(BATCH)


@both
async def test_making_a_sink_cannot_end_the_process(kind: type, clock: ManualClock) -> None:
    host = kind(lambda: sys.exit(3), name="x", timeout=5, clock=clock)
    with pytest.raises(SinkExitError, match="SystemExit"):
        await host.open()
    await host.close(1)


@both
async def test_a_sink_that_closes_slowly_costs_one_line_and_no_traceback(
    kind: type, clock: ManualClock
) -> None:
    class Slow(Acting):
        async def close(self) -> None:
            await asyncio.Event().wait()

    with structlog.testing.capture_logs() as logs:
        host = kind(lambda: Slow(lambda: None), name="x", timeout=5, clock=clock)
        await host.open()
        closing = asyncio.create_task(host.close(0))
        while not closing.done():
            await clock.advance(0.05)
            await asyncio.sleep(0.001)
    failed = [line for line in logs if line["event"] == "sink.close_failed"]
    assert len(failed) == 1
    assert failed[0]["error"].startswith("not closed after 0.25 s")
    assert "exc_info" not in failed[0]


@both
async def test_what_a_close_raises_names_the_plugin_and_begins_at_its_own_line(
    kind: type, clock: ManualClock
) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    class Failing(Acting):
        async def close(self) -> None:
            self.act()

    def fail(error: Exception) -> None:
        raise error

    for error, shown in ((ValueError("no disk"), "ValueError: no disk"), (Odd(), "Odd")):
        sink = Failing(partial(fail, error))
        log = structlog.get_logger().bind(plugin="theirs")
        with structlog.testing.capture_logs() as logs:
            host = kind(lambda sink=sink: sink, name="x", timeout=5, clock=clock, log=log)
            await host.open()
            await host.close(5)
        (line,) = logs
        assert (line["event"], line["plugin"], line["sink"]) == ("sink.close_failed", "theirs", "x")
        assert shown in line["error"]
        assert line["exc_info"][2].tb_frame.f_code.co_filename == __file__


@both
async def test_a_sink_is_closed_even_when_deliveries_used_up_the_grace(
    make_host: MakeHost, kind: type
) -> None:
    host, sink = await make_host(kind, lambda: asyncio.Event().wait())
    delivering = asyncio.create_task(host.deliver(BATCH))
    while sink.thread is None:
        await asyncio.sleep(0)
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    with structlog.testing.capture_logs() as logs:
        await host.close(0)
    assert sink.closed
    assert logs == []


async def test_a_thread_ends_in_order_whatever_the_sink_left_in_it(make_host: MakeHost) -> None:
    async def refuse() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise SystemExit(3)

    left: list[asyncio.Task[None]] = []

    async def leave() -> None:
        left.append(asyncio.create_task(refuse()))
        await asyncio.sleep(0)
        asyncio.set_event_loop(None)

    host, sink = await make_host(ThreadHost, leave)
    await host.deliver(BATCH)
    with structlog.testing.capture_logs() as logs:
        await host.close(5)
    assert sink.closed
    assert [line["event"] for line in logs] == ["sink.thread_raised"]


@both
async def test_what_a_sink_does_to_its_event_loop_is_its_own_affair(make_host: MakeHost, kind: type) -> None:
    def meddle() -> None:
        asyncio.get_running_loop().close()  # a running one refuses

    host, sink = await make_host(kind, meddle)
    with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
        await host.deliver(BATCH)
    opening = sink.open()
    sink.act = lambda: asyncio.run(opening)
    with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
        await host.deliver(BATCH)
    opening.close()
    sink.act = lambda: None
    assert await host.deliver(BATCH) is None


@both
async def test_close_closes_the_sink_once_it_was_made(make_host: MakeHost, kind: type) -> None:
    host, sink = await make_host(kind, lambda: None)
    await host.close(5)
    assert sink.closed


@both
async def test_a_sink_that_cannot_be_made_says_why_at_open(kind: type, clock: ManualClock) -> None:
    def fail() -> Sink:
        raise LookupError("no such thing")

    host = kind(fail, name="x", timeout=5, clock=clock)
    with pytest.raises(LookupError, match="no such thing"):
        await host.open()
    await host.close(1)


def test_a_thread_that_never_returns_does_not_keep_the_process_from_ending() -> None:
    program = """
import asyncio, time
from tdbwatch.daemon.hosting.hosts import ThreadHost
from tdbwatch.plugin import Event, Sink, SinkContext

class Blocks(Sink):
    async def deliver(self, batch):
        time.sleep(3600)

async def main():
    host = ThreadHost(lambda: Blocks(None, SinkContext("b")), name="b", timeout=0.05)
    await host.open()
    try:
        await host.deliver([Event.create("r")])
    except Exception as error:
        print(type(error).__name__)
    await host.close(0.1)
    print("closed")

asyncio.run(main())
print("ended")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    lines = [line for line in done.stdout.splitlines() if "sink." not in line]
    assert lines == ["SinkHangsError", "closed", "ended"]
