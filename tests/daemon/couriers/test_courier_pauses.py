"""Couriers: how long a sink, or one of its events, is left alone because it asked for that."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from tdbwatch.daemon.couriers import BatchLimits
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.hosting.hosts import InlineHost, SinkHangsError
from tdbwatch.plugin import DELIVERED, Event, Rejected, Retry
from tdbwatch.testing import ManualClock, settle

from .courier_kit import NO_JITTER, Bench, Scripted, run_over


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


async def test_an_event_that_always_asks_for_a_wait_keeps_no_other_room_from_the_sink(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> Retry | None:
        return Retry("busy", after=1) if any(event.room == "sick" for event in batch) else None

    _, sink = bench.courier(answer)
    await bench.emit(1, room="sick")
    for number in range(2, 6):
        await bench.emit(number, room=f"room{number}")
    await bench.pass_time(60, steps=60)
    assert sorted(sink.got) == [2, 3, 4, 5]


async def test_a_sink_that_asks_for_a_pause_is_left_alone_and_then_gets_one_batch(bench: Bench) -> None:
    answers = iter([Retry("410 Gone", after=600, pause=True), Retry("410 Gone", pause=True)])
    courier, sink = bench.courier(lambda batch: next(answers, None))
    began = bench.clock.time()
    await bench.emit(1, 2)
    await bench.emit(3, room="other")
    status = courier.status()
    assert (status.state, status.health.last_error, status.lag) == ("paused", "410 Gone", 3)
    assert status.next_try_us == int((began + 600) * 1e6)
    await bench.pass_time(599)
    assert sink.offered == [[1, 2]]
    await bench.pass_time(2)
    assert len(sink.batches) == 2
    await bench.pass_time(3590)
    assert (len(sink.batches), courier.status().state) == (2, "paused")
    await bench.pass_time(10)
    await courier.caught_up()
    assert sorted(sink.got) == [1, 2, 3]
    status = courier.status()
    assert (status.state, status.health.last_error, status.next_try_us) == ("running", None, None)


async def test_a_pause_costs_no_attempt_and_nothing_grows_too_old_in_it(bench: Bench) -> None:
    days = iter([Retry("410 Gone", pause=True)] * 48)
    policy = RetryPolicy(initial=1, jitter=0, max_attempts=3, max_age=86_400)
    courier, sink = bench.courier(lambda batch: next(days, None), retry=policy)
    await bench.emit(1)
    await bench.pass_time(47 * 3600, 47)
    assert len(sink.batches) == 48
    await bench.pass_time(3600)
    await courier.caught_up()
    assert sink.got == [1]
    assert await bench.letters() == []


async def test_what_failed_before_a_pause_goes_on_counting_after_it(bench: Bench) -> None:
    answers = iter([Retry("busy"), Retry("410 Gone", pause=True), Retry("busy again")])
    policy = RetryPolicy(initial=1, jitter=0, max_attempts=2, max_age=None)
    bench.courier(lambda batch: next(answers), retry=policy)
    await bench.emit(1)
    await bench.pass_time(10)
    assert await bench.letters() == []
    await bench.pass_time(3600)
    assert await bench.letters() == [
        ("sink0", 1, "gave up after 2 attempts", 2, "busy", "busy again"),
    ]


async def test_of_a_batch_in_which_the_sink_asks_for_a_pause_the_rest_is_finished(bench: Bench) -> None:
    answers = iter([[DELIVERED, Rejected("bad"), Retry("410 Gone", pause=True)]])
    courier, sink = bench.courier(lambda batch: next(answers, None))
    await bench.emit(1, 2, 3, 4)
    await bench.pass_time(1)
    assert (courier.status().state, courier.status().lag) == ("paused", 2)
    assert [letter[2] for letter in await bench.letters()] == ["bad"]
    await bench.pass_time(3601)
    await courier.caught_up()
    assert sink.got == [1, 3, 4]


async def test_a_pause_begins_though_the_disk_does_not_take_the_dead_letters_of_the_same_batch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.spool, "dead_letter", lambda letters: bench.clock.sleep(1e6))
    answers = iter([[Rejected("bad"), Retry("410 Gone", pause=True)]])
    courier, sink = bench.courier(
        lambda batch: next(answers, None), batch=BatchLimits(count=2), max_in_flight=2
    )
    await bench.emit(1, 2)
    await bench.emit(3, room="other")
    assert (courier.status().state, len(sink.batches)) == ("paused", 1)


async def test_a_wait_asked_for_in_a_pause_is_obeyed_if_it_is_longer(bench: Bench) -> None:
    slow = {"pauses": (Retry("no", after=5, pause=True), 1), "asks": (Retry("429", after=600), 2)}

    async def answer(batch: Sequence[Event]) -> Any:
        verdict, seconds = slow.pop(batch[0].args[0], (None, 0))
        await bench.clock.sleep(seconds)
        return verdict

    _, sink = bench.courier(answer, batch=BatchLimits(count=1), max_in_flight=2)
    for name in list(slow):
        await bench.emit(name, room=name)
    await bench.pass_time(601)
    assert sink.got == []
    await bench.pass_time(2)
    assert sorted(sink.got) == ["asks", "pauses"]


@pytest.mark.parametrize("turns", range(10))
async def test_what_is_being_sent_off_when_a_pause_is_asked_for_does_not_end_it(
    bench: Bench, turns: int
) -> None:
    go = asyncio.Event()

    async def answer(batch: Sequence[Event]) -> Any:
        await go.wait()
        if batch[0].room == "pauses":
            await settle(turns)
            return Retry("410 Gone", pause=True)
        await bench.clock.sleep(1 if batch[0].room == "next" else 0)
        return None

    courier, sink = bench.courier(answer, batch=BatchLimits(count=1), max_in_flight=2)
    for room in ["first", "pauses", "next"]:
        await bench.emit(1, room=room)
    go.set()
    await bench.pass_time(10)
    assert courier.status().state == "paused"
    assert len(sink.batches) <= 3


async def test_time_in_a_pause_does_not_age_what_failed_before_it(bench: Bench) -> None:
    answers = iter([Retry("busy"), Retry("410 Gone", pause=True), Retry("busy"), Retry("busy")])
    policy = RetryPolicy(initial=1, factor=1, jitter=0, max_age=600)
    courier, sink = bench.courier(lambda batch: next(answers, None), retry=policy)
    await bench.emit(1)
    await bench.pass_time(3700)
    await courier.caught_up()
    assert len(sink.batches) == 5
    assert sink.got == [1]
    assert await bench.letters() == []


async def test_what_was_under_way_when_a_pause_was_asked_for_does_not_end_it(bench: Bench) -> None:
    slow = {"slow-works": (None, 1), "slow-fails": (Retry("busy"), 2), "pauses": (Retry("no", pause=True), 0)}

    async def answer(batch: Sequence[Event]) -> Any:
        verdict, seconds = slow[batch[0].args[0]]
        await bench.clock.sleep(seconds)
        return verdict

    courier, sink = bench.courier(answer, batch=BatchLimits(count=1), max_in_flight=3)
    for name in slow:
        await bench.emit(name, room=name)
    await bench.emit("slow-works", room="behind")
    await bench.pass_time(5)
    status = courier.status()
    assert (status.state, status.counts.delivered, status.health.last_error) == ("paused", 1, "busy")
    assert len(sink.batches) == 3


async def test_a_sink_that_hung_and_came_back_to_ask_for_a_pause_is_paused_not_stuck(bench: Bench) -> None:
    def hang(batch: Sequence[Event]) -> Any:
        raise SinkHangsError(20)

    courier, sink = bench.courier(hang)
    await bench.emit(1)
    assert courier.status().state == "stuck"
    sink.answer = lambda batch: Retry("gone", after=100, pause=True)
    await bench.pass_time(2)
    assert courier.status().state == "paused"


async def test_a_tiny_pause_is_no_busy_loop(bench: Bench) -> None:
    with structlog.testing.capture_logs() as logs:
        _, sink = bench.courier(lambda batch: Retry("no", after=1e-6, pause=True))
        await bench.emit(1)
        await bench.pass_time(600, 600)
    assert len(sink.batches) <= 20
    assert len([line for line in logs if line["event"] == "sink.paused"]) <= 20


async def test_a_sink_that_fails_otherwise_after_a_pause_is_probed_and_not_called_paused(
    bench: Bench,
) -> None:
    answers = iter([Retry("410 Gone", after=60, pause=True)])
    courier, sink = bench.courier(lambda batch: next(answers, Retry("refused")), batch=BatchLimits(count=1))
    for room in "abcdef":
        await bench.emit(1, room=room)
    await bench.pass_time(61)
    status = courier.status()
    assert (status.state, status.health.probing, status.health.last_error) == ("retrying", True, "refused")
    assert len(sink.batches) == 2


async def test_the_wait_for_one_event_of_a_list_does_not_hold_up_other_rooms(bench: Bench) -> None:
    def answer(batch: Sequence[Event]) -> list[Any]:
        return [Retry("locked", after=1800) if batch[0].room == "sick" else DELIVERED]

    courier, sink = bench.courier(answer)
    await bench.emit(1, room="sick")
    await bench.emit(2, room="well")
    assert sink.got == [2]
    assert courier.status().next_try_us == int((bench.clock.time() + 1800) * 1e6)
    await bench.pass_time(1799)
    assert len(sink.batches) == 2


async def test_each_room_of_a_list_waits_for_as_long_as_its_own_events_ask_for(bench: Bench) -> None:
    afters = {"locked": 1800.0, "busy": None, "soon": 60.0}
    tried = set[str]()

    def answer(batch: Sequence[Event]) -> list[Any]:
        new = {event.room for event in batch} - tried
        tried.update(new)
        return [Retry("no", after=afters[e.room]) if e.room in new else DELIVERED for e in batch]

    _, sink = bench.courier(answer, batch=BatchLimits(count=6, wait=1))
    for room in [*afters, *afters]:
        await bench.emit(room, room=room)
    for seconds, got in [(0.9, []), (0.1, ["busy"]), (58.9, ["busy"]), (0.1, ["busy", "soon"])]:
        await bench.clock.advance(seconds)
        assert sink.got == [room for room in got for _ in range(2)]
    await bench.clock.advance(1740)
    assert sink.got[4:] == ["locked"] * 2


async def test_a_success_that_was_under_way_does_not_shorten_the_wait_that_the_sink_asked_for(
    bench: Bench,
) -> None:
    async def answer(batch: Sequence[Event]) -> Any:
        await bench.clock.sleep({"asks": 1, "works": 2}.get(batch[0].room, 0))
        return Retry("429", after=300) if batch[0].room == "asks" and len(sink.batches) < 3 else None

    _, sink = bench.courier(answer, batch=BatchLimits(count=1), max_in_flight=2)
    for room in ["asks", "works", "behind"]:
        await bench.emit(room, room=room)
    await bench.pass_time(300, 300)
    assert (sink.got, len(sink.batches)) == (["works"], 2)
    await bench.pass_time(5)
    assert sorted(sink.got) == ["asks", "behind", "works"]


async def test_one_wait_for_the_whole_batch_holds_for_the_sink(bench: Bench) -> None:
    _, sink = bench.courier(lambda batch: Retry("429", after=1800))
    await bench.emit(1, room="first")
    await bench.emit(2, room="second")
    await bench.pass_time(1799)
    assert len(sink.batches) == 1


async def test_a_restart_in_a_pause_tries_at_once_and_counts_from_the_start(path: Path) -> None:
    clock = ManualClock()
    lives = [Retry("410 Gone", pause=True), Retry("busy")]
    for life, answer in enumerate(lives):
        async with run_over(path, clock) as bench:
            policy = RetryPolicy(initial=1, jitter=0, max_attempts=2, max_age=3_600)
            _, sink = bench.courier(lambda batch, answer=answer: answer, retry=policy)
            if life == 0:
                await bench.emit(1)
            await bench.pass_time(5)
            assert len(sink.batches) == life + 1
            letters = await bench.letters()
        await clock.advance(86_400)
    assert [(letter[2], letter[3]) for letter in letters] == [("gave up after 2 attempts", 2)]


async def test_that_a_sink_is_only_probed_is_said_once_with_the_next_try_and_so_is_its_recovery(
    bench: Bench,
) -> None:
    with structlog.testing.capture_logs() as logs:
        courier, sink = bench.courier(lambda batch: Retry("no route to host"), batch=BatchLimits(count=1))
        for room in "abcdef":
            await bench.emit(1, room=room)
        await bench.pass_time(600, 600)
        [probed] = [line for line in logs if line["event"] == "sink.probed"]
        assert (probed["failures"], probed["error"], probed["log_level"]) == (5, "no route to host", "error")
        due = courier.status().next_try_us
        assert due is not None
        tries = len(sink.batches)
        await bench.clock.advance(due / 1e6 - bench.clock.time() - 0.001)
        assert len(sink.batches) == tries, "not before it is said"
        await bench.clock.advance(0.002)
        assert len(sink.batches) == tries + 1, "when it is said"
        sink.answer = lambda batch: None
        await bench.pass_time(600, 600)
    assert [line["event"] for line in logs].count("sink.recovered") == 1


async def test_when_opening_a_sink_is_tried_next_is_said(bench: Bench) -> None:
    class Closed(Scripted):
        async def open(self) -> None:
            raise OSError("not yet")

    host = InlineHost(lambda: Closed(lambda batch: None), name="sink0", timeout=5, clock=bench.clock)
    courier, _ = bench.courier(host=host)
    await bench.clock.advance(0)
    assert courier.status().next_try_us == int((bench.clock.time() + 1) * 1e6)


async def test_the_next_try_in_the_log_is_the_one_on_the_page(bench: Bench) -> None:
    policy = RetryPolicy(initial=1, factor=2, maximum=600, jitter=0.5)
    courier, _ = bench.courier(lambda batch: Retry("no"), retry=policy)
    with structlog.testing.capture_logs() as logs:
        await bench.emit(1)
        while not (probed := [line for line in logs if line["event"] == "sink.probed"]):
            await bench.clock.advance(0.1)
    due = courier.status().next_try_us
    assert due is not None
    assert abs(datetime.fromisoformat(probed[0]["next_try"]).timestamp() - due / 1e6) < 0.001


@pytest.mark.parametrize(
    ("error", "remedy"),
    [(KeyError("host"), "mend its plugin"), (OSError("no route"), "mend what it talks to")],
)
async def test_who_can_end_the_probing_is_said(bench: Bench, error: Exception, remedy: str) -> None:
    def raises(_: Sequence[Event]) -> None:
        raise error

    with structlog.testing.capture_logs() as logs:
        bench.courier(raises)
        await bench.emit(1)
        await bench.pass_time(60)
    [probed] = [line for line in logs if line["event"] == "sink.probed"]
    assert probed["remedy"].startswith(remedy)


async def test_what_fails_otherwise_after_a_pause_is_probed_and_its_failures_are_counted_truly(
    bench: Bench,
) -> None:
    answers = iter([Retry("HTTP 401", after=300, pause=True)])
    with structlog.testing.capture_logs() as logs:
        courier, _ = bench.courier(lambda batch: next(answers, Retry("HTTP 503")))
        await bench.emit(1)
        await bench.pass_time(1)
        assert (courier.status().state, courier.status().health.failures) == ("paused", 1)
        courier.wake()
        await bench.pass_time(0.1)
        status = courier.status()
        assert (status.health.probing, status.health.failures) == (True, 2)
        [probed] = [line for line in logs if line["event"] == "sink.probed"]
        assert (probed["failures"], probed["error"]) == (2, "HTTP 503")


async def test_an_event_for_which_the_sink_always_wants_a_pause_keeps_no_room_that_waits_from_it(
    bench: Bench,
) -> None:
    seen = set[str]()

    def answer(batch: Sequence[Event]) -> Retry | None:
        room = batch[0].room
        if room not in seen:
            seen.add(room)
            return Retry("no")
        return Retry("quota", after=10, pause=True) if room == "sick" else None

    _, sink = bench.courier(answer, batch=BatchLimits(count=1), breaker_threshold=10**9)
    await bench.emit(1, room="sick")
    await bench.pass_time(0.5)
    await bench.emit(2, room="well")
    await bench.pass_time(100, steps=100)
    assert sink.got == [2]
