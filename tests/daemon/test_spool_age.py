"""What is too old goes, by a clock that may leap."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tdbwatch.daemon.spool.leaps import SteadyTime

from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

from .limits_bench import MakeSpool, Teller, events, telling


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with telling(tmp_path) as make:
        yield make


async def test_a_clock_that_goes_back_and_forth_drops_nothing_that_is_young_by_either(
    make: MakeSpool,
) -> None:
    spool = await make(max_age=3600)
    now_us = events(1)[0].received_us
    for shift in (0, -1800, 900, -900, 1800):
        spool.append([Event.create("alerts", received_us=now_us + int(shift * 1e6))])
        await spool.flush()
    found = await spool.read(0, 10, 1 << 20)
    assert [entry.seq for entry in found] == [1, 2, 3, 4, 5], "in the order in which they were heard"
    assert spool.dropped == 0


async def test_what_is_too_old_goes_also_where_a_full_spool_keeps_the_oldest(make: MakeSpool) -> None:
    clock = ManualClock()
    spool = await make(max_size=300_000, when_full="drop_newest", max_age=100, clock=clock)
    now_us = int(clock.time() * 1e6)
    old = [Event.create("alerts", "e", ["x" * 1000], received_us=now_us) for _ in range(100)]
    for _ in range(10):
        spool.append(old)
        await spool.flush()
    assert spool.dropped > 0
    await clock.advance(101)
    async with asyncio.timeout(20):
        while spool.first_seq == 1:
            await spool.flush()
    last = spool.last_seq
    spool.append([Event.create("alerts", received_us=int(clock.time() * 1e6))])
    await spool.flush()
    assert spool.last_seq > last, "it takes events again"


async def test_an_old_backlog_goes_without_a_pause_and_one_report_tells_of_it(make: MakeSpool) -> None:
    clock = ManualClock()
    now_us = int(clock.time() * 1e6)
    spool = await make(clock=clock, max_age=100)
    spool.append([Event.create(f"room-{number % 7}", received_us=now_us) for number in range(21_000)])
    await spool.close()
    await clock.advance(101)
    teller = Teller()
    teller.spool = again = await make(clock=clock, max_age=100, check_interval=3600, on_drop=teller)
    await again.flush()
    async with asyncio.timeout(20):
        while not teller.reports:
            await asyncio.sleep(0.001)
    assert [(report.reason, report.count, len(report.rooms)) for report in teller.reports] == [
        ("max_age", 21_000, 7)
    ]


class LeapingClock(ManualClock):
    """One whose wall clock can be set."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def test_a_clock_that_leaps_ahead_for_a_moment_drops_nothing(make: MakeSpool) -> None:
    clock = LeapingClock()
    spool = await make(clock=clock, max_age=100)
    now_us = int(clock.time() * 1e6)
    spool.append([Event.create("r", received_us=now_us) for _ in range(10)])
    await spool.flush()
    clock.ahead = 30 * 86_400
    for _ in range(10):
        await clock.advance(5)
        await spool.flush()
    clock.ahead = 0
    await spool.flush()
    await spool.flush()
    assert (spool.entries, spool.dropped) == (10, 0)


async def test_time_that_passes_counts_while_the_clock_is_ahead(make: MakeSpool) -> None:
    clock = LeapingClock()
    spool = await make(clock=clock, max_age=100)
    now_us = int(clock.time() * 1e6)
    spool.append([Event.create("r", received_us=now_us) for _ in range(10)])
    await spool.flush()
    clock.ahead = 30 * 86_400
    await spool.flush()
    await clock.advance(101)
    await spool.flush()
    await spool.flush()
    assert spool.dropped == 10


async def test_a_clock_that_stays_ahead_is_believed_after_ten_minutes() -> None:
    clock = LeapingClock()
    start, steady = clock.time(), SteadyTime(clock)
    clock.ahead = 30 * 86_400
    assert steady.now() == start
    await clock.advance(599)
    assert steady.now() == start + 599
    await clock.advance(1)
    assert steady.now() == start + 600 + 30 * 86_400


def test_a_clock_is_believed_that_goes_back_or_gains_little() -> None:
    clock = LeapingClock()
    start, steady = clock.time(), SteadyTime(clock)
    for ahead in (59, 118, -86_400):
        clock.ahead = ahead
        assert steady.now() == start + ahead
