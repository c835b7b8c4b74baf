"""What is given up when there is too much: counted to the last event, whatever becomes of the gap records."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tdbwatch.daemon.spool import Attempt, DeadLetter, DropReport, Entry, SpoolError, SqliteSpool
from tdbwatch.daemon.spool.alarms import Alarms
from tdbwatch.daemon.spool.browse import opened, stats
from tdbwatch.daemon.spool.drops import Tally
from tdbwatch.daemon.spool.leaps import SteadyTime
from tdbwatch.daemon.spool.pending import Pending
from tdbwatch.daemon.spool.schema import connect
from tdbwatch.daemon.spool.window import weigh, weight, weights_of
from tdbwatch.plugin import Event
from tdbwatch.plugin.event import format_time
from tdbwatch.testing import ManualClock

from .spool_bench import everything

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


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    made: list[SqliteSpool] = []

    async def make(name: str = "spool.db", **options: Any) -> SqliteSpool:
        defaults = {"linger": 0, "retry_interval": 0.01, "check_interval": 0.01, "sinks": ["s"]}
        teller = Teller()
        spool = SqliteSpool(tmp_path / name, **(defaults | {"on_drop": teller, "drop_interval": 0} | options))
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


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
async def test_gap_records_count_every_event_that_was_dropped_though_many_are_dropped_themselves(
    make: MakeSpool, when_full: str
) -> None:
    spool = await make(max_size=1 << 20, when_full=when_full)
    sent = await fill(spool, 40)
    taken, told = await drain(spool, sent)
    assert taken + told == sent
    assert told > 2000
    assert spool.dropped == told, "nothing counts twice in the metrics"


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
async def test_the_counts_are_right_over_kill_9_too(make: MakeSpool, tmp_path: Path, when_full: str) -> None:
    options: dict[str, Any] = {"max_size": 1 << 20, "when_full": when_full}
    spool = await make(**options)
    sent = await fill(spool, 30)
    for suffix in ("", "-wal"):  # what kill -9 leaves, in the midst of dropping
        shutil.copy(f"{spool.path}{suffix}", tmp_path / f"killed.db{suffix}")
    killed = await make("killed.db", **options)
    taken, told = await drain(killed, sent)
    assert taken + told == sent


async def test_a_full_spool_that_nobody_appends_to_is_quiet(make: MakeSpool) -> None:
    spool = await make(max_size=1 << 20, when_full="drop_newest")
    await fill(spool, 20)
    before = spool.dropped
    for _ in range(50):
        await spool.flush()
        await asyncio.sleep(0.001)
    assert spool.dropped == before > 0


async def test_a_stop_of_a_full_spool_leaves_the_count_to_the_next_start(make: MakeSpool) -> None:
    spool = await make(max_size=1 << 20, when_full="drop_newest")
    sent = await fill(spool, 20)
    await spool.close()
    again = await make(max_size=1 << 20, when_full="drop_newest")
    taken, told = await drain(again, sent)
    assert taken + told == sent


def test_a_gap_record_that_is_dropped_hands_on_its_count_and_its_beginning() -> None:
    tally = Tally("r").add_events([*events(2), gap(40)])
    assert (tally.count, tally.again) == (42, 40)
    assert tally.report().since_us == 1795418640000000
    assert Tally("r").add_events([gap(None)]).count == 1


def test_each_room_keeps_its_own_times_also_those_of_a_gap_record_that_was_dropped() -> None:
    heard = [Event.create("a", received_us=1_000_000), Event.create("b", received_us=3_000_000)]
    details = {"since": format_time(2_000_000), "until": format_time(4_000_000), "dropped": 7}
    later = Event.create("b", "gap", kind="gap", details=details, received_us=9_000_000)
    report = Tally("r").add_events([*heard, later]).report()
    assert report.times == {
        ("//stuff", "a"): (1_000_000, 1_000_000),
        ("//stuff", "b"): (2_000_000, 4_000_000),
    }
    assert (report.since_us, report.until_us) == (1_000_000, 4_000_000)


async def fill_rooms(spool: SqliteSpool, rooms: int) -> int:
    """Append small events of many rooms until the first are dropped; how many events."""
    total = 0
    while spool.first_seq == 1:
        spool.append([Event.create(f"room-{number % rooms}", "e", [number]) for number in range(rooms)])
        total += rooms
        await spool.flush()
    for _ in range(10):  # until it is as small as it should be
        await spool.flush()
    return total


async def test_gap_records_of_many_rooms_do_not_eat_a_full_spool_and_all_is_told_once_there_is_room(
    make: MakeSpool,
) -> None:
    spool = await make(max_size=1 << 20, check_interval=0.001)
    sent = await fill_rooms(spool, 1000)
    dropped = spool.dropped
    for _ in range(100):
        await spool.flush()
        await asyncio.sleep(0.001)
    assert (spool.dropped, spool.last_seq) == (dropped, sent), "nobody appends: nothing more goes"
    taken, told = await drain(spool, sent)
    assert (taken, told) == (sent - dropped, dropped)


async def test_what_waits_for_room_is_told_by_the_next_start_too(make: MakeSpool) -> None:
    spool = await make(max_size=1 << 20)
    sent = await fill_rooms(spool, 1000)
    await spool.close()
    again = await make(max_size=1 << 20)
    kept = again.entries
    taken, told = await drain(again, sent)
    assert (taken, told) == (kept, sent - kept)


async def test_a_full_spool_tells_of_many_drops_while_it_is_full(make: MakeSpool) -> None:
    teller = Teller()
    teller.spool = spool = await make(max_size=1 << 20, on_drop=teller)
    await fill(spool, 40)
    assert teller.reports, "also when no sink ever comes back"
    assert all(report.count - report.again >= 20 for report in teller.reports)


class Hands:
    """Stands in for the event loop's own clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: self.now)
        monkeypatch.setattr(loop, "call_later", self._call_later)

    def _call_later(self, wait: float, callback: Callable[[], None]) -> asyncio.Handle:
        self.timers.append((self.now + wait, callback))
        return asyncio.Handle(callback, (), asyncio.get_running_loop())

    def turn_to_timer(self) -> None:
        [(self.now, callback)] = self.timers
        self.timers.clear()
        callback()


async def test_reports_come_ever_more_seldom_while_drops_go_on_and_at_once_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hands, told = Hands(monkeypatch), list[float]()
    alarms = Alarms(
        Path("spool.db"),
        lambda _: told.append(hands.now),
        lambda _: None,
        lambda _: None,
        lambda: None,
        1.0,
        lambda: 1000,
        ManualClock(),
    )
    for _ in range(9):
        alarms.drop(Tally("max_size").add_events(events(1)))
        hands.turn_to_timer()
    assert [round(later - earlier) for earlier, later in pairwise([1000, *told])] == [
        *(1, 2, 4, 8, 16, 32),
        *(60, 60, 60),
    ]
    hands.now += 200
    alarms.drop(Tally("max_size").add_events(events(1)))
    assert hands.timers[0][0] == hands.now + 1


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


async def test_a_clock_that_goes_back_and_forth_drops_nothing_that_is_young_by_either(
    make: MakeSpool,
) -> None:
    spool = await make(max_age=3600)
    now_us = events(1)[0].received_us
    for shift in (0, -1800, 900, -900, 1800):
        spool.append([Event.create("alerts", received_us=now_us + int(shift * 1e6))])
        await spool.flush()
    found = await spool.read(0, 10, 1 << 20)
    assert [entry.seq for entry in found] == [1, 2, 3, 4, 5], "in the order in which they were heard"
    assert spool.dropped == 0


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


async def test_what_is_too_old_goes_also_where_a_full_spool_keeps_the_oldest(make: MakeSpool) -> None:
    clock = ManualClock()
    spool = await make(max_size=300_000, when_full="drop_newest", max_age=100, clock=clock)
    now_us = int(clock.time() * 1e6)
    old = [Event.create("alerts", "e", ["x" * 1000], received_us=now_us) for _ in range(100)]
    for _ in range(10):
        spool.append(old)
        await spool.flush()
    assert spool.dropped > 0
    await clock.advance(101)
    async with asyncio.timeout(20):
        while spool.first_seq == 1:
            await spool.flush()
    last = spool.last_seq
    spool.append([Event.create("alerts", received_us=int(clock.time() * 1e6))])
    await spool.flush()
    assert spool.last_seq > last, "it takes events again"


async def test_an_old_backlog_goes_without_a_pause_and_one_report_tells_of_it(make: MakeSpool) -> None:
    clock = ManualClock()
    now_us = int(clock.time() * 1e6)
    spool = await make(clock=clock, max_age=100)
    spool.append([Event.create(f"room-{number % 7}", received_us=now_us) for number in range(21_000)])
    await spool.close()
    await clock.advance(101)
    teller = Teller()
    teller.spool = again = await make(clock=clock, max_age=100, check_interval=3600, on_drop=teller)
    await again.flush()
    async with asyncio.timeout(20):
        while not teller.reports:
            await asyncio.sleep(0.001)
    assert [(report.reason, report.count, len(report.rooms)) for report in teller.reports] == [
        ("max_age", 21_000, 7)
    ]


class LeapingClock(ManualClock):
    """One whose wall clock can be set."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def test_a_clock_that_leaps_ahead_for_a_moment_drops_nothing(make: MakeSpool) -> None:
    clock = LeapingClock()
    spool = await make(clock=clock, max_age=100)
    now_us = int(clock.time() * 1e6)
    spool.append([Event.create("r", received_us=now_us) for _ in range(10)])
    await spool.flush()
    clock.ahead = 30 * 86_400
    for _ in range(10):
        await clock.advance(5)
        await spool.flush()
    clock.ahead = 0
    await spool.flush()
    await spool.flush()
    assert (spool.entries, spool.dropped) == (10, 0)


async def test_time_that_passes_counts_while_the_clock_is_ahead(make: MakeSpool) -> None:
    clock = LeapingClock()
    spool = await make(clock=clock, max_age=100)
    now_us = int(clock.time() * 1e6)
    spool.append([Event.create("r", received_us=now_us) for _ in range(10)])
    await spool.flush()
    clock.ahead = 30 * 86_400
    await spool.flush()
    await clock.advance(101)
    await spool.flush()
    await spool.flush()
    assert spool.dropped == 10


async def test_a_clock_that_stays_ahead_is_believed_after_ten_minutes() -> None:
    clock = LeapingClock()
    start, steady = clock.time(), SteadyTime(clock)
    clock.ahead = 30 * 86_400
    assert steady.now() == start
    await clock.advance(599)
    assert steady.now() == start + 599
    await clock.advance(1)
    assert steady.now() == start + 600 + 30 * 86_400


def test_a_clock_is_believed_that_goes_back_or_gains_little() -> None:
    clock = LeapingClock()
    start, steady = clock.time(), SteadyTime(clock)
    for ahead in (59, 118, -86_400):
        clock.ahead = ahead
        assert steady.now() == start + ahead


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


def rows_of(spool: SqliteSpool, table: str) -> int:
    with spool.inspect() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


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


def numbered(room: str, numbers: range) -> list[Event]:
    return [Event.create(room, "e", [number, "x" * 200]) for number in numbers]


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
async def test_what_every_sink_has_makes_room_though_a_sick_room_keeps_a_cursor_before_it(
    make: MakeSpool, when_full: str
) -> None:
    reports: list[DropReport] = []
    options = {"sinks": ["s", "t"], "on_drop": reports.append, "window": 0}
    spool = await make(max_size=2 << 20, when_full=when_full, **options)
    sick = numbered("sick", range(10))
    spool.append(sick)
    for start in range(0, 40_000, 1000):
        spool.append(numbered("well", range(start, start + 1000)))
        await spool.flush()
        spool.advance("t", spool.last_seq)
        spool.hold("s", Pending(spool.last_seq, {("//stuff", "sick"): 1}))  # the cursor of s stays at 0
    assert (spool.dropped, reports) == (0, [])
    found = await everything(spool)
    assert [entry.event for entry in found[:10]] == sick, "which s is still to get"
    assert len(found) < 20_000
    assert found[-1].event.args[0] == 39_999
    await spool.close()
    again = await make(max_size=2 << 20, **options)
    assert (again.entries, again.last_seq) == (len(found), 40_010)
    with opened(again.path) as connection:
        assert stats(connection, again.path).count == len(found)


async def test_what_a_sink_has_not_read_or_not_finished_is_not_what_makes_room(make: MakeSpool) -> None:
    reports: list[DropReport] = []
    spool = await make(max_size=2 << 20, sinks=["s", "t"], on_drop=reports.append, window=0)
    spool.append([*numbered("sick", range(1)), *numbered("well", range(4000))])
    await spool.flush()
    spool.hold("s", Pending(3000, {("//stuff", "sick"): 1, ("//stuff", "well"): 2001}))
    spool.advance("t", 4001)
    spool.append(numbered("well", range(4000, 9000)))
    await spool.flush()
    kept = {entry.seq for entry in await everything(spool)}
    gone = set(range(1, 9002)) - kept
    assert gone, "it was full"
    assert gone >= set(range(2, 2001)) or max(gone - {1}) <= 2000, "finished ones went first"
    assert spool.dropped == len(gone - set(range(2, 2001))), "and count as no loss"
