"""Spools that tell of what they drop, and ways to fill and empty them."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from tdbwatch.daemon.spool import Tally
from tdbwatch.daemon.spool.api import Behind
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.plugin import Event

from .spool_kit import Heard, MakeSpool, keep, making


class Teller(Heard):
    """Makes gap records of what was dropped, as the daemon does."""

    spool: SqliteSpool | None = None

    def dropped(self, tally: Tally) -> None:
        super().dropped(tally)
        assert self.spool is not None
        gaps = [gap(loss.count, room=room, scope=scope) for (scope, room), loss in tally.rooms.items()]
        self.spool.append(heard(gaps))


def gap(dropped: int | None, room: str = "alerts", scope: str = "//stuff") -> Event:
    details = {"since": "2026-11-23T07:24:00.000000Z", "until": "", "reason": "r", "dropped": dropped}
    return Event.create(room, "gap", kind="gap", scope=scope, details=details)


@asynccontextmanager
async def telling(folder: Path) -> AsyncIterator[MakeSpool]:
    """A function that opens spools in this folder, of a sink `s`, whose drops become gap records."""
    async with making(folder, sinks=["s"]) as make:

        async def make_telling(name: str = "spool.db", **options: Any) -> SqliteSpool:
            listener = options.setdefault("listener", Teller())
            spool = await make(name, **options)
            listener.spool = spool
            return spool

        yield make_telling


def events(count: int, size: int = 1000) -> list[Event]:
    return [Event.create("alerts", "e", [number, "x" * size]) for number in range(count)]


async def fill(spool: SqliteSpool, groups: int) -> int:
    """Append groups of 100 events, and let the gap records come in between; how many events."""
    for _ in range(groups):
        await keep(spool, events(100))
        await asyncio.sleep(0)
    return groups * 100


def finish(spool: SqliteSpool, *sinks: str, behind: Mapping[Lane, Behind | None] | None = None) -> None:
    """These sinks have all that there is."""
    for sink in sinks or ("s",):
        spool.save(sink, spool.last_seq, behind or {})


async def drain(spool: SqliteSpool, total: int) -> tuple[int, int]:
    """Be a sink that works again until all is accounted for: events, and what gap records count."""
    taken = told = 0
    position = spool.progress("s").floor
    async with asyncio.timeout(20):
        while taken + told < total:
            for block in await spool.read(position, 1 << 20):
                fresh = [event for seq, event in block.numbered() if seq > position]
                gaps = [event.details["dropped"] for event in fresh if event.kind == "gap"]
                taken, told = taken + len(fresh) - len(gaps), told + sum(gaps)
                position = block.last_seq
            spool.save("s", position, {})
            await asyncio.sleep(0.001)
    return taken, told


def rows_of(spool: SqliteSpool, table: str) -> int:
    with closing(sqlite3.connect(spool.path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


class FullDisk:
    """Real connections whose file may not grow while the disk is full."""

    def __init__(self) -> None:
        self.connections: list[sqlite3.Connection] = []

    def connect(self, path: Path) -> sqlite3.Connection:
        self.connections.append(connect(path))
        return self.connections[-1]

    def limit(self, pages: int = 1) -> None:
        self.connections[-1].execute(f"PRAGMA max_page_count = {pages}").fetchone()

    def relieve(self) -> None:
        self.limit(1 << 30)


async def trouble(spool: SqliteSpool) -> str:
    """Wait for the disk to refuse; why it does."""
    async with asyncio.timeout(20):
        while spool.alarms.trouble is None:
            await asyncio.sleep(0.001)
    return spool.alarms.trouble
