"""A sink whose threads do not come back harms nobody else, and goes on when they do."""

import asyncio
import threading
from typing import Any

import pytest
import structlog

from tdbwatch.daemon.deadline import DeadlineError
from tdbwatch.daemon.hosting import sink_thread
from tdbwatch.daemon.hosting.hosts import SinkHangsError, SinkStuckError, ThreadHost
from tdbwatch.testing import ManualClock, settle
from tests.daemon import leaving

from .hosts_kit import BATCH, MakeHost


def threads() -> set[threading.Thread]:
    """Those of sinks that `make` made."""
    return {one for one in threading.enumerate() if one.name == "tdbwatch-sink-acting"}


async def test_a_sink_whose_threads_all_hang_is_told_so_and_goes_on_when_they_come_back(
    make_host: MakeHost, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_thread, "WORKERS", 2)
    asked, begun, free = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def work() -> None:
        begun.release()
        assert free.wait(60)

    def act() -> Any:
        asyncio.get_running_loop().call_soon(asked.release)  # once it waits
        return asyncio.to_thread(work)

    host, _ = await make_host(ThreadHost, act)
    said = list[str]()
    for attempt in range(3):
        delivering = asyncio.create_task(host.deliver(BATCH))
        assert await asyncio.to_thread(asked.acquire, timeout=60)
        if attempt < 2:
            assert await asyncio.to_thread(begun.acquire, timeout=60)
        await settle()
        await clock.advance(5)
        with pytest.raises(DeadlineError) as late:
            await delivering
        said.append(str(late.value))
    assert ["all 2 threads of asyncio.to_thread were taken" in text for text in said] == [False, True, True]
    assert not host.stuck
    free.set()
    await host.deliver(BATCH)


async def test_a_blocked_thread_fails_fast_until_it_returns(make_host: MakeHost, clock: ManualClock) -> None:
    release = threading.Event()
    host, sink = await make_host(ThreadHost, lambda: release.wait() and None)
    delivering = asyncio.create_task(host.deliver(BATCH))
    while sink.thread is None:
        await asyncio.sleep(0)
    await clock.advance(5)
    await clock.advance(1)
    with pytest.raises(DeadlineError):
        await delivering
    assert host.stuck
    before = threads()
    for _ in range(3):
        with pytest.raises(SinkStuckError, match="not come back from its call of 2023-11-14 22:13:20 UTC"):
            await host.deliver(BATCH)
    assert threads() <= before, "no second one is made"
    release.set()
    while host.stuck:
        await asyncio.sleep(0)
    sink.act = lambda: None
    assert await host.deliver(BATCH) is None


async def test_a_stuck_thread_had_its_time_and_a_close_hardly_waits_for_it(
    make_host: MakeHost, clock: ManualClock
) -> None:
    release = threading.Event()
    host, sink = await make_host(ThreadHost, lambda: release.wait() and None)
    delivering = asyncio.create_task(host.deliver(BATCH))
    while sink.thread is None:
        await asyncio.sleep(0)
    await clock.advance(5)
    await clock.advance(1)
    with pytest.raises(SinkHangsError):
        await delivering
    with structlog.testing.capture_logs() as logs:
        closing = asyncio.create_task(host.close(10))
        await clock.advance(0.25)
    assert closing.done()
    assert [line["event"] for line in logs] == ["sink.thread_abandoned"]
    release.set()
    leaving.ended("tdbwatch-sink-acting")


async def test_a_call_that_tidies_up_after_its_deadline_makes_the_sink_wait_but_not_stuck(
    make_host: MakeHost, clock: ManualClock
) -> None:
    tidy, tidying = threading.Event(), threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tidying.set()
            while not tidy.is_set():
                await asyncio.sleep(0)

    host, sink = await make_host(ThreadHost, hang)
    late = asyncio.create_task(host.deliver(BATCH))
    while sink.thread is None:
        await asyncio.sleep(0)
    await clock.advance(5)
    while not tidying.is_set():
        await asyncio.sleep(0)
    sink.act = lambda: None
    other = asyncio.create_task(host.deliver(BATCH))
    await clock.advance(0.5)
    tidy.set()
    assert await other is None
    with pytest.raises(DeadlineError):
        await late


async def test_calls_that_never_began_come_back_with_the_thread(
    make_host: MakeHost, clock: ManualClock
) -> None:
    release, blocked = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        release.wait()

    host, _ = await make_host(ThreadHost, block)
    first = asyncio.create_task(host.deliver(BATCH))
    while not blocked.is_set():
        await asyncio.sleep(0)
    second = asyncio.create_task(host.deliver(BATCH))
    await settle()
    await clock.advance(5)
    await clock.advance(1)
    for task in (first, second):
        with pytest.raises(DeadlineError):
            await task
    assert host.stuck
    release.set()
    async with asyncio.timeout(20):
        while host.stuck:
            await asyncio.sleep(0.001)
