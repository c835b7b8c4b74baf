"""Spools that tell of what they drop, and ways to fill and empty them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tdbwatch.daemon.spool import DropReport, SqliteSpool
from tdbwatch.plugin import Event

MakeSpool = Callable[..., Awaitable[SqliteSpool]]


class Teller:
    """Makes gap records of what was dropped, as the daemon does."""

    def __init__(self) -> None:
        self.spool: SqliteSpool | None = None
        self.reports: list[DropReport] = []

    def __call__(self, report: DropReport) -> None:
        self.reports.append(report)
        assert self.spool is not None
        self.spool.append(
            [gap(count, room=room, scope=scope) for (scope, room), count in report.rooms.items()]
        )


def gap(dropped: int | None, room: str = "alerts", scope: str = "//stuff") -> Event:
    details = {"since": "2026-11-23T07:24:00.000000Z", "until": "", "reason": "r", "dropped": dropped}
    return Event.create(room, "gap", kind="gap", scope=scope, details=details)


@asynccontextmanager
async def telling(folder: Path) -> AsyncIterator[MakeSpool]:
    """A function that opens spools in this folder whose drops become gap records at once."""
    made: list[SqliteSpool] = []

    async def make(name: str = "spool.db", **options: Any) -> SqliteSpool:
        defaults = {"linger": 0, "retry_interval": 0.01, "check_interval": 0.01, "sinks": ["s"]}
        defaults["read_first"] = 0
        teller = Teller()
        spool = SqliteSpool(folder / name, **(defaults | {"on_drop": teller, "drop_interval": 0} | options))
        teller.spool = spool
        await spool.open()
        made.append(spool)
        return spool

    yield make
    for spool in made:
        await spool.close()


def events(count: int, size: int = 1000) -> list[Event]:
    return [Event.create("alerts", "e", [number, "x" * size]) for number in range(count)]


async def fill(spool: SqliteSpool, groups: int) -> int:
    """Append groups of 100 events, and let the gap records come in between; how many events."""
    for _ in range(groups):
        spool.append(events(100))
        await spool.flush()
        await asyncio.sleep(0)
    return groups * 100


async def drain(spool: SqliteSpool, total: int) -> tuple[int, int]:
    """Be a sink that works again until all is accounted for: events, and what gap records count."""
    taken = told = 0
    async with asyncio.timeout(20):
        while taken + told < total:
            for entry in await spool.read(spool.cursor("s"), 1000, 1 << 22):
                if entry.event.kind == "gap":
                    told += entry.event.details["dropped"]
                else:
                    taken += 1
                spool.advance("s", entry.seq)
            await asyncio.sleep(0.001)
    return taken, told


def rows_of(spool: SqliteSpool, table: str) -> int:
    with spool.inspect() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
