"""Couriers and sinks in threads, in real time: a blocked one beside a healthy one, end to end."""

import asyncio
import threading
from pathlib import Path
from typing import Any

from tdbwatch.daemon.couriers import Courier, CourierSettings
from tdbwatch.daemon.hosts import ThreadHost
from tdbwatch.daemon.retry import RetryPolicy
from tdbwatch.daemon.spool import SqliteSpool
from tdbwatch.plugin import Event, SinkContext
from tdbwatch.plugin.sink import FunctionSink


async def test_a_plugin_that_blocks_leaves_its_neighbour_alone(
    tmp_path: Path,
) -> None:
    release, blocked, got = threading.Event(), threading.Event(), list[int]()

    def block(event: Event) -> None:
        blocked.set()
        release.wait(30)

    def keep(event: Event) -> None:
        got.append(event.args[0])

    spool = SqliteSpool(tmp_path / "spool.db")
    await spool.open()
    stuck, healthy = (courier(spool, name, act) for name, act in (("stuck", block), ("healthy", keep)))
    stuck.start(), healthy.start()
    for turn in range(20):
        spool.append([Event.create("r", "e", [turn * 50 + n]) for n in range(50)])
        await spool.flush()
    await healthy.caught_up()
    assert got == list(range(1000))
    while not blocked.is_set():
        await asyncio.sleep(0)
    assert stuck.status().delivered == 0
    release.set()
    await healthy.stop(5)
    await stuck.stop(5)
    await spool.close()


async def test_poison_in_a_thread_is_set_aside_and_what_is_behind_it_flows(tmp_path: Path) -> None:
    got: list[int] = []

    def digest(event: Event) -> None:
        if event.args[0] == 13:
            raise ValueError("cannot digest")
        got.append(event.args[0])

    spool = SqliteSpool(tmp_path / "spool.db")
    await spool.open()
    picky = courier(spool, "picky", digest, max_attempts=3)
    picky.start()
    spool.append([Event.create("r", "e", [number]) for number in range(30)])
    await spool.flush()
    await picky.caught_up()
    assert got == [number for number in range(30) if number != 13]
    assert (picky.status().dead, picky.status().delivered) == (1, 29)
    await picky.stop(5)
    await spool.close()


def courier(spool: SqliteSpool, name: str, act: Any, max_attempts: int | None = None) -> Courier:
    host = ThreadHost(lambda: FunctionSink(act, None, SinkContext(name)), name=name, timeout=20)
    retry = RetryPolicy(initial=0.01, maximum=0.01, max_attempts=max_attempts)
    return Courier(CourierSettings(name, "test", retry=retry), host, spool, lambda event: True)
