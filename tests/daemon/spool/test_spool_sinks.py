"""Sinks that come and go while the spool is open, and limits that change."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tdbwatch.daemon.spool.api import Behind, Progress
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.stored.blocks import Lane
from tests.daemon.spool.spool_kit import MakeSpool, events, keep, making

ALERTS = Lane("//stuff", "alerts")


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with making(tmp_path, sinks=["a", "b"]) as made:
        yield made


def in_file(path: Path) -> dict[str, tuple[int, int | None]]:
    """By sink, its floor, and when it was gone."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT sink, floor, left_at FROM progress").fetchall()
    return {sink: (floor, left_at) for sink, floor, left_at in rows}


async def test_one_that_is_new_begins_at_the_end_and_one_that_is_gone_keeps_its_place(
    make: MakeSpool,
) -> None:
    spool = await make()
    await keep(spool, events(5))
    spool.save("a", 5, {})
    spool.save("b", 2, {ALERTS: Behind(1)})
    spool.use_sinks(["a", "c"], {"c": None})
    assert spool.progress("c") == Progress(5)
    spool.save("b", 3, {})  # what it still finished while it was closed
    await spool.flush()
    assert in_file(spool.path) == {"a": (5, None), "b": (3, 5), "c": (5, None)}
    left = await spool.left("b")
    assert left is not None
    spool.use_sinks(["a", "b"], {"b": left})
    assert spool.progress("b") == Progress(3, {ALERTS: Behind(1)})
    await spool.flush()
    assert in_file(spool.path)["b"] == (3, None)


async def test_one_that_the_file_does_not_know_any_more_is_new_whatever_memory_knows(make: MakeSpool) -> None:
    spool = await make()
    await keep(spool, events(5))
    spool.save("b", 2, {ALERTS: Behind(1)})
    spool.use_sinks(["a"], {})
    await spool.flush()
    spool.use_sinks(["a", "b"], {"b": None})
    await spool.flush()
    assert spool.progress("b") == Progress(5)
    with closing(sqlite3.connect(spool.path)) as connection:
        assert connection.execute("SELECT count(*) FROM behind WHERE sink = 'b'").fetchone() == (0,)


async def test_one_that_is_gone_holds_nothing_back(make: MakeSpool) -> None:
    spool = await make(max_size=1 << 20)
    spool.save("a", 0, {})
    for _ in range(40):
        await keep(spool, events(10, size=5_000))
        spool.save("a", spool.last_seq, {})
    assert spool.drops.count > 0, "b has got nothing"
    dropped = spool.drops.count
    spool.use_sinks(["a"], {})
    for _ in range(40):
        spool.save("a", spool.last_seq, {})
        await keep(spool, events(10, size=5_000))
        spool.save("a", spool.last_seq, {})
    assert spool.drops.count <= dropped + 20, "but what a had not got at that moment"


async def test_a_larger_limit_holds_at_once(make: MakeSpool) -> None:
    spool = await make(max_size=1 << 20, when_full="drop_newest")
    for _ in range(40):
        await keep(spool, events(10, size=5_000))
    assert spool.drops.count > 0
    spool.keep_to(Limits(max_size=1 << 30, when_full="drop_newest"))
    await spool.flush()
    await keep(spool, [])
    dropped, last = spool.drops.count, spool.last_seq
    await keep(spool, events(100, size=5_000))
    assert (spool.drops.count, spool.last_seq) == (dropped, last + 100)


async def test_whoever_watches_the_log_can_end_it(make: MakeSpool) -> None:
    spool = await make(max_size=1 << 20)
    told: list[int] = []
    end = spool.watch(lambda gone: told.append(len(gone)))
    for _ in range(40):
        await keep(spool, events(10, size=5_000))
    assert told
    end()
    end()
    before = len(told)
    for _ in range(40):
        await keep(spool, events(10, size=5_000))
    assert len(told) == before
