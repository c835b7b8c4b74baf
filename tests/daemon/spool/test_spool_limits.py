"""What does not fit is given up, and nothing beside it: by a full disk, a full memory, a full file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tdbwatch.daemon.spool import DeadLetter, Entry, SpoolError
from tdbwatch.daemon.spool.file.disk import Space
from tdbwatch.daemon.spool.file.place import side
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

from .limits_kit import FullDisk, MakeSpool, Teller, drain, events, finish, rows_of, telling, trouble
from .spool_kit import ask, dead_letter, everything, keep, until


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with telling(tmp_path) as make:
        yield make


def told_of_nodes(count: int) -> list[Event]:
    details = {"node": "n", "reason": "x" * 9_000}
    return [Event.create("", "disconnected", kind="node", details=details) for _ in range(count)]


@pytest.mark.parametrize("full", [True, False])
async def test_records_of_nodes_and_rooms_are_no_events_that_are_lost(make: MakeSpool, full: bool) -> None:
    disk = FullDisk()
    spool = await make(connect=disk.connect)
    disk.limit()
    spool.append(heard([*told_of_nodes(2), *(events(30) if full else [])]))
    await trouble(spool)
    with capture_logs() as logs:
        await spool.close()
    said = [line["count"] for line in logs if line["event"] == "spool.dropped"]
    assert said == ([30] if full else [])
    teller = Teller()
    again = await make(listener=teller)
    await again.close()
    assert [(report.reason, report.count) for report in teller.drops] == (
        [("the disk did not take them", 30)] if full else []
    )


async def test_records_that_are_too_old_are_no_events_that_are_lost(make: MakeSpool) -> None:
    clock = ManualClock()
    spool = await make(clock=clock, max_age=100)
    old_us = int(clock.time() * 1e6)
    await keep(
        spool, [Event.create("r", received_us=old_us), Event.create("r", kind="room", received_us=old_us)]
    )
    await clock.advance(101)
    await keep(spool, [Event.create("r", received_us=int(clock.time() * 1e6))])
    assert (spool.first_seq, spool.drops.count) == (3, 1)


async def test_what_a_full_disk_drops_from_memory_is_counted_right(make: MakeSpool) -> None:
    disk = FullDisk()
    spool = await make(connect=disk.connect, max_held=1 << 18)
    disk.limit()
    for number in range(1000):
        spool.append(heard(events(1)))
        if number % 50 == 0:
            await asyncio.sleep(0)
    await trouble(spool)
    assert 100 < spool.held < 500
    disk.relieve()
    taken, told = await drain(spool, 1000)
    assert (taken + told, told) == (1000, spool.drops.count)


async def test_all_that_waits_for_the_disk_shows_as_held(make: MakeSpool) -> None:
    disk = FullDisk()
    spool = await make(connect=disk.connect)
    disk.limit()
    spool.append(heard(events(300)))
    await trouble(spool)
    spool.append(heard(events(20)))
    assert spool.held == 320
    disk.relieve()
    await spool.flush()
    assert spool.held == 0


async def on_a_full_disk(make: MakeSpool) -> tuple[SqliteSpool, Entry]:
    """A spool with three events, and 500 that the disk does not take; and the first of the three."""
    disk = FullDisk()
    spool = await make(connect=disk.connect)
    await keep(spool, events(3))
    [first, *_] = await everything(spool)
    disk.limit()
    spool.append(heard(events(500)))
    await trouble(spool)
    return spool, first


async def test_a_stop_while_the_disk_is_full_keeps_the_rest_and_the_count_of_what_is_lost(
    make: MakeSpool,
) -> None:
    spool, first = await on_a_full_disk(make)
    spool.save("s", 2, {})
    flushing = asyncio.create_task(spool.flush())
    burying = asyncio.create_task(dead_letter(spool, [DeadLetter("s", first, "r", 1, "", "", 1, 2)]))
    await asyncio.sleep(0)
    await spool.close()
    with pytest.raises(SpoolError, match="the disk did not take it"):
        await flushing
    await burying  # there is room for it in the file
    again = await make()
    assert rows_of(again, "dead_letters") == 1
    assert again.progress("s").floor == 2
    taken, told = await drain(again, 501)
    assert (taken, told) == (1, 500)


async def test_at_such_a_stop_what_is_too_large_takes_nothing_else_with_it(make: MakeSpool) -> None:
    spool, first = await on_a_full_disk(make)
    letter = DeadLetter("s", first, "r" * 1_000_000, 1, "", "", 1, 2)
    burying = asyncio.create_task(dead_letter(spool, [letter]))
    await asyncio.sleep(0)
    spool.save("t", 2, {})
    await spool.close()
    with pytest.raises(SpoolError, match="the disk did not take it"):
        await burying
    again = await make()
    assert rows_of(again, "dead_letters") == 0
    assert (again.progress("s").floor, again.progress("t").floor) == (0, 2)
    taken, told = await drain(again, 503)
    assert (taken, told) == (3, 500)


async def bury(spool: SqliteSpool, entries: list[Entry]) -> None:
    await dead_letter(spool, [DeadLetter("bad", entry, "r", 1, "", "", 1, 2) for entry in entries])


async def test_large_dead_letters_of_one_sink_do_not_drop_the_events_of_another(make: MakeSpool) -> None:
    spool = await make(max_size=1 << 20, sinks=["good", "bad"])
    for _ in range(40):
        before = spool.last_seq
        await keep(spool, events(10, 5000))
        await bury(spool, await everything(spool, after=before))
        finish(spool, "good", "bad")
    await keep(spool, sent := events(50, 100))
    await spool.flush()
    assert [entry.event for entry in await everything(spool, after=400)] == sent
    assert spool.drops.count == 0
    assert ask(spool.path, "SELECT max(seq) FROM dead_letters") == 400, "the newest are kept"
    assert 60 < ask(spool.path, "SELECT count(*) FROM dead_letters") < 105


async def test_dead_letters_that_come_and_go_push_out_no_older_ones(make: MakeSpool) -> None:
    spool = await make(max_dead_letters=10, sinks=["bad"])
    await keep(spool, events(2))
    first, second = await everything(spool)
    await bury(spool, [first])
    for _ in range(15):
        await bury(spool, [second])
        with closing(sqlite3.connect(spool.path)) as connection:  # as `spool drop` does
            connection.execute("DELETE FROM dead_letters WHERE seq = 2")
            connection.commit()
    assert ask(spool.path, "SELECT group_concat(seq) FROM dead_letters") == "1"


async def test_while_nothing_is_due_a_commit_asks_the_file_nothing(
    make: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Space, "_size_and_free", lambda _: (1 << 40, 1 << 40))  # with less it has to
    said: list[str] = []

    def told(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(said.append)
        return connection

    spool = await make(connect=told, clock=ManualClock(), check=3600.0)
    for _ in range(3):  # the limits are looked at first of all
        await keep(spool, events(1))
    said.clear()
    await keep(spool, events(1))
    assert [statement.split(" VALUES")[0] for statement in said] == [
        "BEGIN IMMEDIATE",
        "INSERT INTO blocks",
        "COMMIT",
    ]


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def bind(self, **_: Any) -> "Log":
        return self

    def error(self, event: str, **_: Any) -> None:
        self.said.append(event)

    warning = error


async def test_a_reader_that_keeps_the_log_from_being_emptied_is_an_alarm(make: MakeSpool) -> None:
    log = Log()
    spool = await make(log=log)
    await keep(spool, events(1))
    with closing(sqlite3.connect(spool.path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM blocks").fetchall()
        for _ in range(9):
            await keep(spool, events(16, 1 << 20))
        async with asyncio.timeout(20):
            while not log.said:
                await asyncio.sleep(0.01)
        assert log.said == ["spool.log_grows"]
        assert spool.alarms.log_bytes > 128 << 20
    await until(lambda: spool.alarms.log_bytes == 0)
    assert log.said == ["spool.log_grows", "spool.log_is_usual_again"]


async def test_a_reader_that_does_not_let_go_is_as_a_full_disk_once_the_log_is_at_its_bound(
    make: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdbwatch.daemon.spool.limits._LEAST_LOG", 1 << 20)
    spool = await make(max_size=1 << 22)
    await keep(spool, events(1))
    with closing(sqlite3.connect(spool.path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM blocks").fetchall()
        spool.append(heard(events(300, 10_000)))
        await until(lambda: spool.alarms.trouble)
        assert "another process reads the spool and does not let go of it" in (spool.alarms.trouble or "")
        most = side(spool.path, "-wal").stat().st_size
        assert spool.held
        spool.save("sink", 1, {})
        for _ in range(5):
            await asyncio.sleep(0.02)
        assert side(spool.path, "-wal").stat().st_size < most + (1 << 18), "the log grows no more"
    await spool.flush()
    await until(lambda: spool.alarms.trouble is None)
    assert len(await everything(spool)) == 301


async def test_an_event_larger_than_the_spool_is_dropped_and_told_of_and_the_next_one_flows(
    make: MakeSpool,
) -> None:
    spool = await make(max_size=1 << 20)
    await keep(spool, events(1, 3 << 20))
    taken, told = await drain(spool, 1)
    assert taken + told == 1
    await keep(spool, sent := events(1))
    assert sent[0] in [entry.event for entry in await everything(spool)]


async def test_names_of_events_weigh_too(make: MakeSpool) -> None:
    named = Event.create("alerts", "n" * 10_000)
    spool = await make(max_size=1 << 20)
    for _ in range(150):
        await keep(spool, [named])
    assert 60 < spool.entries < 110, "no more go than must"


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
async def test_one_event_that_is_too_large_for_the_spool_takes_no_others_with_it(
    make: MakeSpool, when_full: str
) -> None:
    teller = Teller()
    spool = await make(max_size=1 << 20, when_full=when_full, listener=teller)
    await keep(spool, [*events(300), *events(1, 1 << 20), *events(300)])
    assert await drain(spool, 601) == (600, 1)
    assert [(report.reason, report.count) for report in teller.drops] == [("too large for the spool", 1)]


async def test_one_event_that_memory_cannot_hold_takes_no_others_with_it(make: MakeSpool) -> None:
    spool = await make(max_held=100_000)
    await keep(spool, [*events(10, 10), *events(1, 200_000), *events(10, 10)])
    assert spool.drops.count == 1
    assert spool.last_seq >= 20


def impatient(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    connection.execute("PRAGMA busy_timeout = 1")
    return connection


async def test_a_stop_that_loses_no_event_says_of_none_that_it_is_lost(make: MakeSpool) -> None:
    with capture_logs() as logs:
        spool = await make(connect=impatient)
        await keep(spool, events(5))
        with closing(sqlite3.connect(spool.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            spool.save("s", 3, {})  # cannot be written; it gets them again
            await spool.close()
    assert [line for line in logs if line["event"] == "spool.dropped"] == []
