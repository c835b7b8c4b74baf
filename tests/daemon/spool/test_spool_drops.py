"""What is dropped is told of by gap records: to the last event, whatever becomes of the records."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.spool import Loss, Tally
from tdbwatch.daemon.spool.alarms import Alarms, DropReports, Pacing
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, run_of
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.plugin import Event
from tdbwatch.plugin.event import format_time
from tdbwatch.testing import ManualClock

from .limits_kit import MakeSpool, Teller, drain, events, fill, gap, telling
from .spool_kit import Heard, as_killed, keep


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with telling(tmp_path) as make:
        yield make


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
async def test_gap_records_count_every_event_that_was_dropped_though_many_are_dropped_themselves(
    make: MakeSpool, when_full: str
) -> None:
    spool = await make(max_size=1 << 20, when_full=when_full)
    sent = await fill(spool, 40)
    taken, told = await drain(spool, sent)
    assert taken + told == sent
    assert told > 2000
    assert spool.drops.count == told, "nothing counts twice in the metrics"


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
async def test_the_counts_are_right_over_kill_9_too(make: MakeSpool, tmp_path: Path, when_full: str) -> None:
    options: dict[str, Any] = {"max_size": 1 << 20, "when_full": when_full}
    spool = await make(**options)
    sent = await fill(spool, 30)
    as_killed(spool.path, tmp_path / "killed.db")  # in the midst of dropping
    killed = await make("killed.db", **options)
    taken, told = await drain(killed, sent)
    assert taken + told == sent


async def test_a_full_spool_that_nobody_appends_to_is_quiet(make: MakeSpool) -> None:
    spool = await make(max_size=1 << 20, when_full="drop_newest")
    await fill(spool, 20)
    before = spool.drops.count
    for _ in range(50):
        await spool.flush()
        await asyncio.sleep(0.001)
    assert spool.drops.count == before > 0


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
    assert [loss.since_us for loss in tally.rooms.values()] == [1795418640000000]
    assert Tally("r").add_events([gap(None)]).count == 1


def test_runs_count_as_their_events_do() -> None:
    told = [*events(3), gap(40), gap(None), Event.create("alerts", "left", kind="room", details={})]
    lane = Lane("//stuff", "alerts")
    runs = Tally("r").add_runs(lane, map(run_of, told))
    assert (runs, runs.count) == (Tally("r").add_events(told), 44)


def test_each_room_keeps_its_own_times_also_those_of_a_gap_record_that_was_dropped() -> None:
    heard = [Event.create("a", received_us=1_000_000), Event.create("b", received_us=3_000_000)]
    details = {"since": format_time(2_000_000), "until": format_time(4_000_000), "dropped": 7}
    later = Event.create("b", "gap", kind="gap", details=details, received_us=9_000_000)
    assert Tally("r").add_events([*heard, later]).rooms == {
        Lane("//stuff", "a"): Loss(1, 1_000_000, 1_000_000),
        Lane("//stuff", "b"): Loss(8, 2_000_000, 4_000_000, again=7),
    }


async def fill_rooms(spool: SqliteSpool, rooms: int) -> int:
    """Append small events of many rooms until the first are dropped; how many events."""
    total = 0
    while spool.first_seq == 1:
        await keep(spool, [Event.create(f"room-{number % rooms}", "e", [number]) for number in range(rooms)])
        total += rooms
    for _ in range(10):  # until it is as small as it should be
        await spool.flush()
    return total


async def test_gap_records_of_many_rooms_do_not_eat_a_full_spool_and_all_is_told_once_there_is_room(
    make: MakeSpool,
) -> None:
    spool = await make(max_size=1 << 20, check=0.001)
    sent = await fill_rooms(spool, 1000)
    dropped = spool.drops.count
    for _ in range(100):
        await spool.flush()
        await asyncio.sleep(0.001)
    assert (spool.drops.count, spool.last_seq) == (dropped, sent), "nobody appends: nothing more goes"
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


async def test_a_full_spool_that_takes_long_to_look_at_loses_nothing_to_gap_records_at_the_start(
    make: MakeSpool,
) -> None:
    spool = await make(max_size=1 << 20)
    sent = await fill_rooms(spool, 1000)
    await spool.close()
    looked = threading.Event()

    class Slow(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if "sum(" in sql and "FROM attempts" in sql:
                looked.wait(10)
            return super().execute(sql, *values)

    again = await make(max_size=1 << 20, connect=lambda path: connect(path, Slow))
    kept = again.entries
    await asyncio.sleep(0.05)
    looked.set()
    for _ in range(20):
        await again.flush()
        await asyncio.sleep(0.001)
    assert (again.drops.count, again.entries, again.last_seq) == (0, kept, sent)


async def test_a_full_spool_tells_of_many_drops_while_it_is_full(make: MakeSpool) -> None:
    teller = Teller()
    spool = await make(max_size=1 << 20, listener=teller)
    await fill(spool, 40)
    assert teller.drops, "also when no sink ever comes back"
    assert all(report.count - report.again >= 20 for report in teller.drops)


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

    class Told(Heard):
        def dropped(self, tally: Tally) -> None:
            told.append(hands.now)

    alarms = Alarms(Path("spool.db"), Told())
    drops = DropReports(alarms, str, lambda _: None, Pacing(1.0), lambda: 1000, ManualClock())
    for _ in range(9):
        drops.add(Tally("max_size").add_events(events(1)))
        hands.turn_to_timer()
    assert [round(later - earlier) for earlier, later in pairwise([1000, *told])] == [
        *(1, 2, 4, 8, 16, 32),
        *(60, 60, 60),
    ]
    hands.now += 200
    drops.add(Tally("max_size").add_events(events(1)))
    assert hands.timers[0][0] == hands.now + 1
