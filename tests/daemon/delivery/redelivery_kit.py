"""People who order, and sinks that get what they order."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from tdbwatch.clock import SystemClock
from tdbwatch.daemon.delivery.redelivery import Receiver, Redelivery
from tdbwatch.daemon.spool import DeadLetter
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored import orders
from tdbwatch.daemon.spool.stored.history import letters_after
from tdbwatch.daemon.spool.stored.orders import Order, OrderKind, Selection
from tdbwatch.plugin import Event
from tests.daemon.spool.spool_kit import dead_letter, everything, until


class Hasty(SystemClock):
    """Sleeps a moment, however long it is told to."""

    sleeps = 0

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        await asyncio.sleep(min(seconds, 0.003))

    async def idle(self) -> None:
        """All orders were looked at, and served as far as they would be: what serves them slept again."""
        before = self.sleeps
        await until(lambda: self.sleeps >= before + 2)


class Following:
    """Stands in for a courier: it reads, and finishes, when it is told to, or all the time.

    Attributes:
        got: the events of copies that it has read.
        woken: how often it was.
    """

    def __init__(self, spool: SqliteSpool, name: str = "s") -> None:
        self.spool, self.name = spool, name
        self.position = spool.progress(name).floor
        self.behind = 0
        self.got: list[Event] = []
        self.woken = 0

    @property
    def backlog(self) -> int:
        return self.behind or self.spool.last_seq - self.position

    def wake(self, *, rooms: bool = False) -> None:
        self.woken += 1

    async def take(self) -> None:
        """Read all that there is, and finish it."""
        while self.position < self.spool.last_seq:
            blocks = await self.spool.read(self.position, 1 << 20)
            for block in blocks:
                self.got += [
                    event
                    for seq, event in block.numbered()
                    if seq > self.position and block.target == self.name
                ]
            self.position = blocks[-1].last_seq if blocks else self.spool.last_seq
            self.spool.save(self.name, self.position, {})

    async def take_until(self, condition: Callable[[], object]) -> None:
        """Keep up until it holds."""
        async with asyncio.timeout(20):
            while not condition():
                await self.take()
                await asyncio.sleep(0.002)

    async def served(self) -> None:
        """Keep up until nothing is ordered any more, and all of it is here."""
        await self.take_until(lambda: not waiting(self.spool.path))
        await self.spool.flush()  # now the end of the log is heard of
        await self.take()

    @property
    def numbers(self) -> list[Any]:
        return [event.args[0] for event in self.got]


@asynccontextmanager
async def serving(
    spool: SqliteSpool, *couriers: Following, wants: Callable[[Event], bool] = lambda _: True
) -> AsyncIterator[Hasty]:
    """Orders for these are served meanwhile."""
    sinks = {courier.name: Receiver(courier, wants) for courier in couriers}
    clock = Hasty()
    task = asyncio.create_task(Redelivery(spool, sinks, clock).run())
    try:
        yield clock
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def order(path: Path, kind: OrderKind, sink: str = "s", **selection: Any) -> None:
    """Leave an order, as the commands do."""
    table, key = {"replay": ("blocks", "first_seq + count - 1"), "requeue": ("dead_letters", "number")}[kind]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        through = connection.execute(f"SELECT ifnull(max({key}), 0) FROM {table}").fetchone()[0]
        orders.insert(connection, kind, sink, Selection(**selection), through)


def waiting(path: Path) -> list[Order]:
    """The orders that are not done."""
    with closing(sqlite3.connect(path)) as connection:
        return orders.waiting(connection)


def letters_of(path: Path) -> list[DeadLetter]:
    with closing(sqlite3.connect(path)) as connection:
        return [letter for _, letter in letters_after(connection, 0, 1 << 60)]


async def bury(spool: SqliteSpool, count: int) -> None:
    """The first so many events are dead for `s`."""
    entries = (await everything(spool))[:count]
    await dead_letter(spool, [DeadLetter("s", entry, "r", 3, "a", "b", 1, 2) for entry in entries])
