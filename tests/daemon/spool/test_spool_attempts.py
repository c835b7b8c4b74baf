"""The history of deliveries pushes out no events, and says what it should as long as it is kept."""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tdbwatch.daemon.spool import Attempt
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.history import attempts_at

from .limits_kit import MakeSpool, events, rows_of, telling
from .spool_kit import ask, keep


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with telling(tmp_path) as make:
        yield make


async def tried(spool: SqliteSpool, attempts: Iterable[Attempt]) -> None:
    for number, attempt in enumerate(attempts):
        spool.note([attempt])
        if number % 500 == 499:
            await spool.flush()
    for _ in range(20):
        await spool.flush()


def failures(
    seqs: Iterable[int], numbers: Iterable[int], detail: str = "connection refused"
) -> Iterator[Attempt]:
    every = list(seqs)
    for number in numbers:
        for seq in every:
            yield Attempt("s", (seq,), number, 1000 * number, 1, "error", f"{detail} {number}")


async def test_history_pushes_out_no_events_and_the_newest_of_it_is_kept(make: MakeSpool) -> None:
    spool = await make(max_size=2 << 20)
    await keep(spool, events(500, 1000))
    await tried(spool, failures(range(1, 501), range(1, 61), "connection refused" * 3))
    assert (spool.drops.count, spool.first_seq) == (0, 1)
    assert 1000 < rows_of(spool, "attempts") < 4000
    assert ask(spool.path, "SELECT min(attempt) FROM attempts") > 50
    assert ask(spool.path, "SELECT max(attempt) FROM attempts") == 60


async def test_a_small_spool_keeps_events_rather_than_few_long_errors(make: MakeSpool) -> None:
    spool = await make(max_size=1 << 20)
    await keep(spool, events(400, 1000))
    for number in range(90):
        await tried(spool, failures([number + 1], range(1, 11), "x" * 1900))
    assert (spool.drops.count, spool.first_seq) == (0, 1)
    assert 30 < rows_of(spool, "attempts") < 100


async def test_more_attempts_than_memory_should_hold_are_not_kept(make: MakeSpool) -> None:
    spool = await make(linger=3600)
    for number in range(30):
        spool.note([Attempt("s", (1,), number, 1, 1, "error", "")] * 1000)
    await spool.flush()
    assert rows_of(spool, "attempts") == 20_000


async def test_what_was_tried_with_an_entry_is_found_whatever_it_was_tried_with(make: MakeSpool) -> None:
    spool = await make()
    await keep(spool, events(9))
    together = Attempt("s", (1, 2, 3, 5, 9), 1, 10, 1, "retry", "busy")
    alone = Attempt("s", (5,), 2, 20, 1, "delivered", "")
    spool.note([together, Attempt("s", (4, 6, 7), 1, 15, 1, "delivered", ""), alone])
    await spool.flush()
    with closing(sqlite3.connect(spool.path)) as connection:
        assert attempts_at(connection, 5) == [together, alone]
        assert attempts_at(connection, 9) == [together]
        assert attempts_at(connection, 8) == []
