"""The spool: what it promises while it runs, on real SQLite files."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tdbwatch.daemon.spool.schema import connect

from tdbwatch.daemon.spool import DeadLetter, DropReport, SpoolError, SqliteSpool
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

from .spool_bench import MakeSpool, everything, making


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with making(tmp_path) as make:
        yield make


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
    spool.append(sent)
    await spool.flush()
    await spool.close()
    again = await make()
    assert [entry.event for entry in await everything(again)] == sent
    assert (again.first_seq, again.last_seq) == (1, 4)


async def test_memory_and_disk_give_the_same_entries(make: MakeSpool) -> None:
    spool = await make(window=1)
    for event in events(300):
        spool.append([event])
    await spool.flush()
    from_disk = await everything(spool)
    await spool.close()
    spool = await make()
    spool.append(events(5))
    await spool.flush()
    assert await everything(spool, after=0) == from_disk + await everything(spool, after=300)


@pytest.mark.parametrize("window", [1, 1 << 24])
async def test_a_read_is_bounded_by_count_and_bytes_but_gives_at_least_one(
    make: MakeSpool, window: int
) -> None:
    spool = await make(window=window)
    spool.append(events(1))
    await spool.flush()
    spool.append(events(50, size=1000))
    await spool.flush()
    assert len(await spool.read(1, 7, 1 << 20)) == 7
    assert len(await spool.read(1, 50, 4500)) == 3
    assert len(await spool.read(1, 50, 1)) == 1
    assert await spool.read(51, 50, 1 << 20) == []


async def test_wait_after_returns_when_there_is_more(make: MakeSpool) -> None:
    spool = await make()
    waiting = asyncio.create_task(spool.wait_after(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    spool.append(events(1))
    await waiting
    assert spool.last_seq == 1


async def test_cursors_survive_a_restart(make: MakeSpool) -> None:
    spool = await make()
    assert spool.cursor("a") == 0
    spool.append(events(9))
    await spool.flush()
    spool.advance("a", 4)
    await spool.close()
    assert (await make()).cursor("a") == 4


async def test_a_new_sink_starts_at_the_end_of_an_old_spool_and_at_the_start_of_a_new_one(
    make: MakeSpool,
) -> None:
    spool = await make()
    spool.append(events(3))
    await spool.flush()
    assert spool.cursor("first") == 0
    await spool.close()
    spool = await make()
    assert spool.cursor("second") == 3
    assert spool.cursor("first") == 0


async def test_dead_letters_are_durable_on_return(make: MakeSpool) -> None:
    spool = await make()
    spool.append(events(1))
    await spool.flush()
    [entry] = await everything(spool)
    await spool.dead_letter([DeadLetter("hook", entry, "410", 3, "503", "410", 1, 2)])
    with spool.inspect() as connection:
        row = connection.execute(
            "SELECT sink, seq, id, reason, attempts, payload FROM dead_letters"
        ).fetchone()
    assert row == ("hook", 1, entry.event.id, "410", 3, entry.event.payload)


async def test_two_daemons_on_one_spool_are_refused(make: MakeSpool) -> None:
    await make()
    with pytest.raises(SpoolError, match=rf"another tdbwatch \(process {os.getpid()}\) holds"):
        await make()


async def test_the_lock_of_a_process_dies_with_it(make: MakeSpool, tmp_path: Path) -> None:
    hold = (
        "import os, sys; from pathlib import Path; from tdbwatch.daemon.spool.lock import SpoolLock;"
        "lock = SpoolLock(Path(sys.argv[1])); lock.acquire(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", hold, tmp_path / "spool.db"], check=False)
    assert done.returncode == -9
    await make()


async def test_the_file_is_its_owners_alone(make: MakeSpool, tmp_path: Path) -> None:
    spool = await make()
    spool.append(events(1))
    await spool.flush()
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


async def test_a_spool_of_a_newer_version_is_refused_and_left_alone(make: MakeSpool, tmp_path: Path) -> None:
    await (await make()).close()
    path = tmp_path / "spool.db"
    with connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SpoolError, match="newer tdbwatch \\(spool format 99"):
        await make()
    assert path.read_bytes() == before


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
    make: MakeSpool, tmp_path: Path
) -> None:
    await (await make()).close()
    (tmp_path / "spool.db").write_bytes(b"garbage" * 1000)
    reports: list[Any] = []
    spool = await make(on_damage=reports.append)
    spool.append(events(2))
    await spool.flush()
    assert len(await everything(spool)) == 2
    [report] = reports
    assert report.moved_to.read_bytes().startswith(b"garbage")
    assert report.moved_to.name.startswith("spool.db.damaged-")


async def test_damage_while_running_keeps_the_numbers_the_cursors_and_what_memory_holds(
    make: MakeSpool, tmp_path: Path
) -> None:
    reports: list[Any] = []
    spool = await make(on_damage=reports.append, check_interval=0.01)
    spool.cursor("a")
    sent = events(50)
    spool.append(sent)
    await spool.flush()
    spool.advance("a", 20)
    await spool.flush()
    with (tmp_path / "spool.db").open("r+b") as file:
        file.write(os.urandom(1 << 16))
    while not reports:
        await asyncio.sleep(0.001)
    more = events(3, size=100_000)
    spool.append(more)
    await spool.flush()
    assert len(reports) == 1
    assert [entry.event for entry in await everything(spool, after=20)] == sent[20:] + more
    await spool.close()
    again = await make()
    assert again.cursor("a") == 20
    assert [entry.event for entry in await everything(again, after=20)] == sent[20:] + more


async def test_what_is_readable_of_a_file_that_is_damaged_in_the_middle_is_taken_over(
    make: MakeSpool, tmp_path: Path
) -> None:
    spool = await make()
    spool.cursor("a")
    sent = events(3000, size=500)
    spool.append(sent)
    await spool.flush()
    spool.advance("a", 100)
    await spool.close()
    size = (tmp_path / "spool.db").stat().st_size
    with (tmp_path / "spool.db").open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(os.urandom(4096 * 5))
    reports: list[Any] = []
    spool = await make(on_damage=reports.append, check_interval=0.01)
    assert spool.cursor("a") == 100
    with pytest.raises(SpoolError, match="cannot be read"):
        await everything(spool, after=100)
    while not reports:
        await asyncio.sleep(0.001)
    found = await everything(spool, after=100)
    assert reports[0].rescued == len(found) > 1500
    assert all(entry.event == sent[entry.seq - 1] for entry in found)
    spool.append(more := events(1))
    await spool.flush()
    assert [(e.seq, e.event) for e in await everything(spool, after=3000)] == [(3001, more[0])]


async def test_entries_beyond_the_age_limit_go_and_undelivered_ones_are_reported(make: MakeSpool) -> None:
    reports: list[DropReport] = []
    clock = ManualClock()
    spool = await make(clock=clock, max_age=100, on_drop=reports.append, drop_interval=0)
    spool.cursor("a")
    now_us = int(clock.time() * 1e6)
    spool.append([Event.create("r", received_us=now_us + n) for n in range(5)])
    await spool.flush()
    spool.advance("a", 2)
    await clock.advance(101)
    spool.append([Event.create("r", received_us=int(clock.time() * 1e6))])
    await spool.flush()
    await spool.close()
    times = {("//stuff", "r"): (now_us + 2, now_us + 4)}
    assert reports == [DropReport("max_age", 3, now_us + 2, now_us + 4, {("//stuff", "r"): 3}, 0, times)]
    assert spool.first_seq == 6


async def fill(spool: SqliteSpool, count: int) -> None:
    for _ in range(count):
        spool.append(events(100, size=1000))
        await spool.flush()


async def test_a_full_spool_drops_the_oldest_and_counts_what_was_undelivered(
    make: MakeSpool, tmp_path: Path
) -> None:
    reports: list[DropReport] = []
    spool = await make(max_size=1 << 20, on_drop=reports.append, drop_interval=0)
    spool.cursor("slow")
    await fill(spool, 60)
    await spool.close()
    assert sum(report.count for report in reports) == spool.first_seq - 1 > 2000
    assert spool.last_seq == 6000
    assert (tmp_path / "spool.db").stat().st_size < 4 << 20


async def test_delivered_entries_go_silently(make: MakeSpool) -> None:
    reports: list[DropReport] = []
    spool = await make(max_size=1 << 20, on_drop=reports.append, drop_interval=0)
    spool.cursor("quick")
    for _ in range(60):
        await fill(spool, 1)
        spool.advance("quick", spool.last_seq)
    await spool.close()
    assert reports == []
    assert spool.first_seq > 1000


async def test_a_full_spool_refuses_the_newest_where_configured(make: MakeSpool) -> None:
    reports: list[DropReport] = []
    spool = await make(max_size=1 << 20, when_full="drop_newest", on_drop=reports.append, drop_interval=0)
    spool.cursor("slow")
    await fill(spool, 60)
    kept = spool.last_seq
    assert spool.first_seq == 1
    assert 0 < kept < 2000
    spool.advance("slow", kept)
    await fill(spool, 1)
    await asyncio.sleep(0)
    await fill(spool, 1)
    await spool.close()
    assert spool.last_seq > kept, "room again once the old ones are delivered"
    assert sum(report.count for report in reports) == 6200 - spool.last_seq


async def test_a_sink_that_is_gone_from_the_configuration_holds_nothing_back(make: MakeSpool) -> None:
    spool = await make()
    spool.cursor("gone"), spool.cursor("here")
    await spool.close()
    reports: list[DropReport] = []
    spool = await make(max_size=1 << 20, when_full="drop_newest", on_drop=reports.append)
    spool.cursor("here")
    for _ in range(60):
        await fill(spool, 1)
        spool.advance("here", spool.last_seq)
    assert spool.last_seq == 6000
    assert reports == []


async def test_numbers_are_never_used_twice_even_when_nothing_is_left(make: MakeSpool) -> None:
    clock = ManualClock()
    spool = await make(clock=clock, max_age=1)
    spool.append([Event.create("r", received_us=0)] * 1)
    await spool.flush()
    await spool.close()
    spool = await make(clock=clock)
    assert (spool.first_seq, spool.last_seq) == (2, 1)
    spool.append(events(1))
    await spool.flush()
    assert [entry.seq for entry in await everything(spool)] == [2]


class Disk:
    """A real connection whose file may not grow while `full`."""

    def __init__(self) -> None:
        self.connections: list[sqlite3.Connection] = []

    def connect(self, path: Path) -> sqlite3.Connection:
        self.connections.append(connect(path))
        return self.connections[-1]

    def limit(self, pages: int) -> None:
        self.connections[-1].execute(f"PRAGMA max_page_count = {pages}").fetchone()


async def test_a_full_disk_holds_events_in_memory_and_writes_them_when_there_is_space(
    make: MakeSpool,
) -> None:
    disk = Disk()
    spool = await make(connect=disk.connect)
    spool.append(events(3))
    await spool.flush()
    disk.limit(1)
    held = events(50, size=2000)
    spool.append(held)
    while not (trouble := spool.trouble):
        await asyncio.sleep(0.001)
    assert "full" in trouble
    assert spool.last_seq == 3
    disk.limit(1 << 30)
    await spool.flush()
    assert not spool.trouble
    assert [entry.event for entry in await everything(spool, after=3)] == held


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
async def test_memory_is_bounded_while_the_disk_is_full(make: MakeSpool, when_full: Any) -> None:
    disk, reports = Disk(), list[DropReport]()
    spool = await make(
        connect=disk.connect, max_held=1 << 16, when_full=when_full, on_drop=reports.append, drop_interval=0
    )
    disk.limit(1)
    spool.append(first := events(5, size=2000))
    while spool.trouble is None:
        await asyncio.sleep(0.001)
    sent = events(200, size=2000)
    for event in sent:
        spool.append([event])
    assert spool.held < 40
    disk.limit(1 << 30)
    await spool.flush()
    await asyncio.sleep(0)
    kept = [entry.event for entry in await everything(spool)][len(first) :]
    assert kept == (sent[-len(kept) :] if when_full == "drop_oldest" else sent[: len(kept)])
    await spool.close()
    assert {report.reason for report in reports} == {"the disk did not take them"}
    assert sum(report.count for report in reports) == len(sent) - len(kept) == spool.dropped


async def test_close_makes_durable_what_nobody_flushed(make: MakeSpool) -> None:
    spool = await make(linger=60)
    spool.append(sent := events(10))
    await spool.close()
    await spool.close()
    assert [entry.event for entry in await everything(await make())] == sent


async def test_a_closed_spool_says_so(make: MakeSpool) -> None:
    spool = await make()
    await spool.close()
    with pytest.raises(SpoolError, match="closed"):
        await spool.flush()


async def test_dead_letters_are_bounded(make: MakeSpool) -> None:
    spool = await make(max_dead_letters=3)
    spool.append(events(10))
    await spool.flush()
    for entry in await everything(spool):
        await spool.dead_letter([DeadLetter("s", entry, "r", 1, "", "", 0, 0)])
    await spool.flush()
    with spool.inspect() as connection:
        assert connection.execute("SELECT seq FROM dead_letters").fetchall() == [(8,), (9,), (10,)]


LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM events").fetchone()[0])
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

    spool = await make(check_interval=0)
    for turn in range(1, 4):
        spool.append(events(10))
        await spool.flush()
        assert await asyncio.to_thread(look) == turn * 10
        assert (tmp_path / "spool.db-wal").exists()
