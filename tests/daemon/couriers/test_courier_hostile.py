"""Plugins that answer or raise what nobody foresaw: their own events suffer, nothing else does."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.couriers import Courier, CourierSettings, delivery
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.hosting.hosts import InlineHost
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.history import attempts_at
from tdbwatch.daemon.spool.stored.orders import Selection
from tdbwatch.plugin import DELIVERED, Delivered, Event, Rejected, Retry, Sink, SinkContext
from tdbwatch.testing import ManualClock, settle
from tests.daemon.spool.spool_kit import spool_at

LONE = "\udcff"
"""Half a character, as `os.fsdecode` makes of a file name that is not UTF-8: no encoding holds it."""
Answer = Callable[[Sequence[Event]], Any]


class Acting(Sink):
    """Calls a function for each batch."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(None, SinkContext("hostile"))
        self.answer = answer

    async def deliver(self, batch: Sequence[Event]) -> Any:
        return self.answer(batch)


class Bench:
    """One event of room `sick`, which the sink treats as told, and one of `well`, which it takes."""

    def __init__(self, spool: SqliteSpool, clock: ManualClock) -> None:
        self.spool = spool
        self.clock = clock
        self.courier: Courier
        self.task: asyncio.Task[None]

    async def offer(self, answer: Answer) -> None:
        """Let the courier have three attempts."""
        policy = RetryPolicy(initial=1, factor=1, jitter=0, max_attempts=3)
        host = InlineHost(lambda: Acting(answer), name="hostile", timeout=5, clock=self.clock)
        settings = CourierSettings("hostile", "acting", retry=policy)
        rng = random.Random(1)
        self.courier = Courier(settings, host, self.spool, lambda event: True, self.clock, rng)
        self.task = self.courier.start()
        self.spool.append(heard([Event.create("sick", "e", ["sick"])]))
        for _ in range(4):
            await self.spool.flush()
            await self.clock.advance(1)

    async def check(self) -> list[tuple[str, str]]:
        """The courier and the spool work on; the dead letters' reasons and last errors."""
        assert not self.task.done()
        assert not self.spool.failed.done()
        self.spool.append(heard([Event.create("well", "e", ["well"])]))
        await self.spool.flush()
        await settle()
        assert self.courier.status().lag == 0
        with opened(self.spool.path) as look:
            return [(dead.reason, dead.last_error) for dead in look.letters.some(Selection())]


@pytest.fixture
async def bench(path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    spool = spool_at(path, clock=clock)
    await spool.open()
    bench = Bench(spool, clock)
    yield bench
    await bench.courier.stop(0)
    await spool.close()


def sick(batch: Sequence[Event]) -> bool:
    return batch[0].room == "sick"


anything: Any = object()
"""For fields that type checkers would not let through; plugins are not checked."""


@pytest.mark.parametrize(
    ("verdict", "complaint"),
    [
        (Retry(anything), "it returned Retry with a object for text"),
        (Rejected(anything), "it returned Rejected with a object for text"),
        ([Rejected(anything)], "it returned Rejected with a object for text"),
        ([Delivered(anything)], "it returned Delivered with a object for text"),
        (Retry("busy", after=anything), "it returned Retry with a object for seconds in after"),
        (Retry("busy", after=anything, pause=True), "it returned Retry with a object for seconds in after"),
        (iter([DELIVERED]), "it returned a list_iterator where"),
        ({DELIVERED}, "it returned a set where"),
    ],
)
async def test_an_answer_of_wrong_types_is_a_failure_like_any_other(
    bench: Bench, verdict: Any, complaint: str
) -> None:
    await bench.offer(lambda batch: verdict if sick(batch) else None)
    [(reason, error)] = await bench.check()
    assert reason == "gave up after 3 attempts"
    assert complaint in error


class Sly(Retry):
    """An outcome of the plugin's own."""


@pytest.mark.parametrize("verdict", [Sly("busy"), Retry("busy", after=10**400), Retry("busy", after=True)])
async def test_unusual_answers_that_make_sense_are_taken(bench: Bench, verdict: Any) -> None:
    await bench.offer(lambda batch: verdict if sick(batch) else None)
    assert not bench.task.done()
    assert bench.courier.status().health.last_error == "busy"
    with closing(sqlite3.connect(bench.spool.path)) as connection:
        assert {attempt.outcome for attempt in attempts_at(connection, 1)} == {"retry"}


async def test_text_that_no_encoding_holds_is_kept_as_well_as_it_can_be(bench: Bench) -> None:
    await bench.offer(lambda batch: Rejected(f"no file {LONE}") if sick(batch) else None)
    assert await bench.check() == [("no file \\udcff", "no file \\udcff")]


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError(LONE), "ValueError: \\udcff"),
        (Mute(), "<exception str() failed>"),
        (SyntaxError("x", ("f", 1, 1, anything, 1, 1)), "SyntaxError"),
        (ExceptionGroup("several", [ValueError(LONE)]), "ExceptionGroup: several"),
        (RecursionError("deep"), "RecursionError: deep"),
        (MemoryError(), "MemoryError"),
    ],
)
async def test_whatever_is_raised_is_said_somehow(bench: Bench, error: Exception, said: str) -> None:
    def answer(batch: Sequence[Event]) -> None:
        if sick(batch):
            raise error

    await bench.offer(answer)
    [(reason, last_error)] = await bench.check()
    assert reason == "gave up after 3 attempts"
    assert said in last_error


async def test_the_batch_is_the_sinks_own_to_change(bench: Bench) -> None:
    def answer(batch: Any) -> Any:
        verdict = Rejected("emptied") if sick(batch) else None
        batch.clear()
        return verdict

    await bench.offer(answer)
    assert await bench.check() == [("emptied", "emptied")]


async def test_a_mistake_of_ours_is_not_said_to_be_the_sinks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(events: Sequence[Event]) -> dict[int, Rejected]:
        return {0: Rejected(str({}[events[0].room]))} if sick(events) else {}

    monkeypatch.setattr(delivery, "MOST_VALUES", 0)
    monkeypatch.setattr(delivery, "too_large", mistaken)
    called: list[str] = []
    await bench.offer(lambda batch: called.append(batch[0].room))
    assert not bench.courier.status().health.mistake
    [(reason, error)] = await bench.check()
    assert (reason, called) == ("gave up after 3 attempts", ["well"])
    assert error == "it was not called, by a mistake of tdbwatch: KeyError: 'sick'"


async def test_a_huge_message_is_cut_before_it_costs_anything(bench: Bench) -> None:
    await bench.offer(lambda batch: Rejected("x" * 50_000_000) if sick(batch) else None)
    [(reason, _)] = await bench.check()
    assert len(reason) == 2_000
