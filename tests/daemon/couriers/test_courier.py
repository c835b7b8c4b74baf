"""Couriers: order, retries, dead letters, and that no sink harms another."""

import asyncio
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest
import structlog

from tdbwatch.daemon.couriers import BatchLimits
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.hosting.hosts import InlineHost, SinkStuckError, ThreadHost
from tdbwatch.daemon.spool.api import SpoolError
from tdbwatch.plugin import DELIVERED, Event, Rejected, Retry, SinkContext
from tdbwatch.plugin.sink import FunctionSink
from tdbwatch.testing import settle

from .courier_kit import Bench, Scripted


async def test_events_arrive_in_order_and_the_cursor_follows(bench: Bench) -> None:
    courier, sink = bench.courier()
    await bench.emit(*range(250))
    await courier.caught_up()
    assert sink.got == list(range(250))
    assert await bench.finished() == 250
    assert courier.status().lag == 0
    assert courier.status().counts.delivered == 250


async def test_events_that_routes_send_elsewhere_move_the_cursor_only(bench: Bench) -> None:
    courier, sink = bench.courier(wants=lambda event: event.args[0] % 2 == 0)
    await bench.emit(*range(11))
    await courier.caught_up()
    assert sink.got == [0, 2, 4, 6, 8, 10]
    await bench.emit(11)
    await courier.caught_up()
    assert await bench.finished() == 12


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
    assert courier.status().health.last_error == "busy"
    await bench.clock.advance(2)
    assert sink.got == [1]
    assert courier.status().state == "running"
    assert courier.status().counts.retried == 2


async def test_a_rejected_event_is_a_dead_letter_before_the_cursor_moves(bench: Bench) -> None:
    courier, sink = bench.courier(
        lambda batch: [Rejected("bad") if e.args[0] == 2 else DELIVERED for e in batch]
    )
    await bench.emit(1, 2, 3)
    await courier.caught_up()
    assert sink.got == [1, 3]
    assert await bench.letters() == [("sink0", 2, "bad", 1, "bad", "bad")]
    assert courier.status().counts.rejected == 1


async def test_of_a_rejected_event_the_last_error_is_why_it_was_rejected(bench: Bench) -> None:
    answers = iter([Retry("busy"), [Rejected("bad")]])
    courier, _ = bench.courier(lambda _: next(answers), retry=RetryPolicy(initial=1, jitter=0))
    await bench.emit(1)
    await bench.clock.advance(2)
    await courier.caught_up()
    assert await bench.letters() == [("sink0", 1, "bad", 2, "busy", "bad")]


async def test_a_sink_that_refuses_all_it_is_given_says_so_until_it_takes_something(bench: Bench) -> None:
    courier, sink = bench.courier(lambda batch: [Rejected("who are you?")] * len(batch))
    await bench.emit(1, 2, 3, 4)
    await courier.caught_up()
    assert courier.status().state == "running"
    await bench.emit(5)
    await courier.caught_up()
    assert (courier.status().state, courier.status().health.refused_in_row) == ("refusing", 5)
    sink.answer = lambda batch: [DELIVERED, *[Rejected("bad")] * (len(batch) - 1)]
    await bench.emit(6, 7)
    await courier.caught_up()
    assert (courier.status().state, courier.status().health.refused_in_row) == ("running", 1)


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


async def test_outcomes_shorter_than_the_batch_leave_the_rest_for_the_next_one(bench: Bench) -> None:
    courier, sink = bench.courier(lambda batch: [DELIVERED])
    await bench.emit(1, 2, 3)
    await courier.caught_up()
    assert sink.offered == [[1, 2, 3], [2, 3], [3]]


async def test_what_was_left_untried_waits_for_no_company(bench: Bench) -> None:
    _, sink = bench.courier(lambda batch: [DELIVERED], batch=BatchLimits(count=3, wait=60))
    await bench.emit(1, 2, 3)
    assert sink.got == [1, 2, 3]


async def test_what_goes_alone_waits_for_no_company(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> None:
        if any(event.args[0] == "poison" for event in batch):
            raise ValueError

    _, sink = bench.courier(answer, batch=BatchLimits(count=4, wait=60))
    for name in ["poison", "a", "b", "c"]:
        await bench.emit(name, room=name)
    await bench.clock.advance(1)
    assert sink.got == ["a", "b", "c"]


async def test_what_ends_as_a_dead_letter_is_not_counted_as_offered_again(bench: Bench) -> None:
    retry = RetryPolicy(initial=1, jitter=0, max_attempts=2)
    courier, _ = bench.courier(lambda batch: Retry("no"), retry=retry)
    await bench.emit(1)
    await bench.pass_time(2)
    assert (courier.status().counts.retried, courier.status().counts.dead) == (1, 1)


@pytest.mark.parametrize("answer", ["done", True, [], [1], [DELIVERED] * 9])
async def test_an_answer_that_is_no_verdict_is_a_failure_with_a_clear_reason(
    bench: Bench, answer: Any
) -> None:
    courier, _ = bench.courier(lambda batch: answer)
    await bench.emit(1)
    status = courier.status()
    assert status.counts.retried == 1
    assert "it returned" in str(status.health.last_error) or "it answered" in str(status.health.last_error)


async def test_a_sink_beyond_its_deadline_is_tried_again(bench: Bench) -> None:
    calls = iter([asyncio.sleep(3600), None])
    courier, sink = bench.courier(lambda batch: next(calls), timeout=5)
    await bench.emit(1)
    await bench.clock.advance(5)
    assert courier.status().health.last_error == "no answer within 5 s"
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
    assert courier.status().health.last_error == "OSError: not yet"
    await bench.clock.advance(1 + 2 + 4)
    assert sink.got == [1]
    assert courier.status().state == "running"


async def test_a_sink_that_could_be_opened_in_the_end_has_no_error_any_more(bench: Bench) -> None:
    errors = [OSError("not yet")]

    class Late(Scripted):
        async def open(self) -> None:
            if errors:
                raise errors.pop()

    host = InlineHost(lambda: Late(lambda batch: None), name="late", timeout=5, clock=bench.clock)
    courier, _ = bench.courier(host=host)
    await bench.clock.advance(1)
    assert (courier.status().state, courier.status().health.last_error) == ("running", None)


async def test_a_sink_that_blocks_while_it_is_opened_is_seen_to_be_stuck(bench: Bench) -> None:
    class Blocked(Scripted):
        released = False

        async def open(self) -> None:
            if not self.released:
                raise SinkStuckError("as its host says")

    sink = Blocked(lambda batch: None)
    host = InlineHost(lambda: sink, name="blocked", timeout=5, clock=bench.clock)
    courier, _ = bench.courier(host=host)
    await bench.emit(1)
    assert courier.status().state == "stuck"
    sink.released = True
    await bench.clock.advance(1)
    assert (courier.status().state, sink.got) == ("running", [1])


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
    assert (raising.status().counts.delivered, hanging.status().counts.delivered) == (0, 0)
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


async def test_a_probe_that_hangs_is_waited_for_without_a_busy_loop(bench: Bench) -> None:
    courier, sink = bench.courier(lambda batch: Retry("down"), batch=BatchLimits(count=1), max_in_flight=2)
    for room in "abcdefghij":
        await bench.emit(1, room=room)
    sink.answer = lambda batch: bench.clock.sleep(5)
    await bench.pass_time(17)
    assert (courier.status().health.probing, courier.status().in_flight) == (True, 1)
    looks = 0
    look = courier._lanes.turns.next

    def count_looks(now: float) -> Any:
        nonlocal looks
        looks += 1
        return look(now)

    courier._lanes.turns.next = count_looks  # type: ignore[method-assign]
    await settle()
    assert looks == 0


async def test_a_sink_that_stops_at_its_first_failure_is_seen_to_fail_as_a_whole(bench: Bench) -> None:
    courier, sink = bench.courier(lambda batch: [Retry("down")])
    for room in range(50):
        await bench.emit(1, room=f"room{room}")
    assert (len(sink.batches), courier.status().health.probing) == (5, True)


async def test_events_that_were_left_untried_keep_the_attempts_made_before(bench: Bench) -> None:
    answers = iter([Retry("busy"), [DELIVERED]])
    policy = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=3)
    _, sink = bench.courier(lambda batch: next(answers, Retry("busy")), retry=policy)
    await bench.emit(1, 2)
    await bench.pass_time(30)
    assert [sum(number in batch for batch in sink.offered) for number in (1, 2)] == [2, 4]
    assert [(letter[1], letter[3]) for letter in await bench.letters()] == [(2, 3)]


async def test_a_sink_that_is_down_is_soon_only_probed_however_many_rooms_there_are(bench: Bench) -> None:
    _, sink = bench.courier(lambda batch: Retry("down"), batch=BatchLimits(count=1))
    for room in range(100):
        await bench.emit(room, room=f"room {room}")
    assert len(sink.batches) == 5


async def test_what_routes_send_elsewhere_is_not_counted_as_waiting(bench: Bench) -> None:
    courier, _ = bench.courier(lambda batch: Retry("down"), wants=lambda event: event.args[0] % 10 == 0)
    await bench.emit(*range(100))
    assert courier.status().lag == 10


async def test_a_batch_waits_for_company_but_not_longer_than_configured(bench: Bench) -> None:
    _, sink = bench.courier(batch=BatchLimits(count=3, wait=5))
    await bench.emit(1)
    await bench.emit(2)
    assert sink.batches == []
    await bench.clock.advance(5)
    assert sink.offered == [[1, 2]]
    await bench.emit(3, 4, 5)
    assert sink.offered[-1] == [3, 4, 5]


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
    assert failed[0]["exc_info"][0] is RuntimeError
    assert [entry["event"] for entry in logs].count("sink.recovered") == 1


async def test_every_attempt_is_kept_with_its_answer(bench: Bench) -> None:
    answers = iter([Retry("busy"), None])
    courier, _ = bench.courier(lambda batch: next(answers))
    await bench.emit(1, 2)
    await bench.clock.advance(1)
    await courier.caught_up()
    history = await bench.attempts(2)
    assert [(tuple(a.seqs), a.number, a.outcome, a.detail) for a in history] == [
        ((1, 2), 1, "retry", "busy"),
        ((1, 2), 2, "delivered", ""),
    ]


async def test_a_plugins_traceback_begins_where_the_plugin_does(bench: Bench) -> None:
    def digest(event: Event) -> None:
        raise ValueError("cannot digest")

    host = ThreadHost(
        lambda: FunctionSink(digest, None, SinkContext("x")), name="x", timeout=10, clock=bench.clock
    )
    with structlog.testing.capture_logs() as logs:
        courier, _ = bench.courier(host=host)
        await bench.emit(1)
        while not courier.status().health.failures:
            await asyncio.sleep(0)
    [failed] = [line for line in logs if line["event"] == "sink.failed"]
    assert [frame.name for frame in traceback.extract_tb(failed["exc_info"][2])] == ["digest"]
    assert "unlogged" not in failed


async def test_a_plugin_that_ends_the_program_is_shown_by_its_own_lines(bench: Bench) -> None:
    def give_up(event: Event) -> None:
        sys.exit(3)

    host = ThreadHost(
        lambda: FunctionSink(give_up, None, SinkContext("x")), name="x", timeout=10, clock=bench.clock
    )
    with structlog.testing.capture_logs() as logs:
        courier, _ = bench.courier(host=host)
        await bench.emit(1)
        while not courier.status().health.failures:
            await asyncio.sleep(0)
    [failed] = [line for line in logs if line["event"] == "sink.failed"]
    kind, _, trace = failed["exc_info"]
    assert (kind, [frame.name for frame in traceback.extract_tb(trace)]) == (SystemExit, ["give_up"])


async def test_another_error_than_the_last_is_logged_at_once_but_not_every_time(bench: Bench) -> None:
    def raise_(batch: Sequence[Event]) -> None:
        raise RuntimeError(errors[-1])

    errors = ["refused"]
    policy = RetryPolicy(initial=5, factor=1, jitter=0)
    with structlog.testing.capture_logs() as logs:
        bench.courier(raise_, retry=policy)
        await bench.emit(1)
        await bench.pass_time(60)
        errors.append("the password was changed")
        await bench.pass_time(6)
        said = [line["error"] for line in logs if line["event"] == "sink.failed"]
        for number in range(12):
            errors.append(f"request {number} failed")
            await bench.pass_time(5)
    assert said[-1].endswith("the password was changed")
    assert len([line for line in logs if line["event"] == "sink.failed"]) < len(said) + 10


async def test_a_sink_that_fails_and_works_in_turn_is_logged_once_in_ten_seconds(bench: Bench) -> None:
    policy = RetryPolicy(initial=0.5, factor=1, jitter=0)
    with structlog.testing.capture_logs() as logs:
        _, sink = bench.courier(retry=policy)
        for number in range(24):  # seconds
            answers = iter([Retry("busy")])
            sink.answer = lambda batch, answers=answers: next(answers, None)  # type: ignore[misc]
            await bench.emit(number)
            await bench.clock.advance(1)
    said = [(line["event"], line["failures"], line.get("unlogged")) for line in logs]
    each = [("sink.failed", 1, None), ("sink.recovered", 1, None)]
    later = [("sink.failed", 1, 9), ("sink.recovered", 1, None)]
    assert said == [*each, *later, *later]
    assert sink.got == list(range(24))


async def test_that_events_cannot_be_read_is_said_once_a_minute_and_is_no_failure_of_the_sink(
    memory_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(after: int, max_bytes: int) -> NoReturn:
        raise SpoolError("the disk is gone")

    with structlog.testing.capture_logs() as logs, monkeypatch.context() as broken:
        courier, sink = memory_bench.courier()
        broken.setattr(memory_bench.spool, "read", unreadable)
        await memory_bench.emit(1)
        await memory_bench.clock.advance(59)
        assert (courier.status().health.failures, courier.status().state) == (0, "running")
        await memory_bench.clock.advance(2)
        broken.undo()
        await memory_bench.clock.advance(2)
    assert [line["event"] for line in logs] == ["spool.read_failed"] * 2
    assert (logs[0]["log_level"], logs[0]["error"]) == ("warning", "the disk is gone")
    assert sink.got == [1]


async def test_a_traceback_that_is_all_ours_is_kept(bench: Bench) -> None:
    with structlog.testing.capture_logs() as logs:
        courier, _ = bench.courier(lambda batch: sys.exit(3))
        await bench.emit(1)
    assert courier.status().health.failures == 1
    [failed] = [line for line in logs if line["event"] == "sink.failed"]
    assert traceback.extract_tb(failed["exc_info"][2])


async def test_a_sink_with_nothing_left_to_try_runs_though_its_last_event_became_a_dead_letter(
    bench: Bench,
) -> None:
    policy = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=2)
    courier, _ = bench.courier(lambda batch: Retry("poison"), retry=policy)
    await bench.emit(1)
    assert courier.status().state == "retrying"
    await bench.pass_time(2)
    status = courier.status()
    assert (status.state, status.lag, status.health.failures, status.counts.dead) == ("running", 0, 2, 1)


async def test_a_sink_that_is_only_probed_is_not_running_even_with_nothing_left_to_try(bench: Bench) -> None:
    policy = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=1)
    courier, _ = bench.courier(lambda batch: Retry("down"), retry=policy, batch=BatchLimits(count=1))
    await bench.emit(1, 2, 3, 4, 5)
    await bench.pass_time(10)
    status = courier.status()
    assert (status.state, status.lag, status.health.probing) == ("retrying", 0, True)


async def test_each_dead_letter_of_a_list_carries_its_own_errors(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> list[Any]:
        number = len(sink.batches)
        return [Retry(f"{event.args[0]} in attempt {number}") for event in batch]

    policy = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=1)
    _, sink = bench.courier(answer, retry=policy)
    await bench.emit(1, 2)
    assert [letter[4:] for letter in await bench.letters()] == [
        ("1 in attempt 1", "1 in attempt 1"),
        ("2 in attempt 1", "2 in attempt 1"),
    ]
    assert [a.detail for a in await bench.attempts(2)] == ["2 in attempt 1"]


async def test_each_of_a_list_keeps_its_own_first_error_over_its_attempts(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> list[Any]:
        number = len(sink.batches)
        return [
            Retry(f"{event.args[0]} in attempt {number}", after=5) if event.args[0] else DELIVERED
            for event in batch
        ]

    policy = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=3)
    _, sink = bench.courier(answer, retry=policy)
    await bench.emit(0, 1, 2)
    await bench.pass_time(30)
    assert [letter[4:] for letter in await bench.letters()] == [
        ("1 in attempt 1", "1 in attempt 3"),
        ("2 in attempt 1", "2 in attempt 3"),
    ]
