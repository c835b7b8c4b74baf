"""A spool, a clock, sinks that do as told, and couriers between them."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, cast

import pytest

from tdbwatch.daemon.couriers import Courier, CourierSettings
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.hosting.hosts import InlineHost
from tdbwatch.daemon.spool.api import Attempt, Progress
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.daemon.spool.stored.history import attempts_at
from tdbwatch.daemon.spool.stored.orders import Selection
from tdbwatch.daemon.spool.stored.progress import load
from tdbwatch.plugin import DELIVERED, Event, Retry, Sink, SinkContext
from tdbwatch.plugin.sink import Verdict
from tdbwatch.testing import ManualClock, settle
from tests.daemon.spool.memory_spool_kit import MemorySpool
from tests.daemon.spool.spool_kit import finished_through, spool_at

NO_JITTER = RetryPolicy(initial=1, factor=2, maximum=60, jitter=0)


class Scripted(Sink):
    """Calls a function for each batch, and keeps what it was given."""

    def __init__(self, answer: Callable[[Sequence[Event]], Any]) -> None:
        super().__init__(None, SinkContext("scripted"))
        self.answer = answer
        self.batches: list[list[Event]] = []
        self.taken: list[Event] = []

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        self.batches.append(list(batch))
        answer: Any = self.answer(batch)
        if asyncio.iscoroutine(answer):
            answer = await answer
        outcomes = answer if isinstance(answer, list) else [answer] * len(batch)
        self.taken += [
            event for event, o in zip(batch, outcomes, strict=False) if o is None or o == DELIVERED
        ]
        return cast("Verdict", answer)

    @property
    def got(self) -> list[Any]:
        return [event.args[0] for event in self.taken]

    @property
    def offered(self) -> list[list[Any]]:
        return [[event.args[0] for event in batch] for batch in self.batches]


def failing(argument: Any) -> Callable[[Event], Any]:
    """Fails for one event, and works for all others."""
    return lambda event: Retry("no") if event.args[0] == argument else DELIVERED


def in_order(batch: Sequence[Event], outcomes: list[Any]) -> list[Any]:
    """As a sink answers that keeps the order: what comes behind a refused event of its room is not taken."""
    refused: set[str] = set()
    for index, (event, outcome) in enumerate(zip(batch, outcomes, strict=False)):
        if event.room in refused:
            outcomes[index] = Retry("behind another")
        elif outcome != DELIVERED:
            refused.add(event.room)
    return outcomes


class Bench:
    """A spool, a clock, and couriers over them."""

    def __init__(self, spool: Any, clock: ManualClock) -> None:
        self.spool = spool
        self.clock = clock
        self.couriers: list[Courier] = []
        self._asked = 0
        if isinstance(spool, SqliteSpool):
            spool._reader.ask = self._noted(spool._reader.ask)  # type: ignore[method-assign]
            spool.dead_letter = self._noted(spool.dead_letter)  # type: ignore[method-assign]

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
        await self.append([Event.create(room, "e", [number]) for number in numbers])

    async def append(self, events: Sequence[Event]) -> None:
        self.spool.append(heard(events))
        await self.kept_up()

    async def pass_time(self, seconds: float, steps: int = 40) -> None:
        """Turn the clock, and let the spool's threads keep up."""
        for _ in range(steps):
            await self.clock.advance(seconds / steps)
            await self.kept_up()

    async def kept_up(self) -> None:
        """Return when couriers wait for nothing that the spool reads or writes for them."""
        await self.spool.flush()
        await settle()
        while self._asked:
            await asyncio.sleep(0.001)
            await settle()

    def _noted(self, ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def asking(*args: Any) -> Any:
            self._asked += 1
            try:
                return await ask(*args)
            finally:
                self._asked -= 1

        return asking

    async def finished(self, room: str = "alerts", sink: str = "sink0") -> int:
        """Up to where everything of this room is finished for this sink, as the spool knows it."""
        return finished_through(await self.progress(sink), Lane("//stuff", room))

    async def progress(self, sink: str = "sink0") -> Progress:
        """What this sink has finished, as the spool knows it."""
        await self.clock.advance(0.05)  # it is not saved more often than that
        await self.spool.flush()
        if isinstance(self.spool, MemorySpool):
            return self.spool.latest(sink)
        with closing(sqlite3.connect(self.spool.path)) as connection:
            return load(connection)[sink]

    async def letters(self) -> list[tuple[Any, ...]]:
        await self.spool.flush()
        with opened(self.spool.path) as look:
            return [
                (dead.sink, dead.entry.seq, dead.reason, dead.attempts, dead.first_error, dead.last_error)
                for dead in look.letters.some(Selection())
            ]

    async def attempts(self, seq: int) -> list[Attempt]:
        """The history of one entry."""
        await self.spool.flush()
        with closing(sqlite3.connect(self.spool.path)) as connection:
            return attempts_at(connection, seq)


@asynccontextmanager
async def run_over(path: Path, clock: ManualClock, **options: Any) -> AsyncIterator[Bench]:
    """One run over what may be there from earlier ones; it is stopped in order."""
    spool = spool_at(path, clock=clock, **options)
    await spool.open()
    bench = Bench(spool, clock)
    yield bench
    for courier in bench.couriers:
        await courier.stop(0)
    await spool.close()


@pytest.fixture
async def bench(path: Path) -> AsyncIterator[Bench]:
    async with run_over(path, ManualClock()) as bench:
        yield bench


@pytest.fixture
async def memory_bench() -> AsyncIterator[Bench]:
    """Over a spool that gives up what a test wants it to."""
    bench = Bench(MemorySpool(), ManualClock())
    yield bench
    for courier in bench.couriers:
        await courier.stop(0)
