"""Spools that are closed at the end of a test, and all that is in one."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import fields
from pathlib import Path
from typing import Any

from tdbwatch.daemon.spool import DamageReport, DeadLetter, Entry, Tally
from tdbwatch.daemon.spool.api import Progress
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.daemon.spool.stored.log import entries_of
from tdbwatch.daemon.spool.writer import Pace
from tdbwatch.plugin import Event

MakeSpool = Callable[..., Awaitable[SqliteSpool]]
QUICK = {"linger": 0.0, "retry": 0.01, "check": 0.01, "drops": 0.0}
"""A pace for tests that do not want to wait."""


class Heard:
    """What spools told of: drops and damage."""

    def __init__(self) -> None:
        self.drops: list[Tally] = []
        self.damages: list[DamageReport] = []

    def dropped(self, tally: Tally) -> None:
        self.drops.append(tally)

    def damaged(self, report: DamageReport) -> None:
        self.damages.append(report)


def spool_at(path: Path, **options: Any) -> SqliteSpool:
    """A spool, not yet open; of `options` those of `Limits` and `Pace` go there, at a quick pace."""
    paced, limited = QUICK | _taken(options, Pace), _taken(options, Limits)
    return SqliteSpool(path, Limits(**limited), pace=Pace(**paced), **options)


def _taken(options: dict[str, Any], kind: Any) -> dict[str, Any]:
    return {field.name: options.pop(field.name) for field in fields(kind) if field.name in options}


@asynccontextmanager
async def making(folder: Path, **defaults: Any) -> AsyncIterator[MakeSpool]:
    """A function that opens spools in this folder, with these options unless it is given others."""
    made: list[SqliteSpool] = []

    async def make(name: str = "spool.db", **options: Any) -> SqliteSpool:
        spool = spool_at(folder / name, **(defaults | options))
        await spool.open()
        made.append(spool)
        return spool

    yield make
    for spool in made:
        await spool.close()


def events(count: int, size: int = 0) -> list[Event]:
    """Events of one room, numbered, with `size` more characters each."""
    return [Event.create("alerts", "e", [number, "x" * size]) for number in range(count)]


async def keep(spool: SqliteSpool, sent: Sequence[Event]) -> None:
    """Append these, durable on return."""
    spool.append(heard(sent))
    await spool.flush()


async def look_now(spool: SqliteSpool) -> None:
    """Have a spool look at its file that does so seldom: no attack is to be seen when half of it is done."""
    spool._files._looked_at = float("-inf")
    await spool.flush()


async def dead_letter(spool: SqliteSpool, letters: Sequence[DeadLetter]) -> None:
    """Keep these letters; the progress of their sinks stays as it is."""
    for sink in {letter.sink: None for letter in letters}:
        own = [letter for letter in letters if letter.sink == sink]
        await spool.dead_letter(sink, spool.progress(sink).floor, {}, own)


async def everything(spool: SqliteSpool, after: int = 0) -> list[Entry]:
    """All entries, read in pieces."""
    found: list[Entry] = []
    while more := await spool.read(found[-1].seq if found else after, 1 << 20):
        found += [entry for block in more for entry in entries_of(block) if entry.seq > after]
    return found


def finished_through(one: Progress, lane: Lane) -> int:
    """The entries of this lane up to here are finished, every one."""
    return min([one.floor, *(behind.first_seq - 1 for name, behind in one.behind.items() if name == lane)])


def change(path: Path, *statements: str) -> None:
    """Change the file as no spool does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for sql in statements:
            connection.execute(sql)


def as_killed(path: Path, copy: Path) -> None:
    """Make a copy of a spool that is in use as `kill -9` would leave it now."""
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sqlite_master").fetchone()  # the writer begins no log anew that is read
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")


def ask(path: Path, sql: str) -> Any:
    """What the file says: the first column of the first row."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchone()[0]


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)
