"""Couriers and sinks in threads, in real time: a blocked one beside a healthy one, end to end."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import structlog

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.couriers import Courier, CourierSettings
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.hosting.hosts import ThreadHost
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.plugin import Event, Sink, SinkContext
from tdbwatch.plugin.sink import FunctionSink
from tdbwatch.testing import ManualClock
from tests.daemon.leaving import ended
from tests.daemon.spool.spool_kit import spool_at


async def test_a_plugin_that_blocks_leaves_its_neighbour_alone(
    path: Path,
) -> None:
    release, blocked, got = threading.Event(), threading.Event(), list[int]()

    def block(event: Event) -> None:
        blocked.set()
        release.wait()

    def keep(event: Event) -> None:
        got.append(event.args[0])

    spool = SqliteSpool(path)
    await spool.open()
    stuck, healthy = (courier(spool, name, act) for name, act in (("stuck", block), ("healthy", keep)))
    stuck.start(), healthy.start()
    for turn in range(20):
        spool.append(heard([Event.create("r", "e", [turn * 50 + n]) for n in range(50)]))
        await spool.flush()
    await healthy.caught_up()
    assert got == list(range(1000))
    while not blocked.is_set():
        await asyncio.sleep(0)
    assert stuck.status().counts.delivered == 0
    release.set()
    await healthy.stop(5)
    await stuck.stop(5)
    await spool.close()


async def test_poison_in_a_thread_is_set_aside_and_what_is_behind_it_flows(path: Path) -> None:
    got: list[int] = []

    def digest(event: Event) -> None:
        if event.args[0] == 13:
            raise ValueError("cannot digest")
        got.append(event.args[0])

    spool = SqliteSpool(path)
    await spool.open()
    picky = courier(spool, "picky", digest, max_attempts=3)
    picky.start()
    spool.append(heard([Event.create("r", "e", [number]) for number in range(30)]))
    await spool.flush()
    await picky.caught_up()
    assert got == [number for number in range(30) if number != 13]
    assert (picky.status().counts.dead, picky.status().counts.delivered) == (1, 29)
    await picky.stop(5)
    await spool.close()


async def test_a_sink_that_hangs_is_said_to_be_stuck_once_and_a_stop_hardly_waits_for_it(
    path: Path,
) -> None:
    clock, release, blocked = ManualClock(), threading.Event(), threading.Event()

    def block(event: Event) -> None:
        blocked.set()
        release.wait()

    spool = spool_at(path, clock=clock)
    await spool.open()
    with structlog.testing.capture_logs() as logs:
        stuck = courier(spool, "stuck", block, clock=clock)
        stuck.start()
        spool.append(heard([Event.create("r", "e", [1])]))
        await spool.flush()
        while not blocked.is_set():
            await asyncio.sleep(0)
        for _ in range(60):
            await clock.advance(1)
    assert (stuck.status().state, stuck.status().lag) == ("stuck", 1)
    assert [line["event"] for line in logs if line["log_level"] != "info"] == ["sink.stuck"]
    await asyncio.wait_for(stuck.drained(), 20)  # by no clock of ours: at once
    stopping = asyncio.create_task(stuck.stop(10))
    await clock.advance(0.25)
    assert stopping.done()
    release.set()
    ended("tdbwatch-sink-stuck")
    await spool.close()


async def test_a_sink_that_hangs_when_it_is_opened_is_stuck_too(path: Path) -> None:
    clock, release, blocked = ManualClock(), threading.Event(), threading.Event()

    def make() -> Sink:
        blocked.set()
        release.wait()
        raise LookupError

    spool = spool_at(path, clock=clock)
    await spool.open()
    spool.append(heard([Event.create("r", "e", [1])]))
    await spool.flush()
    host = ThreadHost(make, name="stuck", timeout=20, clock=clock)
    with structlog.testing.capture_logs() as logs:
        stuck = Courier(CourierSettings("stuck", "test"), host, spool, lambda event: True, clock)
        stuck.start()
        while not blocked.is_set():
            await asyncio.sleep(0)
        draining = asyncio.create_task(stuck.drained())
        for _ in range(30):
            await clock.advance(1)
    assert draining.done()
    assert stuck.status().state == "stuck"
    assert [line["event"] for line in logs] == ["sink.stuck"]
    stopping = asyncio.create_task(stuck.stop(10))
    await clock.advance(0.25)
    assert stopping.done()
    release.set()
    ended("tdbwatch-sink-stuck")
    await spool.close()


def courier(
    spool: SqliteSpool, name: str, act: Any, max_attempts: int | None = None, clock: Clock = SYSTEM_CLOCK
) -> Courier:
    host = ThreadHost(lambda: FunctionSink(act, None, SinkContext(name)), name=name, timeout=20, clock=clock)
    retry = RetryPolicy(initial=0.01, maximum=0.01, max_attempts=max_attempts)
    return Courier(CourierSettings(name, "test", retry=retry), host, spool, lambda event: True, clock)
