"""What ends the process becomes a dead letter in the end; who ends it at random makes none."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tdbwatch.daemon.couriers import BatchLimits, Courier, CourierSettings, Life
from tdbwatch.daemon.couriers.unended import company, earliest, times_alone
from tdbwatch.daemon.hosting.hosts import InlineHost
from tdbwatch.daemon.spool.api import Progress
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock, settle
from tests.daemon.spool.memory_spool_kit import Disk, MemorySpool

from .courier_kit import NO_JITTER, Scripted

Takes = Callable[[Event], float | None]
"""The seconds that a sink takes for an event; None: it ends the process."""


class Process:
    """One life of a daemon over what is durable, which ends when it is killed or a sink ends it."""

    def __init__(self, disk: Disk, clock: ManualClock, *, interrupted: bool = True) -> None:
        self.spool = MemorySpool(disk)
        self.spool.interrupted = interrupted
        self.clock = clock
        self.life = Life(clock)
        self.ended = False
        self.calls: list[tuple[str, list[int]]] = []
        self.delivered: list[tuple[str, int]] = []
        self._couriers: list[Courier] = []

    def sink(self, name: str, takes: Takes, batch: int) -> None:
        async def deliver(events: Sequence[Event]) -> None:
            self.calls.append((name, [event.args[0] for event in events]))
            for event in events:
                if (seconds := takes(event)) is None:
                    self.ended = True
                if self.ended or seconds is None:
                    await asyncio.Event().wait()
                elif seconds:
                    await self.clock.sleep(seconds)
                self.delivered.append((name, event.args[0]))

        host = InlineHost(lambda: Scripted(deliver), name=name, timeout=1000, clock=self.clock)
        settings = CourierSettings(name, batch=BatchLimits(batch), retry=NO_JITTER)
        courier = Courier(settings, host, self.spool, lambda _: True, self.clock, random.Random(1), self.life)
        self._couriers.append(courier)
        courier.start()

    async def live(self, seconds: float) -> None:
        """Until then, or until it ends."""
        await settle()
        while seconds > 0 and not self.ended:
            step = min(0.5, seconds)
            await self.clock.advance(step)
            await settle()
            seconds -= step

    async def end(self) -> Disk:
        """Nobody sees any more what it does; what it has not saved for long is durable."""
        if not self.ended:
            self.spool.commit()
        disk = self.spool.disk.copy()
        self.spool.disk = Disk()
        for courier in self._couriers:
            await courier.stop(0)
        return disk


def log_of(count: int, rooms: int = 1) -> Disk:
    spool = MemorySpool()
    for number in range(count):
        spool.append(heard([Event.create(f"room{number % rooms}", "e", [number])]))
    spool.disk.progress = {"one": Progress(0), "two": Progress(0)}
    return spool.disk


POISON = 3


def poison(event: Event) -> float | None:
    return None if event.args[0] == POISON else 0


@pytest.mark.parametrize(("batch", "rooms"), [(1, 1), (10, 1), (100, 3), (10_000, 2)])
async def test_an_event_that_ends_the_process_becomes_a_dead_letter_and_all_others_are_delivered(
    batch: int, rooms: int
) -> None:
    disk, clock = log_of(20, rooms), ManualClock()
    delivered: list[int] = []
    for life in range(9):
        process = Process(disk, clock, interrupted=life > 0)
        process.sink("one", poison, batch)
        await process.live(60)
        delivered += [number for _, number in process.delivered]
        disk = await process.end()
        if not process.ended:
            break
    assert life <= 6, "a few lives"
    assert [letter.entry.event.args for letter in disk.letters] == [[POISON]]
    assert "3 times while only this event was being delivered" in disk.letters[0].reason
    assert set(delivered) == set(range(20)) - {POISON}


async def test_other_rooms_do_not_wait_for_what_is_on_trial() -> None:
    disk, clock = log_of(20, rooms=4), ManualClock()
    for life in range(3):
        process = Process(disk, clock, interrupted=life > 0)
        process.sink("one", poison, 10)
        await process.live(60)
        disk = await process.end()
    process = Process(disk, clock)
    process.sink("one", poison, 10)
    await process.live(1)
    assert not process.ended
    left = disk.progress["one"]
    finished = {number for _, number in process.delivered} | {
        n for n in range(20) if left.finished(n + 1, heard([Event.create(f"room{n % 4}")])[0][0])
    }
    assert finished >= {number for number in range(20) if number % 4 != POISON % 4}
    await process.end()


@pytest.mark.parametrize("period", [0.5, 3.0, 11.0, 14.0, 25.0])
async def test_a_process_that_is_killed_again_and_again_gives_no_slow_event_up(period: float) -> None:
    disk, clock = log_of(6, rooms=2), ManualClock()
    slow: Takes = lambda event: 30.0 if event.args[0] == POISON else 0.2  # noqa: E731
    for life in range(12):
        process = Process(disk, clock, interrupted=life > 0)
        process.sink("one", slow, 10)
        await process.live(period)
        disk = await process.end()
    process = Process(disk, clock)
    process.sink("one", slow, 10)
    await process.live(120)
    disk = await process.end()
    assert disk.letters == []
    assert (disk.progress["one"].floor, disk.progress["one"].behind) == (6, {})


async def test_what_is_under_way_in_another_sink_whenever_an_event_ends_the_process_is_not_given_up() -> None:
    disk, clock = log_of(4, rooms=4), ManualClock()
    for life in range(12):
        process = Process(disk, clock, interrupted=life > 0)
        process.sink("one", poison, 1)
        process.sink("two", lambda event: 9.0, 1)
        await process.live(80)
        disk = await process.end()
    assert not process.ended
    assert [(letter.sink, letter.entry.event.args) for letter in disk.letters] == [("one", [POISON])]
    assert disk.progress["two"].floor == 4


async def test_after_a_clean_end_nothing_is_written_before_it_is_tried_and_nothing_is_on_trial() -> None:
    disk, clock = log_of(5), ManualClock()
    for life in range(3):
        process = Process(disk, clock, interrupted=life > 0)
        process.sink("one", poison, 1)
        await process.live(60)
        disk = await process.end()
    assert any(one.tried[0].unended for one in disk.progress["one"].behind.values() if one.tried)
    process = Process(disk, clock, interrupted=False)
    process.sink("one", lambda event: None, 1)
    await process.live(0.0)
    assert process.calls == [("one", [POISON])], "at once"
    behind = process.spool.latest("one").behind.values()
    assert not any(past.unended for one in behind for past in one.tried)
    await process.end()


def test_company_shrinks_and_the_process_lives_longer_before_each_time() -> None:
    assert [company(unended, 10_000) for unended in range(4)] == [10_000, 100, 1, 1]
    assert [times_alone(unended, 10_000) for unended in range(6)] == [0, 0, 0, 1, 2, 3]
    assert [times_alone(unended, 1) for unended in range(4)] == [0, 1, 2, 3]
    lives: list[Any] = [earliest(unended, 1) for unended in range(4)]
    assert lives == [0, 10, 20, 40]
