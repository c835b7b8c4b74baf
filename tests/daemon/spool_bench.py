"""Spools that are closed at the end of a test, and all that is in one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tdbwatch.daemon.spool import Entry, SqliteSpool
from tdbwatch.plugin import Event

MakeSpool = Callable[..., Awaitable[SqliteSpool]]


@asynccontextmanager
async def making(folder: Path, **defaults: Any) -> AsyncIterator[MakeSpool]:
    """A function that opens spools in this folder, with these options unless it is given others."""
    made: list[SqliteSpool] = []

    async def make(name: str = "spool.db", **options: Any) -> SqliteSpool:
        spool = SqliteSpool(
            folder / name, **({"linger": 0, "retry_interval": 0.01, "read_first": 0} | defaults | options)
        )
        await spool.open()
        made.append(spool)
        return spool

    yield make
    for spool in made:
        await spool.close()


def events(count: int, size: int = 0) -> list[Event]:
    """Events of one room, numbered, with `size` more characters each."""
    return [Event.create("alerts", "e", [number, "x" * size]) for number in range(count)]


async def everything(spool: SqliteSpool, after: int = 0) -> list[Entry]:
    """All entries, read in pieces."""
    found: list[Entry] = []
    while more := await spool.read(found[-1].seq if found else after, 100, 1 << 20):
        found += more
    return found
