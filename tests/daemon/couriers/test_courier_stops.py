"""Couriers: what a stop waits for, and how a restart goes on."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.couriers import BatchLimits
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.plugin import DELIVERED, Event, Retry
from tdbwatch.testing import ManualClock, settle

from .courier_kit import Bench, run_over


async def test_attempts_and_age_go_on_counting_over_a_restart(path: Path) -> None:
    clock = ManualClock()
    attempts = 0
    for life in range(6):
        async with run_over(path, clock) as bench:
            retry = RetryPolicy(initial=5, factor=1, jitter=0, max_attempts=4, max_age=None)
            _, sink = bench.courier(lambda batch: Retry("no"), retry=retry)
            if life == 0:
                await bench.emit(1, 2)
            await bench.pass_time(6, steps=2)
            attempts += sum(1 in batch for batch in sink.offered)
            letters = await bench.letters()
    assert attempts == 4
    assert [(letter[1], letter[3]) for letter in letters] == [(1, 4), (2, 4)]


async def test_what_a_sink_took_beyond_its_cursor_does_not_come_twice_after_a_restart(path: Path) -> None:
    clock = ManualClock()
    got: list[Any] = []

    def answer(batch: Sequence[Event]) -> list[Any]:
        got.extend(event.args[0] for event in batch if event.room == "well")
        return [DELIVERED if event.room == "well" else Retry("no") for event in batch]

    for life in range(2):
        async with run_over(path, clock) as bench:
            bench.courier(answer)
            if life == 0:
                await bench.emit("stays", room="sick")
                await bench.emit(1, 2, 3, room="well")
            await settle()
            assert (await bench.finished("sick"), await bench.finished("well")) == (0, 4)
    assert got == [1, 2, 3]


async def test_batches_that_failed_together_stay_together_over_a_restart(path: Path) -> None:
    clock = ManualClock()
    batches = [tuple(range(first, first + 10)) for first in range(0, 50, 10)]
    for life, answer in enumerate([Retry("429", after=5), None]):
        async with run_over(path, clock) as bench:
            _, sink = bench.courier(lambda batch, answer=answer: answer, batch=BatchLimits(count=10))
            if life == 0:
                await bench.append([Event.create(f"room{number}", "e", [number]) for number in range(50)])
            await bench.pass_time(300)
        assert sorted({tuple(batch) for batch in sink.offered}) == batches
    assert len(sink.offered) == 5


@pytest.mark.parametrize(("days", "most"), [(0, 3), (5, None)])
async def test_one_poison_event_takes_no_other_with_it_in_the_last_attempt_after_a_restart(
    path: Path, days: int, most: int | None
) -> None:
    clock = ManualClock()
    policy = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=most)

    def poisoned(batch: Sequence[Event]) -> None:
        if any(event.args[0] == "poison" for event in batch):
            raise ValueError

    for life, answer in enumerate([lambda batch: Retry("429", after=5), poisoned]):
        async with run_over(path, clock) as bench:
            _, sink = bench.courier(answer, retry=policy)
            if life == 0:
                await bench.emit(1, "poison", 2)
            await bench.pass_time(9, steps=9)
            assert life or len(sink.batches) == 2
            letters = await bench.letters()
        await clock.advance(days * 86_400)
    assert (sink.got, [letter[1] for letter in letters]) == ([1, 2], [2])


async def test_a_restart_goes_on_where_the_last_run_ended(path: Path) -> None:
    clock, got = ManualClock(), []
    for numbers in ([1, 2], [3, 4]):
        async with run_over(path, clock) as bench:
            courier, sink = bench.courier()
            await bench.emit(*numbers)
            await courier.caught_up()
        got.append(sink.got)
    assert got == [[1, 2], [3, 4]]


async def test_stop_lets_what_is_in_flight_finish(bench: Bench) -> None:
    courier, sink = bench.courier(lambda batch: bench.clock.sleep(2))
    await bench.emit(1)
    stopping = asyncio.create_task(courier.stop(10))
    await bench.clock.advance(2)
    await stopping
    assert sink.got == [1]
    assert await bench.finished() == 1


async def test_stop_abandons_what_outlives_the_grace_and_keeps_it(bench: Bench) -> None:
    courier, _sink = bench.courier(lambda batch: asyncio.Event().wait(), timeout=60)
    await bench.emit(1)
    stopping = asyncio.create_task(courier.stop(3))
    await bench.clock.advance(3)
    await stopping
    assert await bench.finished() == 0


async def test_a_drain_waits_for_a_slow_sink_and_for_none_that_fails(bench: Bench) -> None:
    paused, _ = bench.courier(lambda batch: Retry("410", pause=True))
    down, _ = bench.courier(lambda batch: Retry("later", after=60))
    failing, _ = bench.courier(lambda batch: Retry("busy"))
    slow, sink = bench.courier(lambda batch: bench.clock.sleep(2))
    await bench.emit(1)
    await asyncio.wait_for(asyncio.gather(paused.drained(), down.drained(), failing.drained()), 20)
    draining = asyncio.create_task(slow.drained())
    await settle()
    assert not draining.done()
    await bench.clock.advance(2)
    await draining
    assert sink.got == [1]


async def test_a_drain_ends_when_the_sink_begins_to_fail(bench: Bench) -> None:
    async def fails_slowly(batch: Sequence[Event]) -> Retry:
        await bench.clock.sleep(2)
        return Retry("busy")

    courier, sink = bench.courier(fails_slowly)
    await bench.emit(1)
    draining = asyncio.create_task(courier.drained())
    await settle()
    assert not draining.done()
    await bench.clock.advance(2)
    await draining
    assert (sink.got, len(sink.batches)) == ([], 1)


async def test_a_drain_does_not_wait_for_a_room_that_waits_for_another_attempt(bench: Bench) -> None:
    def picky(batch: Sequence[Event]) -> list[Any]:
        return [Retry("no") if event.room == "sick" else DELIVERED for event in batch]

    courier, sink = bench.courier(picky)
    await bench.emit("waits", room="sick")
    await bench.emit(1, room="well")
    await asyncio.wait_for(courier.drained(), 20)
    assert sink.got == [1]


async def test_what_comes_during_a_drain_stays_in_the_spool(bench: Bench) -> None:
    courier, sink = bench.courier(lambda batch: bench.clock.sleep(2))
    await bench.emit(1)
    finishing = asyncio.create_task(courier.finish(10))
    await bench.emit(2)
    await bench.clock.advance(2)
    await bench.emit(3)
    await asyncio.wait_for(finishing, 20)  # by no clock of ours: as soon as 1 is delivered
    assert sink.got == [1]
    assert await bench.finished() == 1


async def test_a_call_of_a_failing_sink_has_a_moment_to_end_at_a_stop(bench: Bench) -> None:
    answers = iter([Retry("busy")])

    async def slow_then_well(batch: Sequence[Event]) -> Retry | None:
        answer = next(answers, None)
        await bench.clock.sleep(0 if answer else 0.5)
        return answer

    courier, sink = bench.courier(slow_then_well)
    await bench.emit(1)
    await bench.clock.advance(1)
    assert courier.status().in_flight == 1
    finishing = asyncio.create_task(courier.finish(60))
    await bench.clock.advance(0.5)
    await asyncio.wait_for(finishing, 20)
    assert sink.got == [1]
    assert await bench.finished() == 1


async def test_a_clock_that_was_set_back_makes_nothing_immortal(path: Path) -> None:
    policy = RetryPolicy(initial=1, factor=1, jitter=0, max_age=60)
    for clock in (ManualClock(1_700_000_000), ManualClock(1_600_000_000)):
        async with run_over(path, clock, max_age=1e12) as bench:
            bench.courier(lambda batch: Retry("no"), retry=policy)
            if clock.time() == 1_700_000_000:
                await bench.emit(1)
                await bench.pass_time(2)
            else:
                await bench.pass_time(59)
                assert await bench.letters() == []
                await bench.pass_time(3)
            letters = await bench.letters()
    assert [letter[1] for letter in letters] == [1]


async def test_a_stop_does_not_wait_for_a_courier_that_ends_of_a_mistake_meanwhile(bench: Bench) -> None:
    def wanted(event: Event) -> bool:
        if event.args == ["mistake"]:
            raise RuntimeError
        return True

    courier, _ = bench.courier(lambda batch: asyncio.Event().wait(), wants=wanted, timeout=1000)
    await bench.emit(1)
    stop = asyncio.create_task(courier.stop(grace=100))
    await settle()
    assert not stop.done()
    await bench.emit("mistake")
    assert stop.done()
