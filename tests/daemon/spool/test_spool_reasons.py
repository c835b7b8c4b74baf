"""Why events were given up is said as it was: the disk refused, or could not follow."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.state import Traffic
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.drops import DISK_REFUSED, TOO_FAST
from tdbwatch.daemon.spool.stored.tables import connect

from .limits_kit import FullDisk, drain, events, telling, trouble
from .spool_kit import Heard, MakeSpool, as_killed, keep, until


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with telling(tmp_path) as make:
        yield make


class SlowDisk:
    """Real connections that commit only while they are let."""

    def __init__(self) -> None:
        self.lets = threading.Event()
        self.lets.set()
        self.commits = threading.Event()

    def connect(self, path: Path) -> sqlite3.Connection:
        disk = self

        class Slow(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                if sql == "COMMIT":
                    disk.commits.set()
                    assert disk.lets.wait(20)
                return super().execute(sql, *args)

        return connect(path, Slow)

    def stop(self) -> None:
        self.lets.clear()
        self.commits.clear()


async def overflow(spool: SqliteSpool, count: int = 400) -> None:
    for _ in range(count):
        spool.append(heard(events(1)))
        await asyncio.sleep(0)


async def test_what_a_slow_disk_could_not_follow_came_too_fast_and_the_rates_say_so(
    make: MakeSpool,
) -> None:
    disk = SlowDisk()
    spool = await make(connect=disk.connect, max_held=100_000)
    told: Heard = spool.alarms._listener  # type: ignore[assignment]
    disk.stop()
    await overflow(spool)
    assert spool.drops.count > 200
    assert spool.alarms.trouble is None
    disk.lets.set()
    await until(lambda: told.drops)
    assert {report.reason for report in told.drops} == {TOO_FAST}
    for report in told.drops:
        came, written = (int(word.replace(",", "")) for word in report.note.split() if word[0].isdigit())
        assert came > written
    assert await drain(spool, 400) == (400 - spool.drops.count, spool.drops.count)


async def test_what_a_full_disk_did_not_take_it_refused_and_no_rate_is_named(make: MakeSpool) -> None:
    disk = FullDisk()
    spool = await make(connect=disk.connect, max_held=100_000)
    told: Heard = spool.alarms._listener  # type: ignore[assignment]
    disk.limit()
    spool.append(heard(events(10)))
    await trouble(spool)
    await overflow(spool)
    disk.relieve()
    await until(lambda: told.drops)
    assert {(report.reason, report.note) for report in told.drops} == {(DISK_REFUSED, "")}


async def test_each_loss_has_its_own_reason_though_both_are_told_together(make: MakeSpool) -> None:
    disk, slow = FullDisk(), SlowDisk()

    def both(path: Path) -> sqlite3.Connection:
        disk.connections.append(slow.connect(path))
        return disk.connections[-1]

    spool = await make(connect=both, max_held=100_000, drops=0.05)
    told: Heard = spool.alarms._listener  # type: ignore[assignment]
    slow.stop()
    await overflow(spool)
    fast = spool.drops.count
    disk_full = events(1000)
    slow.lets.set()
    await spool.flush()
    disk.limit()
    spool.append(heard(disk_full[:10]))
    await trouble(spool)
    await overflow(spool)
    refused = spool.drops.count - fast
    assert min(fast, refused) > 200
    disk.relieve()
    await until(lambda: sum(report.count - report.again for report in told.drops) == fast + refused)
    by_reason = dict.fromkeys((TOO_FAST, DISK_REFUSED), 0)
    for report in told.drops:
        by_reason[report.reason] += report.count - report.again
    assert by_reason == {TOO_FAST: fast, DISK_REFUSED: refused}


async def test_what_the_start_finds_has_no_rates(make: MakeSpool, tmp_path: Path) -> None:
    disk = SlowDisk()
    spool = await make(connect=disk.connect, max_held=100_000, drops=3600.0)
    disk.stop()
    await overflow(spool)
    disk.lets.set()
    await keep(spool, events(1))
    as_killed(spool.path, tmp_path / "killed.db")
    again = await make("killed.db")
    told: Heard = again.alarms._listener  # type: ignore[assignment]
    await until(lambda: told.drops)
    assert [(report.reason, report.count, report.note) for report in told.drops] == [
        (TOO_FAST, spool.drops.count, "")
    ]


async def test_the_inbox_says_that_it_is_full_and_others_wait_until_it_is_not(make: MakeSpool) -> None:
    disk = SlowDisk()
    spool = await make(connect=disk.connect, max_held=1 << 20)
    await spool.unhurried()
    await spool.flush()  # nothing is left that would be the next commit
    disk.stop()
    spool.append(heard(events(1)))
    assert await asyncio.to_thread(disk.commits.wait, 20)
    spool.append(heard(events(800)))
    waiting = asyncio.create_task(spool.unhurried())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    disk.lets.set()
    await waiting
    assert spool.drops.count == 0


async def test_nothing_waits_for_a_disk_that_refuses(make: MakeSpool) -> None:
    disk = FullDisk()
    spool = await make(connect=disk.connect, max_held=1 << 20)
    disk.limit()
    spool.append(heard(events(10)))
    await trouble(spool)
    spool.append(heard(events(900)))
    await spool.unhurried()


class Hand:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rates_are_those_of_the_last_seconds() -> None:
    hand = Hand()
    traffic = Traffic(hand)
    for _ in range(50):
        traffic.came(1000)
        traffic.written(400)
        hand.now += 0.1
    came, written = traffic.rates()
    assert 9_000 <= came <= 11_000
    assert 3_600 <= written <= 4_400


def test_rates_of_a_blast_are_not_those_of_the_quiet_before_nor_after_it() -> None:
    hand = Hand()
    traffic = Traffic(hand)
    traffic.came(1)
    hand.now += 3600
    for _ in range(50):
        traffic.came(10_000)
        hand.now += 0.01
    came, written = traffic.rates()
    hand.now += 3600
    assert 900_000 <= came <= 1_100_000
    assert written == 0
    assert traffic.rates() == (0, 0)
