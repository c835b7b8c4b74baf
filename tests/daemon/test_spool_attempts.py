"""The history of deliveries pushes out no events, and a restart knows of it what it needs."""

from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest

from tdbwatch.daemon.spool import Attempt, SqliteSpool

from .limits_bench import MakeSpool, events, rows_of, telling


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with telling(tmp_path) as make:
        yield make


async def tried(spool: SqliteSpool, attempts: Iterable[Attempt]) -> None:
    for number, attempt in enumerate(attempts):
        spool.note(attempt)
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


async def test_history_pushes_out_no_events_and_a_restart_knows_first_and_newest_failure_of_each(
    make: MakeSpool,
) -> None:
    spool = await make(max_size=2 << 20)
    spool.append(events(500, 1000))
    await spool.flush()
    await tried(spool, failures(range(1, 501), range(1, 61), "connection refused" * 3))
    assert (spool.dropped, spool.first_seq) == (0, 1)
    assert rows_of(spool, "attempts") < 4000
    await spool.close()
    failed = (await make(max_size=2 << 20)).history("s").failed
    assert len(failed) == 500
    assert {(past.attempts, past.first_us) for past in failed.values()} == {(60, 1000)}


async def test_what_was_delivered_beyond_the_cursor_is_known_after_its_attempts_had_to_go(
    make: MakeSpool,
) -> None:
    spool = await make(max_size=2 << 20)
    spool.append(events(5000, 20))
    await spool.flush()
    spool.advance("s", 100)
    delivered = [Attempt("s", (seq, seq + 1), 1, seq, 1, "delivered", "") for seq in range(201, 5000, 2)]
    await tried(spool, failures([101], [1]))
    await tried(spool, delivered)
    await tried(spool, failures([101], range(2, 2000)))
    assert spool.dropped == 0
    assert rows_of(spool, "attempts") < 2500
    await spool.close()
    history = (await make(max_size=2 << 20)).history("s")
    assert history.finished == set(range(201, 5001))
    assert {seq: (past.attempts, past.first_us) for seq, past in history.failed.items()} == {
        101: (1999, 1000)
    }


async def test_attempts_of_events_that_every_sink_has_go_first(make: MakeSpool) -> None:
    spool = await make(max_size=2 << 20)
    spool.append(events(2000, 20))
    await spool.flush()
    spool.advance("s", 1000)
    await tried(spool, failures(range(1001, 1301), [1, 2, 3]))
    await tried(spool, failures(range(1, 1001), [1, 2, 3]))
    with spool.inspect() as connection:
        query = "SELECT count(*), sum(last_seq > 1000) FROM attempts"
        total, needed = connection.execute(query).fetchone()
    assert total < 2500
    assert needed == 900
