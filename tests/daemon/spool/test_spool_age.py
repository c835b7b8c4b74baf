"""What is too old goes, by a clock that may leap."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tdbwatch.daemon.spool.limits.upkeep import SteadyTime
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

from .limits_kit import MakeSpool, Teller, events, telling
from .spool_kit import everything, keep, until


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
        await keep(spool, [Event.create("alerts", received_us=now_us + int(shift * 1e6))])
    assert [entry.seq for entry in await everything(spool)] == [1, 2, 3, 4, 5], (
        "in the order in which they were heard"
    )
    assert spool.drops.count == 0


async def test_what_is_too_old_goes_also_where_a_full_spool_keeps_the_oldest(make: MakeSpool) -> None:
    clock = ManualClock()
    spool = await make(max_size=300_000, when_full="drop_newest", max_age=100, clock=clock)
    now_us = int(clock.time() * 1e6)
    old = [Event.create("alerts", "e", ["x" * 1000], received_us=now_us) for _ in range(100)]
    for _ in range(10):
        await keep(spool, old)
    assert spool.drops.count > 0
    await clock.advance(101)
    async with asyncio.timeout(20):
        while spool.first_seq == 1:
            await spool.flush()
    last = spool.last_seq
    await keep(spool, [Event.create("alerts", received_us=int(clock.time() * 1e6))])
    assert spool.last_seq > last, "it takes events again"


async def test_an_old_backlog_goes_without_a_pause_and_one_report_tells_of_it(make: MakeSpool) -> None:
    clock = ManualClock()
    now_us = int(clock.time() * 1e6)
    spool = await make(clock=clock, max_age=100)
    for start in range(0, 21_000, 7):  # a block each
        spool.append(
            heard([Event.create(f"room-{n % 7}", received_us=now_us) for n in range(start, start + 7)])
        )
        if start % 700 == 0:
            await spool.flush()
    await spool.close()
    await clock.advance(101)
    teller = Teller()
    again = await make(clock=clock, max_age=100, check=3600, listener=teller)
    await again.flush()
    await until(lambda: teller.drops)
    assert [(report.reason, report.count, len(report.rooms)) for report in teller.drops] == [
        ("max_age", 21_000, 7)
    ]


async def test_a_block_stays_until_its_youngest_event_is_too_old(make: MakeSpool) -> None:
    clock = ManualClock()
    spool = await make(clock=clock, max_age=100)
    now_us = int(clock.time() * 1e6)
    await keep(spool, [Event.create("r", received_us=now_us - age * 1_000_000) for age in (500, 90)])
    await spool.flush()
    assert (spool.entries, spool.drops.count) == (2, 0)
    await clock.advance(11)
    await spool.flush()
    await spool.flush()
    assert (spool.first_seq, spool.drops.count) == (3, 2)


class LeapingClock(ManualClock):
    """One whose wall clock can be set."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def test_a_clock_that_leaps_ahead_for_a_moment_drops_nothing(make: MakeSpool) -> None:
    clock = LeapingClock()
    spool = await make(clock=clock, max_age=100)
    now_us = int(clock.time() * 1e6)
    await keep(spool, [Event.create("r", received_us=now_us) for _ in range(10)])
    clock.ahead = 30 * 86_400
    for _ in range(10):
        await clock.advance(5)
        await spool.flush()
    clock.ahead = 0
    await spool.flush()
    await spool.flush()
    assert (spool.entries, spool.drops.count) == (10, 0)


async def test_time_that_passes_counts_while_the_clock_is_ahead(make: MakeSpool) -> None:
    clock = LeapingClock()
    spool = await make(clock=clock, max_age=100)
    now_us = int(clock.time() * 1e6)
    await keep(spool, [Event.create("r", received_us=now_us) for _ in range(10)])
    clock.ahead = 30 * 86_400
    await spool.flush()
    await clock.advance(101)
    await spool.flush()
    await spool.flush()
    assert spool.drops.count == 10


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
