"""Couriers: a requeue or a replay is an order to try its sink at once, whatever it waits for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

from tdbwatch.clock import SystemClock
from tdbwatch.daemon.couriers import BatchLimits
from tdbwatch.daemon.delivery.redelivery import Receiver, Redelivery
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.hosting.hosts import InlineHost
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.stored.orders import Order, OrderKind, Selection
from tdbwatch.plugin import DELIVERED, Event, Rejected, Retry
from tdbwatch.testing import ManualClock, settle

from .courier_kit import Bench, Scripted, run_over

PAUSE = Retry("410 Gone", pause=True)


class Busy(SystemClock):
    """Nobody waits long by it."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.001))


class Served(Bench):
    """With somebody who looks for orders all the time, from the first one on."""

    redelivery: "asyncio.Task[None] | None" = None

    def serve(self) -> None:
        if self.redelivery is None:
            receivers = {courier.name: Receiver(courier, lambda event: True) for courier in self.couriers}
            self.redelivery = asyncio.create_task(Redelivery(self.spool, receivers, Busy()).run())


@pytest.fixture
async def bench(path: Path) -> AsyncIterator[Served]:
    async with run_over(path, ManualClock()) as plain:
        bench = Served(plain.spool, plain.clock)
        bench.couriers = plain.couriers
        yield bench
        if bench.redelivery is not None:
            bench.redelivery.cancel()
            await asyncio.gather(bench.redelivery, return_exceptions=True)


def order(bench: Served, kind: OrderKind, sink: str = "sink0") -> int:
    with opened(bench.spool.path, "rw") as look:
        count = look.order(kind, sink, Selection())
    bench.serve()
    return count


async def until(bench: Served, met: Callable[[], bool]) -> None:
    """Let the spool's thread find the request, without any time passing."""
    async with asyncio.timeout(20):
        while not met():
            await bench.spool.flush()
            await settle()


async def test_a_requeue_ends_a_pause_and_is_delivered_at_once(bench: Served) -> None:
    answers = iter([Rejected("bad"), PAUSE])
    courier, sink = bench.courier(lambda batch: next(answers, None))
    await bench.emit("dead")
    await bench.emit("waits")
    assert (courier.status().state, courier.status().counts.dead) == ("paused", 1)
    with structlog.testing.capture_logs() as logs:
        assert order(bench, "requeue") == 1
        await until(bench, lambda: sink.got == ["waits", "dead"] and not courier.status().lag)
    assert bench.clock.monotonic() == 0
    assert (courier.status().state, courier.status().next_try_us) == ("running", None)
    assert [line["event"] for line in logs] == ["sink.woken", "sink.recovered"]


async def test_a_replay_ends_a_pause_and_a_receiver_that_is_still_gone_pauses_it_again(bench: Served) -> None:
    answers = iter([None, PAUSE, PAUSE])
    policy = RetryPolicy(initial=1, jitter=0, max_attempts=1)
    courier, sink = bench.courier(lambda batch: next(answers, None), retry=policy)
    await bench.emit("told")
    await bench.emit("waits")
    order(bench, "replay")
    await until(bench, lambda: len(sink.batches) == 3 and courier.status().lag == 3)
    status = courier.status()
    assert (status.state, status.next_try_us) == ("paused", int((bench.clock.time() + 3600) * 1e6))
    await bench.pass_time(3599)
    assert len(sink.batches) == 3, "one order, one probe"
    await bench.clock.advance(1)
    assert await bench.letters() == [], "and no attempt is lost by it"


async def test_each_request_is_an_order(bench: Served) -> None:
    courier, sink = bench.courier(lambda batch: PAUSE if batch[0].args[0] else None)
    await bench.emit(0)
    await bench.emit(1)
    for tries in range(2, 5):
        order(bench, "replay")
        await until(bench, lambda tries=tries: len(sink.batches) == tries + 1)  # type: ignore[misc]
        assert courier.status().state == "paused"


async def test_an_order_reaches_a_sink_that_is_too_far_behind_to_be_served(bench: Served) -> None:
    answers = iter([PAUSE])
    courier, sink = bench.courier(lambda batch: next(answers, None), max_ahead=10)
    await bench.emit(*range(6_000))
    assert courier.status().state == "paused"
    order(bench, "replay")
    await until(bench, lambda: len(sink.got) == 12_000)
    assert bench.clock.monotonic() == 0


async def test_an_order_probes_a_sink_that_is_down_once_and_the_usual_waits_go_on(bench: Served) -> None:
    courier, sink = bench.courier(lambda batch: Retry("down"), batch=BatchLimits(count=1))
    for room in "abcdefghij":
        await bench.emit(1, room=room)
    assert (len(sink.batches), courier.status().health.probing) == (5, True)
    order(bench, "replay")
    await until(bench, lambda: len(sink.batches) == 6 and courier.status().lag == 20)
    await bench.clock.advance(31.9)
    assert len(sink.batches) == 6
    sink.answer = lambda batch: None
    await bench.clock.advance(0.1)
    await courier.caught_up()
    assert len(sink.got) == 20


async def test_an_order_ends_the_wait_that_a_sink_asked_for(bench: Served) -> None:
    answers = iter([Retry("429", after=1800)])
    _, sink = bench.courier(lambda batch: next(answers, None))
    await bench.emit(1)
    order(bench, "replay")
    await until(bench, lambda: sink.got == [1, 1])
    assert bench.clock.monotonic() == 0


async def test_an_order_leaves_a_room_alone_that_waits_for_its_own_reason(bench: Served) -> None:
    def answer(batch: Sequence[Event]) -> list[Any]:
        return [Retry("locked", after=1800) if event.room == "sick" else DELIVERED for event in batch]

    courier, sink = bench.courier(answer, batch=BatchLimits(count=1))
    await bench.emit(1, room="well")
    await bench.emit(2, room="sick")
    order(bench, "replay")
    await until(bench, lambda: len(sink.batches) == 3 and courier.status().lag == 2)
    assert sink.offered == [[1], [2], [1]]


async def test_an_order_opens_a_sink_that_could_not_be_opened(bench: Served) -> None:
    lookups = iter([LookupError("no such host")] * 8)
    sink = Scripted(lambda batch: None)

    def make() -> Scripted:
        if (error := next(lookups, None)) is not None:
            raise error
        return sink

    courier, _ = bench.courier(host=InlineHost(make, name="sink0", timeout=10, clock=bench.clock))
    await bench.emit(1)
    await bench.pass_time(130, 130)
    began = bench.clock.monotonic()
    assert (courier.status().health.failures, sink.got) == (8, [])
    order(bench, "replay")
    await until(bench, lambda: sink.got == [1, 1])
    assert bench.clock.monotonic() == began


async def test_an_order_that_comes_while_the_sink_is_probed_is_obeyed_after_the_probe(bench: Served) -> None:
    gate = asyncio.Event()

    async def answer_late(batch: Sequence[Event]) -> Any:
        await gate.wait()
        return PAUSE

    answers = iter([PAUSE, answer_late])
    courier, sink = bench.courier(
        lambda batch: one(batch) if callable(one := next(answers, None)) else one, timeout=10_000
    )
    await bench.emit(1)
    await bench.pass_time(3600)
    assert (len(sink.batches), courier.status().in_flight) == (2, 1)
    with structlog.testing.capture_logs() as logs:
        order(bench, "replay")
        await until(bench, lambda: courier.status().lag == 2)
        gate.set()
        await until(bench, lambda: sink.got == [1, 1] and not courier.status().lag)
    assert courier.status().state == "running"
    assert [line["event"] for line in logs].count("sink.woken") == 1, "it is one order"


async def test_a_second_request_is_an_order_too_while_the_first_waits(bench: Served) -> None:
    courier, sink = bench.courier(lambda batch: PAUSE, max_ahead=10)
    await bench.emit(*range(6_000))
    for tries in range(2, 5):
        order(bench, "replay")
        await until(bench, lambda tries=tries: len(sink.batches) == tries)  # type: ignore[misc]
    with opened(bench.spool.path) as look:
        assert len(look.orders()) == 3, "none of them can be served yet"
    assert courier.status().state == "paused"


def wake(bench: Served, sink: str = "sink0") -> None:
    with opened(bench.spool.path, "rw") as look:
        look.wake(sink)
    bench.serve()


@pytest.mark.parametrize("said", [PAUSE, Retry("429", after=3_000)])
async def test_a_wake_has_a_sink_that_waits_tried_at_once_and_repeats_nothing(
    bench: Served, said: Retry
) -> None:
    answers = iter([None, said])
    courier, sink = bench.courier(lambda batch: next(answers, None))
    await bench.emit("delivered")
    await bench.emit("waits")
    assert courier.status().lag == 1
    wake(bench)
    await until(bench, lambda: sink.got == ["delivered", "waits"] and not courier.status().lag)
    assert bench.clock.monotonic() == 0
    assert (courier.status().state, courier.status().counts.dead) == ("running", 0)
    await until(bench, lambda: not asked(bench))


async def test_a_wake_has_rooms_tried_that_wait_though_their_sink_works(bench: Served) -> None:
    sick = True
    courier, sink = bench.courier(
        lambda batch: [
            Retry("no", after=3_000) if sick and event.room == "sick" else DELIVERED for event in batch
        ]
    )
    await bench.emit("waits", room="sick")
    await bench.emit("goes", room="well")
    sick = False
    wake(bench)
    await until(bench, lambda: sink.got == ["goes", "waits"] and not courier.status().lag)


async def test_a_wake_of_a_sink_with_nothing_to_do_changes_nothing(bench: Served) -> None:
    courier, sink = bench.courier()
    await bench.emit("delivered")
    wake(bench)
    await until(bench, lambda: not asked(bench))
    assert (sink.got, courier.status().state) == (["delivered"], "running")


def asked(bench: Served) -> list[Order]:
    """The orders that are not done."""
    with opened(bench.spool.path) as look:
        return look.orders()
