"""Couriers: a sick room is its own trouble, however much is behind it."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

from tdbwatch.daemon.couriers import BatchLimits
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.plugin import DELIVERED, Event, Retry
from tdbwatch.testing import ManualClock, settle

from .courier_kit import Bench, failing, in_order, run_over


async def test_a_poison_event_holds_up_its_own_room_only(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> list[Any]:
        return [Retry("no") if event.args[0] == "poison" else DELIVERED for event in batch]

    courier, sink = bench.courier(answer, batch=BatchLimits(count=1))
    await bench.emit("poison", room="sick")
    await bench.emit("behind", room="sick")
    for number in range(5):
        await bench.emit(number, room="well")
    await bench.clock.advance(3)
    assert sink.got == [0, 1, 2, 3, 4]
    assert await bench.finished("sick") == 0
    assert courier.status().oldest_us is not None


async def test_exhausted_events_block_their_room_where_configured(bench: Bench) -> None:
    retry = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=2)
    _, sink = bench.courier(lambda batch: Retry("no"), retry=retry, on_exhausted="block")
    await bench.emit(1)
    await bench.clock.advance(20)
    assert len(sink.batches) > 10
    assert await bench.letters() == []
    assert await bench.finished() == 0


async def test_a_poison_event_that_is_tried_for_ever_blocks_its_own_room_only(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> None:
        if any(event.args[0] == "poison" for event in batch):
            raise ValueError

    retry = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=1)
    _, sink = bench.courier(answer, retry=retry, on_exhausted="block", batch=BatchLimits(count=2, wait=1))
    await bench.emit("poison", room="sick")
    await bench.emit("well", room="well")
    await bench.pass_time(20)
    assert sink.got == ["well"]


async def test_rooms_whose_events_hang_leave_every_other_turn_to_healthy_ones(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> Any:
        return bench.clock.sleep(100) if batch[0].room.startswith("sick") else None

    policy = RetryPolicy(initial=1, factor=1, jitter=0)
    limits = BatchLimits(count=1)
    _, sink = bench.courier(answer, retry=policy, batch=limits, timeout=10, breaker_threshold=1000)
    for room in range(20):
        await bench.emit(1, room=f"sick{room}")
    await bench.pass_time(400, 80)
    for number in range(10):
        await bench.emit(number, room="well")
    await bench.pass_time(110, 22)
    assert sink.got == list(range(10))


async def test_a_room_whose_first_attempt_hangs_leaves_a_second_batch_in_flight_to_others(
    bench: Bench,
) -> None:
    def answer(batch: Sequence[Event]) -> Any:
        return bench.clock.sleep(20) if batch[0].room == "slow" else None

    courier, sink = bench.courier(
        answer, batch=BatchLimits(count=50), max_in_flight=2, max_ahead=100, timeout=30
    )
    await bench.emit(*range(300), room="slow")
    await bench.emit("well", room="well")
    await bench.pass_time(5, 5)
    assert sink.got == ["well"]
    await bench.pass_time(200)
    await courier.caught_up()
    assert sink.got[1:] == list(range(300))


async def test_a_sick_room_holds_up_no_other_however_much_is_behind_it(bench: Bench) -> None:
    mended = False

    def answer(batch: Sequence[Event]) -> Any:
        return [DELIVERED if mended or event.room != "sick" else Retry("no") for event in batch]

    policy = RetryPolicy(initial=100, factor=1, jitter=0)
    courier, sink = bench.courier(answer, retry=policy, batch=BatchLimits(count=5), max_ahead=10)
    for number in range(30):
        await bench.emit(*range(number * 10, number * 10 + 10), room="sick")
        await bench.emit(f"well {number}", room="well")
    await bench.pass_time(1)
    assert sink.got == [f"well {number}" for number in range(30)]
    assert (courier.status().lag, await bench.finished("sick")) == (300, 0)
    assert courier._lanes.memory.count <= 10, "memory is bounded"
    mended = True
    await bench.emit("late", room="sick")
    await bench.pass_time(100)
    await courier.caught_up()
    assert sink.got[30:] == [*range(300), "late"], "each once, in order"
    assert courier.status().lag == 0


async def test_a_poison_event_on_a_quiet_sink_delays_no_other_room(bench: Bench) -> None:
    courier, sink = bench.courier(lambda batch: [failing("poison")(event) for event in batch])
    await bench.emit("poison", room="sick")
    await bench.pass_time(100)
    assert courier.status().health.probing
    offered = len(sink.batches)
    await bench.emit("well", room="well")
    assert (sink.got, len(sink.batches)) == (["well"], offered + 1)


@pytest.mark.parametrize("lives", [1, 3])
async def test_a_burst_of_sick_rooms_delays_no_other_room_nor_does_a_restart_after_it(
    path: Path, lives: int
) -> None:
    def answer(batch: Sequence[Event]) -> list[Any]:
        return [Retry("HTTP 500") if event.room.startswith("sick") else DELIVERED for event in batch]

    clock = ManualClock()
    for life in range(lives):
        async with run_over(path, clock) as bench:
            courier, sink = bench.courier(answer)
            if not life:
                await bench.append([Event.create(f"sick{room}", "e", [0]) for room in range(20)])
                await bench.emit()
            while not sink.batches:
                await settle()
            for number in range(100):
                now = clock.monotonic()
                await bench.emit(number, room=f"well{number % 7}")
                async with asyncio.timeout(20):
                    while len(sink.got) <= number:  # a thread may still be reading what was there before
                        await asyncio.sleep(0.001)
                assert (sink.got[number:], clock.monotonic()) == ([number], now)
                await bench.pass_time(1, 1)
            assert courier.status().lag == 20


async def test_a_poison_event_delays_no_batch_of_other_rooms_beyond_its_wait(bench: Bench) -> None:
    limits = BatchLimits(wait=1)
    courier, sink = bench.courier(lambda batch: [failing("poison")(event) for event in batch], batch=limits)
    await bench.emit("poison", room="sick")
    await bench.pass_time(100)
    assert courier.status().health.probing
    await bench.emit("well", room="well")
    await bench.clock.advance(1)
    assert sink.got == ["well"]


async def test_what_people_ask_for_is_served_though_a_sick_room_keeps_the_cursor_far_behind(
    memory_bench: Bench,
) -> None:
    bench = memory_bench

    def answer(batch: Sequence[Event]) -> Any:
        return [DELIVERED if event.room != "sick" else Retry("no") for event in batch]

    policy = RetryPolicy(initial=1e6, factor=1, jitter=0)
    courier, sink = bench.courier(answer, retry=policy)
    await bench.emit(*range(6000), room="sick")
    await bench.emit("well", room="well")
    await bench.pass_time(1)
    assert (sink.got, await bench.finished("sick")) == (["well"], 0)
    assert courier.backlog < 2000
    bench.spool.copy("sink0", sink.taken)
    await settle()
    assert sink.got == ["well", "well"]


async def test_rooms_that_fall_behind_again_and_again_lose_and_double_nothing(bench: Bench) -> None:
    rng = random.Random(7)

    def answer(batch: Sequence[Event]) -> Any:
        return [Retry("no") if rng.random() < 0.2 else DELIVERED for _ in batch][: rng.randint(1, len(batch))]

    policy = RetryPolicy(initial=1, factor=1, jitter=0)
    _, sink = bench.courier(
        lambda batch: in_order(batch, answer(batch)), retry=policy, batch=BatchLimits(count=4), max_ahead=8,
        max_in_flight=2, breaker_threshold=10**9,
    )  # fmt: skip
    for number in range(400):
        await bench.emit(f"{number}", room="abcdef"[rng.randrange(6)])
    await bench.pass_time(2000, 2000)
    assert sorted(sink.got, key=int) == [f"{number}" for number in range(400)]
    for room in "abcdef":
        got = [int(event.args[0]) for event in sink.taken if event.room == room]
        assert got == sorted(got)


async def test_what_is_read_again_and_was_dropped_meanwhile_holds_up_nothing(memory_bench: Bench) -> None:
    bench = memory_bench
    mended = False

    def answer(batch: Sequence[Event]) -> Any:
        return [DELIVERED if mended or event.room != "sick" else Retry("no") for event in batch]

    policy = RetryPolicy(initial=100, factor=1, jitter=0)
    courier, sink = bench.courier(answer, retry=policy, batch=BatchLimits(count=5), max_ahead=10)
    await bench.emit(*range(100), room="sick")
    await bench.emit("well", room="well")
    await bench.pass_time(1)
    bench.spool.drop(2)
    mended = True
    await bench.pass_time(100)
    await courier.caught_up()
    assert sink.got == ["well", *range(5)]
    assert courier.status().lag == 0


async def test_a_sick_room_keeps_only_itself_from_being_finished(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> Any:
        return [DELIVERED if event.room == "well" else Retry("no") for event in batch]

    retry = RetryPolicy(initial=1e6, factor=1, jitter=0)
    _, sink = bench.courier(answer, retry=retry, max_ahead=100)
    await bench.emit("first", room="sick")
    await bench.emit(*range(1500), room="well")
    await bench.emit(*range(200), room="sicker")
    await bench.pass_time(1)
    assert len(sink.got) == 1500
    progress = await bench.progress()
    assert progress.floor == 1701
    assert [(lane.room, behind.first_seq) for lane, behind in progress.behind.items()] == [
        ("sick", 1), ("sicker", 1502)
    ]  # fmt: skip


async def test_what_the_spool_dropped_no_longer_counts_as_waiting(memory_bench: Bench) -> None:
    bench = memory_bench
    policy = RetryPolicy(initial=100, factor=1, jitter=0)
    courier, _ = bench.courier(
        lambda batch: Retry("down"), retry=policy, batch=BatchLimits(count=5), max_ahead=10
    )
    for first in range(0, 1000, 100):
        await bench.emit(*range(first, first + 100))
    await bench.pass_time(1)
    assert courier.status().lag == 1000
    bench.spool.drop(6)
    in_memory = courier._lanes.memory.count
    assert in_memory <= 10
    assert courier.status().lag == 400 + in_memory, "what is in memory is delivered all the same"
    bench.spool.drop(4)
    assert courier.status().lag == in_memory


async def test_what_comes_while_dropped_entries_are_read_again_is_not_skipped(memory_bench: Bench) -> None:
    bench = memory_bench
    mended = False

    def answer(batch: Sequence[Event]) -> Any:
        return [DELIVERED if mended or event.room != "sick" else Retry("no") for event in batch]

    policy = RetryPolicy(initial=100, factor=1, jitter=0)
    courier, sink = bench.courier(answer, retry=policy, batch=BatchLimits(count=5), max_ahead=10)
    await bench.emit(*range(100), room="sick")
    await bench.pass_time(1)
    read = bench.spool.read_lane

    async def read_slowly(*args: Any) -> Any:
        blocks = await read(*args)
        bench.spool.read_lane = read  # type: ignore[method-assign]
        bench.spool.drop(1)
        await bench.emit("new", room="sick")
        return blocks

    bench.spool.read_lane = read_slowly  # type: ignore[method-assign]
    mended = True
    await bench.pass_time(101)
    await courier.caught_up()
    assert sink.got == [*range(5), "new"]


async def test_of_a_room_whose_sink_fails_one_batch_is_read_again_at_a_time(memory_bench: Bench) -> None:
    bench = memory_bench
    answers = {"down": True}
    policy = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=2)
    courier, sink = bench.courier(
        lambda batch: Retry("down") if answers["down"] else DELIVERED,
        retry=policy,
        batch=BatchLimits(count=5),
        max_ahead=1_000,
        breaker_threshold=1_000,
    )
    read_lane, read = bench.spool.read_lane, list[int]()

    async def counted(*args: Any) -> Any:
        blocks = await read_lane(*args)
        read.append(sum(block.count for block in blocks))
        return blocks

    bench.spool.read_lane = counted  # type: ignore[method-assign]
    for number in range(100):
        bench.spool.append(heard([Event.create("sick", "e", [number])]))
    while len(read) < 3:
        await bench.pass_time(1)
    assert max(read) <= 25, "as many as five have, by a rough guess of their size; not all hundred"
    answers["down"] = False
    await bench.pass_time(10)
    await courier.caught_up()
    dead = courier.status().counts.dead
    assert sink.got == list(range(dead, 100))


async def test_rooms_that_failed_together_are_read_though_the_log_gives_one_up_meanwhile(
    memory_bench: Bench,
) -> None:
    bench = memory_bench
    options: dict[str, Any] = {"name": "sink", "order": lambda event: event.args[0]}
    courier, _ = bench.courier(lambda batch: Retry("down"), **options)
    for room in "aba":
        bench.spool.append(heard([Event.create(room, "e", ["key"])]))
    await settle()
    await courier.stop(0)
    read = bench.spool.read_lane

    async def read_slowly(lane: Lane, *args: Any) -> Any:
        blocks = await read(lane, *args)
        if lane.room == "b":
            bench.spool.drop(3)
        return blocks

    bench.spool.read_lane = read_slowly
    courier, sink = bench.courier(**options)
    await bench.pass_time(2)
    await bench.append([Event.create("a", "e", ["new"])])
    await courier.caught_up()
    assert "new" in sink.got


async def test_dropped_entries_that_were_never_read_are_passed_without_a_busy_loop(
    memory_bench: Bench,
) -> None:
    bench = memory_bench
    courier, sink = bench.courier(lambda batch: Retry("down"), batch=BatchLimits(count=1), max_ahead=5)
    await bench.emit(*range(20))
    bench.spool.drop(20)
    reads = bench.spool.reads
    sink.answer = lambda batch: None
    await bench.pass_time(10)
    assert bench.spool.reads - reads <= 30
    await courier.caught_up()
    assert await bench.finished() == 20


async def test_rooms_that_wait_with_more_than_fits_in_memory_are_named_as_the_reason(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> Any:
        return [Retry("no") if event.room != "well" else DELIVERED for event in batch]

    policy = RetryPolicy(initial=100, jitter=0, max_attempts=2)
    limits = BatchLimits(count=1)
    with structlog.testing.capture_logs() as logs:
        courier, sink = bench.courier(
            answer, retry=policy, batch=limits, max_ahead=10, breaker_threshold=10**9
        )
        for room in range(10):
            await bench.emit(1, room=f"sick{room}")
        await bench.emit("waits", room="well")
        await bench.pass_time(1)
        assert sink.got == []
        assert [line["waiting"] for line in logs if line["event"] == "sink.held_up"] == [10]
        await bench.pass_time(1000)
    assert sink.got == ["waits"]
    assert courier.status().counts.dead == 10


async def test_a_restart_with_as_many_waiting_rooms_is_no_reason_to_say_so_while_the_sink_takes_them(
    path: Path,
) -> None:
    clock = ManualClock()
    for life, answer in enumerate([Retry("no"), None]):
        async with run_over(path, clock) as bench:
            with structlog.testing.capture_logs() as logs:
                _, sink = bench.courier(
                    lambda batch, answer=answer: [answer or DELIVERED] * len(batch),
                    batch=BatchLimits(count=1), max_ahead=10, breaker_threshold=10**9,
                )  # fmt: skip
                sink.open = lambda bench=bench: bench.clock.sleep(0.1)  # type: ignore[method-assign]
                for room in range(10 if life == 0 else 0):
                    await bench.emit(1, room=f"sick{room}")
                await bench.emit("waits", room=f"well{life}")
                await bench.pass_time(0.5)
    assert sorted(map(str, sink.got)) == [*["1"] * 10, "waits", "waits"]
    assert [line for line in logs if line["event"] == "sink.held_up"] == []


async def test_what_a_sink_that_is_down_keeps_in_memory_is_bounded_in_bytes(bench: Bench) -> None:
    courier, _ = bench.courier(lambda batch: Retry("down"), batch=BatchLimits(max_bytes=1 << 20))
    big = "x" * (1 << 20)
    for _ in range(24):
        await bench.emit(big)
    status = courier.status()
    assert status.lag == 24
    assert courier._lanes.memory.count <= 16


async def test_several_batches_in_flight_keep_the_order_of_each_room(bench: Bench) -> None:
    rng = random.Random(5)

    async def answer(batch: Sequence[Event]) -> None:
        await bench.clock.sleep(rng.random())

    got: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    courier, sink = bench.courier(answer, batch=BatchLimits(count=2), max_in_flight=3)
    for number in range(20):
        for room in got:
            await bench.emit(number, room=room)
    await bench.clock.advance(60)
    await courier.caught_up()
    for batch in sink.batches:
        for event in batch:
            got[event.room].append(event.args[0])
    assert all(numbers == list(range(20)) for numbers in got.values())


async def test_what_stops_while_rooms_that_failed_together_are_read_again_forgets_no_attempt(
    memory_bench: Bench,
) -> None:
    bench = memory_bench
    courier, sink = bench.courier(lambda batch: Retry("no"))
    await bench.append([Event.create(room, "e", [room]) for room in "ab"])
    await courier.stop(0)
    assert sink.offered == [["a", "b"]]
    before = dict(bench.spool.latest("sink0").behind)
    read_lane, read = bench.spool.read_lane, list[str]()

    async def hangs_at_the_second(lane: Lane, *args: Any) -> Any:
        read.append(lane.room)
        if len(read) == 2:
            await asyncio.Event().wait()
        return await read_lane(lane, *args)

    bench.spool.read_lane = hangs_at_the_second
    courier, _ = bench.courier(name="sink0")
    await settle()
    assert read == ["a", "b"]
    await courier.stop(0)
    assert bench.spool.latest("sink0").behind == before
    assert [past.attempts for behind in before.values() for past in behind.tried] == [1, 1]
