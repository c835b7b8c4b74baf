"""What does not fit is given up, and nothing beside it: by a full disk, a full memory, a full file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tdbwatch.daemon.spool.browse import opened, stats
from tdbwatch.daemon.spool.schema import connect

from tdbwatch.daemon.spool import DeadLetter, Entry, SpoolError, SqliteSpool
from tdbwatch.daemon.spool.window import weigh, weight, weights_of
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

from .limits_bench import MakeSpool, Teller, drain, events, rows_of, telling


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with telling(tmp_path) as make:
        yield make


def told_of_nodes(count: int) -> list[Event]:
    details = {"node": "n", "reason": "x" * 9_000}
    return [Event.create("", "disconnected", kind="node", details=details) for _ in range(count)]


@pytest.mark.parametrize("full", [True, False])
async def test_records_of_nodes_and_rooms_are_no_events_that_are_lost(make: MakeSpool, full: bool) -> None:
    disk = Disk()
    spool = await make(connect=disk.connect)
    disk.limit(1)
    spool.append([*told_of_nodes(2), *(events(30) if full else [])])
    await trouble(spool)
    with capture_logs() as logs:
        await spool.close()
    said = [line["count"] for line in logs if line["event"] == "spool.dropped"]
    assert said == ([30] if full else [])
    teller = Teller()
    teller.spool = again = await make(on_drop=teller)
    await again.close()
    assert [(report.reason, report.count) for report in teller.reports] == (
        [("the disk did not take them", 30)] if full else []
    )


async def test_records_that_are_too_old_are_no_events_that_are_lost(make: MakeSpool) -> None:
    clock = ManualClock()
    spool = await make(clock=clock, max_age=100)
    old_us = int(clock.time() * 1e6)
    spool.append([Event.create("r", received_us=old_us), Event.create("r", kind="room", received_us=old_us)])
    await spool.flush()
    await clock.advance(101)
    spool.append([Event.create("r", received_us=int(clock.time() * 1e6))])
    await spool.flush()
    assert (spool.first_seq, spool.dropped) == (3, 1)


class Disk:
    """Real connections whose file may not grow while the disk is full."""

    def __init__(self) -> None:
        self.connections: list[sqlite3.Connection] = []

    def connect(self, path: Path) -> sqlite3.Connection:
        self.connections.append(connect(path))
        return self.connections[-1]

    def limit(self, pages: int) -> None:
        self.connections[-1].execute(f"PRAGMA max_page_count = {pages}").fetchone()


async def trouble(spool: SqliteSpool) -> None:
    async with asyncio.timeout(20):
        while spool.trouble is None:
            await asyncio.sleep(0.001)


async def test_what_a_full_disk_drops_from_memory_is_counted_right(make: MakeSpool) -> None:
    disk = Disk()
    spool = await make(connect=disk.connect, max_held=1 << 18)
    disk.limit(1)
    for number in range(1000):
        spool.append(events(1))
        if number % 50 == 0:
            await asyncio.sleep(0)
    await trouble(spool)
    assert 100 < spool.held < 400
    disk.limit(1 << 30)
    taken, told = await drain(spool, 1000)
    assert (taken + told, told) == (1000, spool.dropped)


async def test_all_that_waits_for_the_disk_shows_as_held(make: MakeSpool) -> None:
    disk = Disk()
    spool = await make(connect=disk.connect)
    disk.limit(1)
    spool.append(events(300))
    await trouble(spool)
    spool.append(events(20))
    assert spool.held == 320
    disk.limit(1 << 30)
    await spool.flush()
    assert spool.held == 0


async def test_a_stop_while_the_disk_is_full_keeps_the_rest_and_the_count_of_what_is_lost(
    make: MakeSpool,
) -> None:
    disk = Disk()
    spool = await make(connect=disk.connect)
    spool.append(events(3))
    await spool.flush()
    [first, *_] = await spool.read(0, 1, 1 << 20)
    disk.limit(1)
    spool.append(events(500))
    await trouble(spool)
    spool.advance("s", 2)
    flushing = asyncio.create_task(spool.flush())
    burying = asyncio.create_task(spool.dead_letter([DeadLetter("s", first, "r", 1, "", "", 1, 2)]))
    await asyncio.sleep(0)
    await spool.close()
    with pytest.raises(SpoolError, match="the disk did not take it"):
        await flushing
    await burying  # there is room for it in the file
    again = await make()
    assert rows_of(again, "dead_letters") == 1
    assert again.cursor("s") == 2
    taken, told = await drain(again, 501)
    assert (taken, told) == (1, 500)


async def bury(spool: SqliteSpool, entries: list[Entry]) -> None:
    await spool.dead_letter([DeadLetter("bad", entry, "r", 1, "", "", 1, 2) for entry in entries])


async def test_large_dead_letters_of_one_sink_do_not_drop_the_events_of_another(make: MakeSpool) -> None:
    spool = await make(max_size=1 << 20, sinks=["good", "bad"])
    for _ in range(40):
        spool.append(events(10, 5000))
        await spool.flush()
        await bury(spool, await spool.read(spool.cursor("bad"), 100, 1 << 22))
        spool.advance("bad", spool.last_seq)
        spool.advance("good", spool.last_seq)
    spool.append(sent := events(50, 100))
    await spool.flush()
    await spool.flush()
    found = await spool.read(spool.cursor("good"), 1000, 1 << 22)
    assert [entry.event for entry in found] == sent
    assert spool.dropped == 0
    with opened(spool.path) as connection:
        kept = connection.execute("SELECT max(seq), count(*) FROM dead_letters").fetchone()
    assert kept[0] == 400, "the newest are kept"
    assert 60 < kept[1] < 105


async def test_dead_letters_that_come_and_go_push_out_no_older_ones(make: MakeSpool) -> None:
    spool = await make(max_dead_letters=10, sinks=["bad"])
    spool.append(events(2))
    await spool.flush()
    first, second = await spool.read(0, 2, 1 << 20)
    await bury(spool, [first])
    for _ in range(15):
        await bury(spool, [second])
        with closing(sqlite3.connect(spool.path)) as connection:  # as `spool drop` does
            connection.execute("DELETE FROM dead_letters WHERE seq = 2")
            connection.commit()
    with opened(spool.path) as connection:
        assert connection.execute("SELECT seq FROM dead_letters").fetchall() == [(1,)]


async def test_the_numbers_of_a_long_log_are_had_without_reading_it(make: MakeSpool) -> None:
    spool = await make()
    spool.append(events(20_000, 10))
    await spool.flush()
    instructions = 0

    def count() -> int:
        nonlocal instructions
        instructions += 100
        return 0

    with opened(spool.path) as connection:
        connection.set_progress_handler(count, 100)
        found = stats(connection, spool.path)
    assert (found.count, found.first_seq, found.last_seq) == (20_000, 1, 20_000)
    assert found.oldest_us is not None
    assert found.newest_us is not None
    assert found.oldest_us <= found.newest_us
    assert instructions < 10_000


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def error(self, event: str, **_: Any) -> None:
        self.said.append(event)


async def test_a_reader_that_keeps_the_log_from_being_emptied_is_an_alarm(make: MakeSpool) -> None:
    log = Log()
    spool = await make(log=log)
    spool.append(events(1))
    await spool.flush()
    with closing(sqlite3.connect(spool.path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM events").fetchall()
        for _ in range(9):
            spool.append(events(16, 1 << 20))
            await spool.flush()
        async with asyncio.timeout(20):
            while not log.said:
                await asyncio.sleep(0.01)
    assert log.said == ["spool.log_grows"]


async def test_an_event_larger_than_the_spool_is_dropped_and_told_of_and_the_next_one_flows(
    make: MakeSpool,
) -> None:
    spool = await make(max_size=1 << 20)
    spool.append(events(1, 3 << 20))
    await spool.flush()
    taken, told = await drain(spool, 1)
    assert taken + told == 1
    spool.append(sent := events(1))
    await spool.flush()
    found = [entry.event for entry in await spool.read(spool.cursor("s"), 10, 1 << 22)]
    assert sent[0] in found


async def test_names_of_events_weigh_too(make: MakeSpool) -> None:
    named = Event.create("alerts", "n" * 10_000)
    assert weigh([Entry(1, named)]) == weight(named) == weights_of([named])[0] > 10_000
    spool = await make(max_size=1 << 20)
    for _ in range(150):
        spool.append([named])
        await spool.flush()
    assert 60 < spool.entries < 110, "no more go than must"


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
async def test_one_event_that_is_too_large_for_the_spool_takes_no_others_with_it(
    make: MakeSpool, when_full: str
) -> None:
    teller = Teller()
    teller.spool = spool = await make(max_size=1 << 20, when_full=when_full, on_drop=teller)
    spool.append([*events(300), *events(1, 1 << 20), *events(300)])
    await spool.flush()
    assert await drain(spool, 601) == (600, 1)
    assert [(report.reason, report.count) for report in teller.reports] == [("too large for the spool", 1)]


async def test_one_event_that_memory_cannot_hold_takes_no_others_with_it(make: MakeSpool) -> None:
    spool = await make(max_held=100_000)
    spool.append([*events(10, 10), *events(1, 200_000), *events(10, 10)])
    await spool.flush()
    assert spool.dropped == 1
    assert spool.last_seq >= 20


def impatient(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    connection.execute("PRAGMA busy_timeout = 1")
    return connection


async def test_a_stop_that_loses_no_event_says_of_none_that_it_is_lost(make: MakeSpool) -> None:
    with capture_logs() as logs:
        spool = await make(connect=impatient)
        spool.append(events(5))
        await spool.flush()
        with closing(sqlite3.connect(spool.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            spool.advance("s", 3)  # cannot be written; it gets them again
            await spool.close()
    assert [line for line in logs if line["event"] == "spool.dropped"] == []
