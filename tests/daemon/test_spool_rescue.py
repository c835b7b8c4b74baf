"""What is left of a damaged spool, and when a new one may take its place: no sink passes over an event."""

import asyncio
import os
import resource
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tdbwatch.daemon.spool.browse import opened, stats
from tdbwatch.daemon.spool.damage import set_aside
from tdbwatch.daemon.spool.doctor import repair
from tdbwatch.daemon.spool.drops import Tally
from tdbwatch.daemon.spool.renewal import renew
from tdbwatch.daemon.spool.rescue import Rescue
from tdbwatch.daemon.spool.schema import connect
from tdbwatch.daemon.spool.store import Store

from tdbwatch.daemon.spool import DamageReport, DeadLetter, Entry, SpoolError, SqliteSpool
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

from .spool_bench import MakeSpool, events, everything

_PAGE = 4096


def letter(entry: Entry) -> DeadLetter:
    return DeadLetter("s", entry, "reason", 3, "first", "last", 0, 0)


async def filled(make: MakeSpool, count: int, size: int = 0, finished: int = 0) -> list[Event]:
    """A stopped spool with so many events, of which the sink has so many."""
    spool = await make()
    spool.append(sent := events(count, size))
    spool.advance("s", finished)
    await spool.flush()
    await spool.close()
    return sent


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for sql in statements:
            connection.execute(sql)


def root(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        return int(connection.execute(query, (table,)).fetchone()[0])


def leftmost_leaf(path: Path, table: str) -> int:
    """See https://www.sqlite.org/fileformat2.html#b_tree_pages."""
    content, page = path.read_bytes(), root(path, table)
    while content[(start := (page - 1) * _PAGE)] == 5:  # an interior page
        cell = start + int.from_bytes(content[start + 12 : start + 14], "big")
        page = int.from_bytes(content[cell : cell + 4], "big")
    return page


def spoil(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * _PAGE)
        file.write(b"\xff" * _PAGE)


async def test_damage_that_takes_the_cursors_takes_no_event_from_any_sink(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    sent = await filled(make, 100, finished=40)
    spoil(path, root(path, "cursors"))
    spool = await make(check_interval=60)  # killed before the cursor is written, and so a start later:
    assert reports[0].rescued == 100
    assert spool.cursor("s") == 0
    assert [entry.event for entry in await everything(spool)] == sent


async def test_a_sink_whose_cursor_makes_no_sense_begins_anew(make: MakeSpool, path: Path) -> None:
    await filled(make, 100, finished=40)
    change(path, "UPDATE cursors SET seq = 'x'", "INSERT INTO cursors VALUES ('t', 70)")
    spoil(path, root(path, "dead_letters"))
    spool = await make(sinks=["s", "t"])
    assert (spool.cursor("s"), spool.cursor("t")) == (0, 70)
    assert len(await everything(spool)) == 100


async def test_numbers_of_rescued_dead_letters_are_not_given_to_new_events(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    await filled(make, 3000, finished=10)
    spool = await make()
    await spool.dead_letter([letter(entry) for entry in (await everything(spool))[-5:]])
    await spool.close()
    spoil(path, root(path, "events"))
    spool = await make()
    assert reports[0].letters == 5
    spool.append(events(3000))
    await spool.flush()
    new = {entry.seq for entry in await everything(spool)}
    await spool.close()
    finished = (await make()).history("s").finished
    assert len(finished) == 5
    assert not new & finished, "events that no sink ever had"


async def test_events_behind_a_damaged_beginning_are_found_however_high_their_numbers(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    await filled(make, 3000, 200)
    change(
        path,
        "UPDATE events SET seq = seq + 5000000",
        "UPDATE cursors SET seq = 5000000",
        "INSERT INTO cursors VALUES ('gone', 7)",  # so that nobody knows where the log begins
    )
    spoil(path, leftmost_leaf(path, "events"))
    spool = await make()
    assert reports[0].rescued > 2900
    assert len(await everything(spool)) == reports[0].rescued


async def test_a_spoilt_tree_that_shows_events_twice_keeps_nobody_from_working(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    sent = await filled(make, 3000, 200)
    start = (root(path, "events") - 1) * _PAGE
    spoil(path, root(path, "dead_letters"))
    with path.open("r+b") as file:
        content = file.read()
        first, second = (
            start + int.from_bytes(content[at : at + 2], "big") for at in (start + 12, start + 14)
        )
        file.seek(second)
        file.write(content[first : first + 4])  # the second branch is the first one again
    spool = await make()
    found = await everything(spool)
    assert len(found) == reports[0].rescued > 1000
    assert all(entry.event == sent[entry.seq - 1] for entry in found)


async def test_a_spoilt_stream_costs_its_own_events_only(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    spool = await make()
    rooms = [Event.create(f"room{number % 5}", "e", [number]) for number in range(100)]
    spool.append(rooms)
    await spool.flush()
    await spool.close()
    change(path, "UPDATE streams SET arg_names = 'no JSON' WHERE room = 'room3'")
    spool = await make()
    assert reports[0].rescued == 80
    assert [entry.event for entry in await everything(spool)] == [e for e in rooms if e.room != "room3"]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("dead_letters", "reason", "NULL"),
        ("dead_letters", "seq", "'x'"),
        ("streams", "room", "NULL"),
        ("drops", "count", "'x'"),
        ("drops", "since_us", "NULL"),
    ],
)
async def test_a_field_that_no_spool_wrote_keeps_nobody_from_starting(
    make: MakeSpool, path: Path, reports: list[DamageReport], table: str, column: str, value: str
) -> None:
    await filled(make, 10)
    spool = await make()
    spool.append([Event.create("sick", "e")])
    await spool.flush()
    entries = await everything(spool)
    await spool.dead_letter([letter(entry) for entry in entries[:3]])
    await spool.close()
    kind = "TEXT" if column in {"reason", "room"} else "INTEGER"
    free, strict = f"{column} {kind}", f"{column} {kind} NOT NULL"
    where = {"dead_letters": "rowid = 2", "streams": "room = 'sick'", "drops": "1"}[table]
    schema = f"UPDATE sqlite_schema SET sql = replace(sql, '{{}}', '{{}}') WHERE name = '{table}'"
    change(path, "INSERT INTO drops VALUES ('max_size', '//stuff', 'alerts', 5, 1, 2)")
    change(path, "PRAGMA writable_schema = ON", schema.format(strict, free))
    change(path, f"UPDATE {table} SET {column} = {value} WHERE {where}")  # as a flipped bit would
    change(path, "PRAGMA writable_schema = ON", schema.format(free, strict))
    spoil(path, root(path, "cursors"))
    spool = await make()
    assert reports[0].letters == (2 if table == "dead_letters" else 3)
    assert len(await everything(spool)) == (10 if table == "streams" else 11)


async def test_a_damaged_file_that_another_process_locks_is_not_given_up(make: MakeSpool, path: Path) -> None:
    await filled(make, 10)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("UPDATE streams SET id = id")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await asyncio.to_thread(repair, path)
    assert set_aside(path) == []
    assert len(await everything(await make())) == 10


async def test_a_disk_that_fills_up_in_the_last_step_of_a_renewal_only_puts_it_off(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    sent = await filled(make, 6000, 2000)
    spoil(path, root(path, "dead_letters"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size - 200_000, hard))
    try:
        with pytest.raises(SpoolError, match="cannot be opened"):
            await make()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert set_aside(path) == []
    assert not [*path.parent.glob("*.renew*")], "what there is no space for takes none"
    spool = await make()
    assert reports[0].rescued == 6000
    assert [entry.event for entry in await everything(spool)] == sent


def remove(log: Path) -> None:
    log.unlink()


def replace(log: Path) -> None:
    log.with_name("other").write_bytes(log.read_bytes())
    log.with_name("other").rename(log)


def overwrite_the_beginning(log: Path) -> None:
    with log.open("r+b") as file:
        file.write(b"\xff" * 32)


@pytest.mark.parametrize("attack", [remove, replace, overwrite_the_beginning])
async def test_a_log_removed_or_replaced_while_running_loses_nothing_since_it_is_still_open(
    make: MakeSpool, path: Path, reports: list[DamageReport], attack: Callable[[Path], None]
) -> None:
    spool = await make(window=1)  # memory holds next to nothing
    sent = events(1000, 500)
    for start in range(0, 1000, 100):
        spool.append(sent[start : start + 100])
        await spool.flush()
    attack(Path(f"{path}-wal"))
    spool.append(more := events(3))
    await spool.flush()
    async with asyncio.timeout(20):
        while not reports:
            await spool.flush()
    assert "the log beside it" in reports[0].error
    assert [entry.event for entry in await everything(spool)] == sent + more
    await spool.close()
    assert [entry.event for entry in await everything(await make())] == sent + more


def beginning(path: Path) -> bytes | None:
    """Of a file that is about to be moved and made anew; None in between."""
    try:
        return path.read_bytes()[:6]
    except FileNotFoundError:
        return None


async def test_what_was_committed_and_not_heard_of_outlives_damage_like_all_that_memory_holds(
    make: MakeSpool, path: Path
) -> None:
    spool = await make(check_interval=60)
    spool.append(sent := events(5000, 1000))
    deadline = time.monotonic() + 20  # all in one turn of the event loop: it is busy
    while spool._writer._store.last_seq < 5000:
        assert time.monotonic() < deadline
    for name in (path, Path(f"{path}-wal")):
        name.write_bytes(b"\xff" * name.stat().st_size)
    spool._writer._checked, spool._writer._check_interval = 0.0, 0.01  # its next look is due
    spool.append(more := events(1))
    while beginning(path) != b"SQLite":
        assert time.monotonic() < deadline
    await spool.flush()
    await spool.close()
    assert [entry.event for entry in await everything(await make())] == sent + more


async def test_the_log_of_a_file_that_was_removed_is_not_applied_to_the_one_in_its_place(
    make: MakeSpool, path: Path
) -> None:
    await filled(make, 3000, 300, finished=1500)
    spool = await make(check_interval=60)
    spool.append(events(600, 300))
    await spool.flush()
    log = Path(f"{path}-wal").read_bytes()
    await spool.close()
    store, report = renew(path, connect, sqlite3.DatabaseError("removed"), 0.0)
    store.close()
    path.rename(f"{path}.renewed")  # as far as a renewal that was killed had come
    report.moved_to.unlink()
    Path(f"{path}-wal").write_bytes(log)
    told = list[DamageReport]()
    spool = await make(on_damage=told.append)
    assert [entry.seq for entry in await everything(spool)] == list(range(1501, 3601))
    assert len(told) == 1


async def test_the_log_of_a_file_that_was_removed_while_nobody_ran_is_moved_aside(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    spool = await make(check_interval=60)
    spool.append(events(600, 300))
    await spool.flush()
    log = Path(f"{path}-wal").read_bytes()
    await spool.close()
    path.unlink()
    Path(f"{path}-wal").write_bytes(log)
    spool = await make()
    spool.append(new := events(1))
    await spool.flush()
    assert [(entry.seq, entry.event) for entry in await everything(spool)] == [(1, new[0])]
    assert reports == []
    [kept] = path.parent.glob("spool.db.damaged-*-wal")
    assert kept.read_bytes() == log


class Counting(sqlite3.Connection):
    """Counts what it is asked."""

    asked = 0

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self.asked += 1
        return super().execute(*args)


def test_a_file_of_which_no_stream_can_be_read_is_not_searched_for_events(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(os.urandom(64 * _PAGE))
    with closing(sqlite3.connect(path, factory=Counting)) as connection:
        rescue = Rescue(connection, 1_000_000)
        before = connection.asked
        assert (list(rescue.entries(0)), list(rescue.letters())) == ([], [])
        assert connection.asked == before


async def test_a_log_that_was_overwritten_while_nobody_ran_is_missed(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    spool = await make()
    spool.append(events(20))
    await spool.flush()
    crashed = path.with_name("crashed.db")
    crashed.write_bytes(path.read_bytes())
    Path(f"{crashed}-wal").write_bytes(os.urandom(Path(f"{path}-wal").stat().st_size))
    again = SqliteSpool(crashed, sinks=["s"], on_damage=reports.append)
    await again.open()
    await again.close()
    assert "the log beside the file was overwritten" in reports[0].error


def counted(spool: SqliteSpool) -> tuple[int, int]:
    """The entries that there are, as the daemon and as another process say."""
    with opened(spool.path) as connection:
        return spool.entries, stats(connection, spool.path).count


async def test_the_count_of_entries_is_true_after_a_renewal_and_after_what_was_left_was_pruned(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    await filled(make, 313)
    change(path, "DELETE FROM events WHERE seq BETWEEN 3 AND 310 AND seq != 100")
    spoil(path, root(path, "dead_letters"))
    spool = await make()
    assert reports[0].rescued == 6
    assert counted(spool) == (6, 6)
    spool.append(events(10))
    await spool.flush()
    assert counted(spool) == (16, 16)
    await spool.close()
    store = Store(path, connect)
    store._forget(50, Tally("max_size"))  # up to a number that is missing
    assert (store.first_seq, store.missing) == (100, 210)
    store.close()
    spool = await make()
    assert counted(spool) == (14, 14)
    await spool.close()
    store = Store(path, connect)
    store._forget(store.last_seq, Tally("max_size"))
    store.close()
    spool = await make()
    assert counted(spool) == (0, 0)
    spool.append(events(2))
    await spool.flush()
    assert counted(spool) == (2, 2)


async def test_the_count_of_entries_is_true_after_a_renewal_while_running(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    clock = ManualClock()
    spool = await make(window=1, clock=clock, max_age=100)
    now_us = int(clock.time() * 1e6)
    spool.append([Event.create("r", received_us=now_us) for _ in range(300)])
    await spool.flush()
    spool.advance("s", 20)  # those have no place in the new file
    await spool.flush()
    change(path, "DELETE FROM events WHERE seq BETWEEN 31 AND 290")
    path.unlink()
    async with asyncio.timeout(20):
        while not reports:
            await spool.flush()
    assert counted(spool) == (20, 20)
    await clock.advance(101)
    spool.append([Event.create("r", received_us=int(clock.time() * 1e6))])
    await spool.flush()
    await spool.flush()
    assert counted(spool) == (1, 1)
