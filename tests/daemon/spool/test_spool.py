"""The spool: what it promises while it runs, on real SQLite files."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.spool import DeadLetter, Loss, SpoolError, Tally
from tdbwatch.daemon.spool.api import Behind, Past
from tdbwatch.daemon.spool.file.lock import SpoolLock
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.daemon.spool.stored.log import between
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

from .limits_kit import FullDisk, trouble
from .spool_kit import Heard, MakeSpool, ask, dead_letter, everything, keep, making, until

ALERTS = Lane("//stuff", "alerts")


@pytest.fixture
async def make(tmp_path: Path, told: Heard) -> AsyncIterator[MakeSpool]:
    async with making(tmp_path, listener=told) as make:
        yield make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def events(count: int, *, room: str = "alerts", size: int = 0) -> list[Event]:
    return [Event.create(room, "e", [number, "x" * size]) for number in range(count)]


async def test_what_was_flushed_is_there_after_a_restart_with_the_same_ids(make: MakeSpool) -> None:
    spool = await make()
    sent = [
        Event.create("alerts", "disk-full", [1, b"\x00\xff", {"a": None}], room_id=3, arg_names=["n", "b"]),
        Event.create("", "", []),
        Event.create("ops", "gap", kind="gap", details={"dropped": None}),
        Event.create("späte", "\u2603", ["é"], scope="//überall"),
    ]
    await keep(spool, sent)
    await spool.close()
    again = await make()
    assert [entry.event for entry in await everything(again)] == sent
    assert (again.first_seq, again.last_seq) == (1, 4)


async def test_room_ids_and_numbers_of_64_bits_and_names_of_a_megabyte_come_back(make: MakeSpool) -> None:
    name = "ж" * (1 << 19)
    sent = [
        Event.create("r", name, [2**64 - 1, -(2**63)], room_id=2**64 - 1, arg_names=[name]),
        Event.create(name, "e", [], scope="//" + name),
        Event.create("r\x00r", "\x00", ["\x00"], room_id=0),
    ]
    spool = await make(window=1)
    await keep(spool, sent)
    assert [entry.event for entry in await everything(spool)] == sent
    assert [block.events for block in await spool.read_lane(Lane("//" + name, name), 0, 9, 1)] == [sent[1:2]]
    await spool.close()
    assert [entry.event for entry in await everything(await make())] == sent


async def test_memory_and_disk_give_the_same_entries(make: MakeSpool) -> None:
    spool = await make(window=1)
    for event in events(300):
        spool.append(heard([event]))
    await spool.flush()
    from_disk = await everything(spool)
    await spool.close()
    spool = await make()
    await keep(spool, events(5))
    assert await everything(spool, after=0) == from_disk + await everything(spool, after=300)


@pytest.mark.parametrize("window", [1, 1 << 24])
async def test_a_read_gives_whole_blocks_bounded_by_bytes_but_at_least_one(
    make: MakeSpool, window: int
) -> None:
    spool = await make(window=window)
    for count in (1, 20, 20, 20):
        await keep(spool, events(count, size=1000))

    async def read(after: int, max_bytes: int) -> list[tuple[int, int]]:
        return [(block.first_seq, block.last_seq) for block in await spool.read(after, max_bytes)]

    assert await read(0, 1 << 20) == [(1, 1), (2, 21), (22, 41), (42, 61)]
    assert await read(1, 25_000) == [(2, 21), (22, 41)]
    assert await read(10, 1) == [(2, 21)], "the one that has the next entry, from its beginning"
    assert await read(21, 1) == [(22, 41)]
    assert await read(60, 1 << 20) == [(42, 61)]
    assert await read(61, 1 << 20) == []


@pytest.mark.parametrize("window", [0, 1 << 24])
async def test_a_lane_is_read_and_counted_by_itself(make: MakeSpool, window: int) -> None:
    spool = await make(window=window)
    for _ in range(3):
        await keep(spool, [*events(2), *events(3, room="ops")])
    blocks = await spool.read_lane(ALERTS, 0, 15, 1 << 20)
    assert [(block.first_seq, block.last_seq) for block in blocks] == [(1, 2), (6, 7), (11, 12)]
    blocks = await spool.read_lane(ALERTS, 1, 10, 1 << 20)
    assert [(block.first_seq, block.last_seq) for block in blocks] == [(1, 2), (6, 7)]
    assert len(await spool.read_lane(ALERTS, 1, 10, 1)) == 1
    assert await spool.read_lane(ALERTS, 12, 15, 1 << 20) == []
    assert await spool.read_lane(Lane("//stuff", "nobody"), 0, 15, 1 << 20) == []
    counts = [await spool.count_lane(ALERTS, *span) for span in ((0, 15), (1, 15), (1, 6), (7, 10), (11, 12))]
    assert counts == [6, 5, 2, 0, 1]


@pytest.mark.parametrize("window", [0, 1 << 24])
async def test_a_lane_is_found_without_reading_the_others(make: MakeSpool, path: Path, window: int) -> None:
    await make(window=window)
    with sqlite3.connect(path) as connection:
        for lane in (None, ALERTS):
            terms, values = between(1, 9, lane)
            query = f"EXPLAIN QUERY PLAN SELECT * FROM blocks WHERE {terms} ORDER BY first_seq"
            plan = connection.execute(query, values).fetchall()
            assert not [step for *_, step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step]
    connection.close()


async def test_wait_after_returns_when_there_is_more(make: MakeSpool) -> None:
    spool = await make()
    waiting = asyncio.create_task(spool.wait_after(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    spool.append(heard(events(1)))
    await waiting
    assert spool.last_seq == 1


async def test_progress_survives_a_restart(make: MakeSpool) -> None:
    spool = await make()
    assert spool.progress("a").floor == 0
    await keep(spool, events(9))
    tried = (Past(1, 3, 5, "first \u2603", "last"), Past(2, 1, 6, "", ""))
    behind = Behind(2, ((4, 4), (7, 7)), tried)
    spool.save("a", 3, {ALERTS: behind})
    spool.save("a", 8, {Lane("//stuff", "gone"): None, Lane("", "x" * 1000): Behind(2**62)})
    await spool.close()
    progress = (await make()).progress("a")
    assert progress.floor == 8
    assert progress.behind == {ALERTS: behind, Lane("", "x" * 1000): Behind(2**62)}


async def test_the_progress_is_what_was_saved_last_before_it_is_durable(make: MakeSpool) -> None:
    spool = await make()
    progress = spool.progress("a")
    spool.save("a", 0, {ALERTS: Behind(1)})
    assert progress.behind == spool.progress("a").behind == {ALERTS: Behind(1)}


async def test_a_new_sink_starts_at_the_end_of_an_old_spool_and_at_the_start_of_a_new_one(
    make: MakeSpool,
) -> None:
    spool = await make(sinks=["first"])
    await keep(spool, events(3))
    assert spool.progress("first").floor == 0
    await spool.close()
    spool = await make(sinks=["first", "second"])
    assert spool.progress("second").floor == 3
    assert spool.progress("first").floor == 0
    await spool.close()
    spool = await make(sinks=["first", "second"])
    await keep(spool, events(1))
    assert spool.progress("second").floor == 3, "also if it never came so far as to say so itself"


async def test_dead_letters_are_durable_on_return(make: MakeSpool, path: Path) -> None:
    spool = await make()
    await keep(spool, events(1))
    [entry] = await everything(spool)
    await dead_letter(spool, [DeadLetter("hook", entry, "410", 3, "503", "410", 1, 2)])
    with sqlite3.connect(path) as connection:
        row = connection.execute("SELECT sink, seq, reason, attempts FROM dead_letters").fetchone()
    connection.close()
    assert row == ("hook", 1, "410", 3)


async def test_the_file_is_its_owners_alone(make: MakeSpool, tmp_path: Path) -> None:
    spool = await make()
    await keep(spool, events(1))
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


async def test_a_database_that_is_no_spool_is_refused_and_left_alone(make: MakeSpool, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "spool.db") as connection:
        connection.execute("CREATE TABLE precious(data)")
    connection.close()
    with pytest.raises(SpoolError, match="not a spool of tdbwatch"):
        await make()
    assert [name.name for name in tmp_path.iterdir()] == ["spool.db"]


async def test_a_place_that_cannot_be_written_is_refused(make: MakeSpool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot be opened"):
        await make("file/spool.db")


async def test_garbage_in_place_of_the_spool_is_moved_aside_and_a_new_one_begun(
    make: MakeSpool, path: Path, told: Heard
) -> None:
    await (await make()).close()
    path.write_bytes(b"garbage" * 1000)
    spool = await make()
    await keep(spool, events(2))
    assert len(await everything(spool)) == 2
    [report] = told.damages
    assert report.moved_to.read_bytes().startswith(b"garbage")
    assert report.moved_to.name.startswith("spool.db.damaged-")


def test_what_is_no_database_is_let_go_of_at_once(tmp_path: Path) -> None:
    file = tmp_path / "spool.db"
    file.write_bytes(b"garbage" * 1000)
    with pytest.raises(sqlite3.DatabaseError) as refused:  # whose traceback keeps all that it is about
        connect(file)
    held = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
    assert str(file.resolve()) not in held, refused.value


async def test_damage_while_running_keeps_the_numbers_the_progress_and_what_memory_holds(
    make: MakeSpool, path: Path, told: Heard
) -> None:
    spool = await make()
    sent = events(50)
    for event in sent:
        await keep(spool, [event])
    spool.save("a", 30, {ALERTS: Behind(21)})
    await spool.flush()
    with path.open("r+b") as file:
        file.write(os.urandom(1 << 16))
    await until(lambda: told.damages)
    more = events(3, size=100_000)
    await keep(spool, more)
    assert len(told.damages) == 1
    assert [entry.event for entry in await everything(spool, after=20)] == sent[20:] + more
    await spool.close()
    again = await make()
    progress = again.progress("a")
    assert (progress.floor, progress.behind) == (30, {ALERTS: Behind(21)})
    assert [entry.event for entry in await everything(again, after=20)] == sent[20:] + more


async def test_entries_beyond_the_age_limit_go_and_undelivered_ones_are_reported(
    make: MakeSpool, told: Heard
) -> None:
    clock = ManualClock()
    spool = await make(clock=clock, max_age=100, sinks=["a"])
    now_us = int(clock.time() * 1e6)
    await keep(spool, [Event.create("r", received_us=now_us + n) for n in range(5)])
    spool.save("a", 2, {})
    await spool.flush()
    await clock.advance(101)
    await keep(spool, [Event.create("r", received_us=int(clock.time() * 1e6))])
    await spool.close()
    assert told.drops == [Tally("max_age", {Lane("//stuff", "r"): Loss(3, now_us + 2, now_us + 4)})]
    assert spool.first_seq == 6


async def fill(spool: SqliteSpool, count: int) -> None:
    for _ in range(count):
        await keep(spool, events(100, size=1000))


async def test_a_full_spool_drops_the_oldest_and_counts_what_was_undelivered(
    make: MakeSpool, path: Path, told: Heard
) -> None:
    spool = await make(max_size=1 << 20, sinks=["slow"])
    await fill(spool, 60)
    await spool.close()
    assert sum(report.count for report in told.drops) == spool.first_seq - 1 > 2000
    assert spool.last_seq == 6000
    assert path.stat().st_size < 2 << 20


async def test_delivered_entries_go_silently(make: MakeSpool, told: Heard) -> None:
    spool = await make(max_size=1 << 20, sinks=["quick"])
    for _ in range(60):
        await fill(spool, 1)
        spool.save("quick", spool.last_seq, {})
    await spool.close()
    assert told.drops == []
    assert spool.first_seq > 1000


async def test_a_full_spool_refuses_the_newest_where_configured(make: MakeSpool, told: Heard) -> None:
    spool = await make(max_size=1 << 20, when_full="drop_newest", sinks=["slow"])
    await fill(spool, 60)
    kept = spool.last_seq
    assert spool.first_seq == 1
    assert 0 < kept < 2000
    spool.save("slow", kept, {})
    await fill(spool, 1)
    await asyncio.sleep(0)
    await fill(spool, 1)
    await spool.close()
    assert spool.last_seq > kept, "space again once the old ones are delivered"
    assert sum(report.count for report in told.drops) == 6200 - spool.last_seq


async def test_a_sink_that_is_gone_from_the_configuration_holds_nothing_back(
    make: MakeSpool, told: Heard
) -> None:
    await (await make(sinks=["gone", "here"])).close()
    spool = await make(max_size=1 << 20, when_full="drop_newest", sinks=["here"])
    for _ in range(60):
        await fill(spool, 1)
        spool.save("here", spool.last_seq, {})
    assert spool.last_seq == 6000
    assert told.drops == []
    await spool.close()
    assert (await make(sinks=["gone", "here"])).progress("gone").floor == 0, "in case it comes back"


async def test_numbers_are_never_used_twice_even_when_nothing_is_left(make: MakeSpool) -> None:
    clock = ManualClock()
    spool = await make(clock=clock, max_age=1)
    await keep(spool, [Event.create("r", received_us=0)])
    await spool.close()
    spool = await make(clock=clock)
    assert (spool.first_seq, spool.last_seq) == (2, 1)
    await keep(spool, events(1))
    assert [entry.seq for entry in await everything(spool)] == [2]


async def test_a_full_disk_holds_events_in_memory_and_writes_them_when_there_is_space(
    make: MakeSpool,
) -> None:
    disk = FullDisk()
    spool = await make(connect=disk.connect)
    await keep(spool, events(3))
    disk.limit()
    held = events(50, size=2000)
    spool.append(heard(held))
    assert "full" in await trouble(spool)
    assert spool.last_seq == 3
    disk.relieve()
    await spool.flush()
    assert not spool.alarms.trouble
    assert [entry.event for entry in await everything(spool, after=3)] == held


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
async def test_memory_is_bounded_while_the_disk_is_full(make: MakeSpool, told: Heard, when_full: str) -> None:
    disk = FullDisk()
    spool = await make(connect=disk.connect, max_held=1 << 16, when_full=when_full)
    disk.limit()
    spool.append(heard(first := events(5, size=2000)))
    await trouble(spool)
    sent = events(200, size=2000)
    for event in sent:
        spool.append(heard([event]))
    assert 20 < spool.held < 40
    disk.relieve()
    await spool.flush()
    await asyncio.sleep(0)
    kept = [entry.event for entry in await everything(spool)][len(first) :]
    assert kept == (sent[-len(kept) :] if when_full == "drop_oldest" else sent[: len(kept)])
    await spool.close()
    assert {report.reason for report in told.drops} == {"the disk did not take them"}
    assert sum(report.count for report in told.drops) == len(sent) - len(kept) == spool.drops.count


async def test_close_makes_durable_what_nobody_flushed(make: MakeSpool) -> None:
    spool = await make(linger=60)
    spool.append(heard(sent := events(10)))
    await spool.close()
    await spool.close()
    assert [entry.event for entry in await everything(await make())] == sent


async def test_a_closed_spool_says_so(make: MakeSpool) -> None:
    spool = await make(window=0)
    await keep(spool, events(2))
    await spool.close()
    with pytest.raises(SpoolError, match="closed"):
        await spool.flush()
    with pytest.raises(SpoolError, match="closed"):
        await spool.read(0, 1)


async def test_dead_letters_are_bounded(make: MakeSpool, path: Path) -> None:
    spool = await make(max_dead_letters=3)
    await keep(spool, events(10))
    for entry in await everything(spool):
        await dead_letter(spool, [DeadLetter("s", entry, "r", 1, "", "", 0, 0)])
    await spool.flush()
    assert ask(path, "SELECT group_concat(seq) FROM dead_letters") == "8,9,10"


LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT sum(count) FROM blocks").fetchone()[0])
connection.close()
"""


async def test_another_process_that_looks_and_goes_takes_nothing_away(
    make: MakeSpool, tmp_path: Path
) -> None:
    """Who closes any descriptor of an SQLite file drops its process's locks, and is robbed of its log."""

    def look() -> int:
        done = subprocess.run(
            [sys.executable, "-c", LOOK, tmp_path / "spool.db"], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    spool = await make(check=0)
    for turn in range(1, 4):
        await keep(spool, events(10))
        assert await asyncio.to_thread(look) == turn * 10
        assert (tmp_path / "spool.db-wal").exists()


class Mistaken(sqlite3.Connection):
    """Raises what no disk does."""

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        raise ZeroDivisionError


async def test_a_writer_that_dies_is_noticed_and_nothing_waits_for_it(make: MakeSpool) -> None:
    spool = await make(connect=lambda path: connect(path, Mistaken))
    spool.append(heard(events(1)))
    with pytest.raises(SpoolError, match="the writer died: ZeroDivisionError"):
        await spool.flush()
    with pytest.raises(SpoolError, match="the writer died"):
        await spool.failed
    with pytest.raises(SpoolError, match="the writer died"):
        await spool.flush()
    assert spool.alarms.trouble is not None
    await spool.unhurried()


async def test_a_close_that_nobody_waits_for_ends_all_the_same_once_the_disk_is_done(
    make: MakeSpool,
) -> None:
    gate = threading.Event()

    class Slow(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "COMMIT":
                gate.wait(30)
            return super().execute(sql, *values)

    gate.set()
    spool = await make(connect=lambda path: connect(path, Slow))
    gate.clear()
    spool.append(heard(events(1)))
    closing = asyncio.create_task(spool.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(SpoolError, match="another tdbwatch"):
        await make()
    gate.set()
    await until(lambda: SpoolLock(spool.path).holder() is None)
    assert len(await everything(await make())) == 1
