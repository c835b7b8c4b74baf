"""Couriers: order, retries, dead letters, and that no sink harms another."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from tdbwatch.daemon.couriers import BatchLimits, Courier, CourierSettings
from tdbwatch.daemon.hosts import InlineHost
from tdbwatch.daemon.retry import RetryPolicy
from tdbwatch.daemon.spool import SqliteSpool
from tdbwatch.plugin import DELIVERED, Event, Rejected, Retry, Sink, SinkContext
from tdbwatch.plugin.sink import Verdict
from tdbwatch.testing import ManualClock, settle

NO_JITTER = RetryPolicy(initial=1, factor=2, maximum=60, jitter=0)


class Scripted(Sink):
    """Calls a function for each batch, and keeps what it was given."""

    def __init__(self, answer: Callable[[Sequence[Event]], Any]) -> None:
        super().__init__(None, SinkContext("scripted"))
        self.answer = answer
        self.batches: list[list[Event]] = []
        self.got: list[Any] = []

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        self.batches.append(list(batch))
        answer: Any = self.answer(batch)
        if asyncio.iscoroutine(answer):
            answer = await answer
        outcomes = answer if isinstance(answer, list) else [answer] * len(batch)
        self.got += [
            event.args[0] for event, o in zip(batch, outcomes, strict=False) if o is None or o == DELIVERED
        ]
        return cast("Verdict", answer)

    @property
    def offered(self) -> list[list[Any]]:
        return [[event.args[0] for event in batch] for batch in self.batches]


class Bench:
    """A spool, a clock, and couriers over them."""

    def __init__(self, spool: SqliteSpool, clock: ManualClock) -> None:
        self.spool = spool
        self.clock = clock
        self.couriers: list[Courier] = []

    def courier(
        self,
        answer: Callable[[Sequence[Event]], Any] = lambda batch: None,
        *,
        wants: Callable[[Event], bool] = lambda event: True,
        timeout: float = 10,
        host: Any = None,
        **settings: Any,
    ) -> tuple[Courier, Scripted]:
        settings.setdefault("name", f"sink{len(self.couriers)}")
        settings.setdefault("retry", NO_JITTER)
        sink = Scripted(answer)
        host = host or InlineHost(lambda: sink, name=settings["name"], timeout=timeout, clock=self.clock)
        courier = Courier(
            CourierSettings(plugin="scripted", **settings),
            host,
            self.spool,
            wants,
            self.clock,
            random.Random(1),
        )
        self.couriers.append(courier)
        courier.start()
        return courier, sink

    async def emit(self, *numbers: Any, room: str = "alerts") -> None:
        self.spool.append([Event.create(room, "e", [number]) for number in numbers])
        await self.spool.flush()
        await settle()

    async def pass_time(self, seconds: float, steps: int = 40) -> None:
        """Turn the clock, and let the spool's thread keep up: dead letters wait for it."""
        for _ in range(steps):
            await self.clock.advance(seconds / steps)
            await self.spool.flush()
            await settle()

    async def letters(self) -> list[tuple[Any, ...]]:
        await self.spool.flush()
        with self.spool.inspect() as connection:
            return connection.execute(
                "SELECT sink, seq, reason, attempts, first_error, last_error FROM dead_letters"
            ).fetchall()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    spool = SqliteSpool(tmp_path / "spool.db", clock=clock, linger=0)
    await spool.open()
    bench = Bench(spool, clock)
    yield bench
    for courier in bench.couriers:
        await courier.stop(0)
    await spool.close()


async def test_events_arrive_in_order_and_the_cursor_follows(bench: Bench) -> None:
    courier, sink = bench.courier()
    await bench.emit(*range(250))
    await courier.caught_up()
    assert sink.got == list(range(250))
    assert bench.spool.cursor("sink0") == 250
    assert courier.status().lag == 0
    assert courier.status().delivered == 250


async def test_events_that_routes_send_elsewhere_move_the_cursor_only(bench: Bench) -> None:
    courier, sink = bench.courier(wants=lambda event: event.args[0] % 2 == 0)
    await bench.emit(*range(11))
    await courier.caught_up()
    assert sink.got == [0, 2, 4, 6, 8, 10]
    await bench.emit(11)
    await courier.caught_up()
    assert bench.spool.cursor("sink0") == 12


async def test_a_failing_batch_is_offered_again_with_growing_waits(bench: Bench) -> None:
    answers = iter([RuntimeError("down"), Retry("busy"), None])

    def answer(batch: Sequence[Event]) -> Any:
        result = next(answers)
        if isinstance(result, Exception):
            raise result
        return result

    courier, sink = bench.courier(answer)
    await bench.emit(1)
    assert len(sink.batches) == 1
    await bench.clock.advance(0.9)
    assert len(sink.batches) == 1
    await bench.clock.advance(0.1)
    assert len(sink.batches) == 2
    assert courier.status().state == "retrying"
    assert courier.status().last_error == "busy"
    await bench.clock.advance(2)
    assert sink.got == [1]
    assert courier.status().state == "running"
    assert courier.status().retried == 2


async def test_the_wait_that_a_sink_asks_for_is_obeyed_up_to_a_cap(bench: Bench) -> None:
    answers = iter([Retry("later", after=100.0), Retry("much later", after=1e9), None])
    _, sink = bench.courier(lambda batch: next(answers))
    await bench.emit(1)
    await bench.clock.advance(99)
    assert len(sink.batches) == 1
    await bench.clock.advance(1)
    assert len(sink.batches) == 2
    await bench.clock.advance(NO_JITTER.max_after - 1)
    assert len(sink.batches) == 2
    await bench.clock.advance(1)
    assert sink.got == [1]


async def test_a_rejected_event_is_a_dead_letter_before_the_cursor_moves(bench: Bench) -> None:
    courier, sink = bench.courier(
        lambda batch: [Rejected("bad") if e.args[0] == 2 else DELIVERED for e in batch]
    )
    await bench.emit(1, 2, 3)
    await courier.caught_up()
    assert sink.got == [1, 3]
    assert await bench.letters() == [("sink0", 2, "bad", 1, "bad", "bad")]
    assert courier.status().rejected == 1


async def test_a_poison_event_is_isolated_and_what_is_behind_it_flows(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> None:
        if any(event.args[0] == "poison" for event in batch):
            raise ValueError("cannot digest")

    retry = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=4)
    courier, sink = bench.courier(answer, retry=retry)
    await bench.emit(1, 2, "poison", 3, 4)
    await bench.clock.advance(30)
    await courier.caught_up()
    assert sink.got == [1, 2, 3, 4]
    [(name, seq, reason, attempts, first, last)] = await bench.letters()
    assert (name, seq, attempts) == ("sink0", 3, 4)
    assert reason == "gave up after 4 attempts"
    assert first == last == "ValueError: cannot digest"
    await bench.emit(5, 6)
    await courier.caught_up()
    assert sink.offered[-1] == [5, 6], "batches again"


@pytest.mark.parametrize("most", [1, 2, 3, 5])
async def test_no_event_has_more_attempts_than_configured(bench: Bench, most: int) -> None:
    retry = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=most)
    courier, sink = bench.courier(lambda batch: Retry("no"), retry=retry)
    await bench.emit(1, 2, 3)
    await bench.pass_time(600)
    await courier.caught_up()
    offered = [number for batch in sink.offered for number in batch]
    assert [offered.count(number) for number in (1, 2, 3)] == [most] * 3
    assert [letter[3] for letter in await bench.letters()] == [most] * 3


async def test_attempts_and_age_go_on_counting_over_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    attempts = 0
    for life in range(6):
        spool = SqliteSpool(tmp_path / "spool.db", clock=clock, linger=0, sinks=["sink0"])
        await spool.open()
        bench = Bench(spool, clock)
        retry = RetryPolicy(initial=5, factor=1, jitter=0, max_attempts=4, max_age=None)
        courier, sink = bench.courier(lambda batch: Retry("no"), retry=retry)
        if life == 0:
            await bench.emit(1, 2)
        await bench.pass_time(6, steps=2)
        attempts += sum(1 in batch for batch in sink.offered)
        letters = await bench.letters()
        await courier.stop(0)
        await spool.close()
    assert attempts == 4
    assert [(letter[1], letter[3]) for letter in letters] == [(1, 4), (2, 4)]


async def test_what_a_sink_took_beyond_its_cursor_does_not_come_twice_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    got: list[Any] = []

    def answer(batch: Sequence[Event]) -> list[Any]:
        got.extend(event.args[0] for event in batch if event.room == "well")
        return [DELIVERED if event.room == "well" else Retry("no") for event in batch]

    for life in range(2):
        spool = SqliteSpool(tmp_path / "spool.db", clock=clock, linger=0, sinks=["sink0"])
        await spool.open()
        bench = Bench(spool, clock)
        courier, _ = bench.courier(answer)
        if life == 0:
            await bench.emit("stays", room="sick")
            await bench.emit(1, 2, 3, room="well")
        await settle()
        assert spool.cursor("sink0") == 0
        await courier.stop(0)
        await spool.close()
    assert got == [1, 2, 3]


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
    assert bench.spool.cursor("sink0") == 0
    assert courier.status().oldest_us is not None


async def test_exhausted_events_block_their_room_where_configured(bench: Bench) -> None:
    retry = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=2)
    _courier, sink = bench.courier(lambda batch: Retry("no"), retry=retry, on_exhausted="block")
    await bench.emit(1)
    await bench.clock.advance(20)
    assert len(sink.batches) > 10
    assert await bench.letters() == []
    assert bench.spool.cursor("sink0") == 0


async def test_outcomes_shorter_than_the_batch_leave_the_rest_for_the_next_one(bench: Bench) -> None:
    courier, sink = bench.courier(lambda batch: [DELIVERED])
    await bench.emit(1, 2, 3)
    await courier.caught_up()
    assert sink.offered == [[1, 2, 3], [2, 3], [3]]


@pytest.mark.parametrize("answer", ["done", True, [], [1], [DELIVERED] * 9])
async def test_an_answer_that_is_no_verdict_is_a_failure_with_a_clear_reason(
    bench: Bench, answer: Any
) -> None:
    courier, _ = bench.courier(lambda batch: answer)
    await bench.emit(1)
    status = courier.status()
    assert status.retried == 1
    assert "VerdictError" in str(status.last_error)


async def test_a_sink_beyond_its_deadline_is_tried_again(bench: Bench) -> None:
    calls = iter([asyncio.sleep(3600), None])
    courier, sink = bench.courier(lambda batch: next(calls), timeout=5)
    await bench.emit(1)
    await bench.clock.advance(5)
    assert courier.status().last_error == "tdbwatch.daemon.deadline.DeadlineError: no answer within 5 s"
    await bench.clock.advance(1)
    assert sink.got == [1]


async def test_open_is_retried_until_it_works(bench: Bench) -> None:
    class Late(Scripted):
        opens = 0

        async def open(self) -> None:
            self.opens += 1
            if self.opens < 4:
                raise OSError("not yet")

    sink = Late(lambda batch: None)
    host = InlineHost(lambda: sink, name="late", timeout=5, clock=bench.clock)
    courier, _ = bench.courier(host=host)
    await bench.emit(1)
    assert courier.status().last_error == "OSError: not yet"
    await bench.clock.advance(1 + 2 + 4)
    assert sink.got == [1]
    assert courier.status().state == "running"


async def test_sinks_that_hang_raise_or_are_slow_do_not_touch_a_healthy_one(bench: Bench) -> None:
    def raise_(batch: Sequence[Event]) -> None:
        raise RuntimeError("always")

    raising, _ = bench.courier(raise_)
    hanging, _ = bench.courier(lambda batch: asyncio.Event().wait())
    _slow, slow_sink = bench.courier(lambda batch: bench.clock.sleep(1), batch=BatchLimits(count=1))
    healthy, sink = bench.courier()
    await bench.emit(*range(20))
    await healthy.caught_up()
    assert sink.got == list(range(20))
    assert bench.clock.monotonic() == 0
    assert (raising.status().delivered, hanging.status().delivered) == (0, 0)
    await bench.clock.advance(20)
    assert slow_sink.got == list(range(20))


async def test_a_sink_that_fails_as_a_whole_is_probed_at_growing_intervals(bench: Bench) -> None:
    _courier, sink = bench.courier(lambda batch: Retry("down"), batch=BatchLimits(count=1))
    for room in "abcdefghij":
        await bench.emit(1, room=room)
    assert len(sink.batches) == 5, "the breaker opens at the threshold"
    await bench.clock.advance(15.9)
    assert len(sink.batches) == 5
    await bench.clock.advance(0.1)
    assert len(sink.batches) == 6
    sink.answer = lambda batch: None
    await bench.clock.advance(32)
    assert len(sink.got) == 10, "one success closes it"


async def test_a_restart_goes_on_from_the_cursor(bench: Bench) -> None:
    first, sink = bench.courier(name="same")
    await bench.emit(1, 2)
    await first.caught_up()
    await first.stop(1)
    await bench.emit(3, 4)
    _, again = bench.courier(name="same")
    await bench.couriers[-1].caught_up()
    assert (sink.got, again.got) == ([1, 2], [3, 4])


async def test_stop_lets_what_is_in_flight_finish(bench: Bench) -> None:
    courier, sink = bench.courier(lambda batch: bench.clock.sleep(2))
    await bench.emit(1)
    stopping = asyncio.create_task(courier.stop(10))
    await bench.clock.advance(2)
    await stopping
    assert sink.got == [1]
    assert bench.spool.cursor("sink0") == 1


async def test_stop_abandons_what_outlives_the_grace_and_keeps_it(bench: Bench) -> None:
    courier, _sink = bench.courier(lambda batch: asyncio.Event().wait(), timeout=60)
    await bench.emit(1)
    stopping = asyncio.create_task(courier.stop(3))
    await bench.clock.advance(3)
    await stopping
    assert bench.spool.cursor("sink0") == 0


async def test_a_paused_courier_delivers_nothing_until_resumed(bench: Bench) -> None:
    courier, sink = bench.courier()
    courier.pause("410 Gone")
    await bench.emit(1)
    assert sink.got == []
    assert (courier.status().state, courier.status().last_error) == ("paused", "410 Gone")
    courier.resume()
    await courier.caught_up()
    assert sink.got == [1]


async def test_a_batch_waits_for_company_but_not_longer_than_configured(bench: Bench) -> None:
    _, sink = bench.courier(batch=BatchLimits(count=3, wait=5))
    await bench.emit(1)
    await bench.emit(2)
    assert sink.batches == []
    await bench.clock.advance(5)
    assert sink.offered == [[1, 2]]
    await bench.emit(3, 4, 5)
    assert sink.offered[-1] == [3, 4, 5]


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


async def test_failures_are_logged_at_growing_intervals_and_recovery_once(bench: Bench) -> None:
    def raise_(batch: Sequence[Event]) -> None:
        raise RuntimeError("of the plugin")

    with structlog.testing.capture_logs() as logs:
        _, sink = bench.courier(raise_)
        await bench.emit(1)
        await bench.clock.advance(600)
        sink.answer = lambda batch: None
        await bench.clock.advance(60)
    failed = [entry for entry in logs if entry["event"] == "sink.failed"]
    assert [entry["failures"] for entry in failed] == [1, 2, 4, 8]
    assert failed[0]["sink"] == "sink0"
    assert failed[0]["plugin"] == "scripted"
    assert isinstance(failed[0]["exc_info"], RuntimeError)
    assert [entry["event"] for entry in logs].count("sink.recovered") == 1


async def test_every_attempt_is_kept_with_its_answer(bench: Bench) -> None:
    answers = iter([Retry("busy"), None])
    courier, _ = bench.courier(lambda batch: next(answers))
    await bench.emit(1, 2)
    await bench.clock.advance(1)
    await courier.caught_up()
    history = await bench.spool.attempts(2)
    assert [(a.seqs, a.number, a.outcome, a.detail) for a in history] == [
        ((1, 2), 1, "retry", "busy"),
        ((1, 2), 2, "delivered", ""),
    ]
