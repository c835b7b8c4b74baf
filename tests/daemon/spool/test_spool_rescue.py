"""What is left of a damaged spool, and when a new one may take its place: no sink passes over an event."""

import asyncio
import os
import resource
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.spool import DamageReport, DeadLetter, Entry, SpoolError
from tdbwatch.daemon.spool.api import Behind, Gone, Progress
from tdbwatch.daemon.spool.file.place import set_aside
from tdbwatch.daemon.spool.looking.doctor import repair
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.looking.stats import stats
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, encode_run, heard, pack, squeeze
from tdbwatch.daemon.spool.stored.drops import Tally
from tdbwatch.daemon.spool.stored.store import Store
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.daemon.spool.survival.renewal import renew
from tdbwatch.daemon.spool.survival.rescue import Rescue, rescuing
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

from .spool_kit import Heard, MakeSpool, ask, change, dead_letter, events, everything, keep, spool_at, until

_PAGE = 4096


def letter(entry: Entry) -> DeadLetter:
    return DeadLetter("s", entry, "reason", 3, "first", "last", 0, 0)


async def filled(make: MakeSpool, count: int, size: int = 0, finished: int = 0) -> list[Event]:
    """A stopped spool with so many events, of which the sink has so many."""
    spool, sent = await make(), events(count, size)
    for start in range(0, count, 50):  # blocks of 50
        spool.append(heard(sent[start : start + 50]))
        await spool.flush()
    spool.save("s", finished, {})
    await spool.flush()
    await spool.close()
    return sent


def root(path: Path, table: str) -> int:
    return int(ask(path, f"SELECT rootpage FROM sqlite_schema WHERE name = '{table}'"))


def leftmost_leaf(path: Path, table: str) -> int:
    """See https://www.sqlite.org/fileformat2.html#b_tree_pages."""
    content, page = path.read_bytes(), root(path, table)
    while content[(start := (page - 1) * _PAGE)] == 5:  # an interior page
        cell = start + int.from_bytes(content[start + 12 : start + 14], "big")
        page = int.from_bytes(content[cell : cell + 4], "big")
    return page


def children(path: Path, page: int) -> list[int]:
    """The pages below an interior one."""
    content = path.read_bytes()[(page - 1) * _PAGE : page * _PAGE]
    places = range(12, 12 + 2 * int.from_bytes(content[3:5], "big"), 2)
    cells = [int.from_bytes(content[place : place + 2], "big") for place in places]
    return [int.from_bytes(content[at : at + 4], "big") for at in (*cells, 8)]


def spoil(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * _PAGE)
        file.write(b"\xff" * _PAGE)


async def test_damage_that_takes_the_progress_takes_no_event_from_any_sink(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    sent = await filled(make, 100, finished=40)
    spoil(path, root(path, "progress"))
    spool = await make(check=60)  # killed before the progress is written, and so a start later:
    assert reports[0].rescued == 100
    assert reports[0].progress_lost
    assert spool.progress("s") == Progress(0)
    assert [entry.event for entry in await everything(spool)] == sent


@pytest.mark.parametrize("table", ["progress", "behind"])
async def test_progress_that_cannot_be_trusted_is_begun_anew_also_for_sinks_that_it_does_not_name(
    make: MakeSpool, path: Path, reports: list[DamageReport], table: str
) -> None:
    sent = await filled(make, 100, finished=40)
    change(
        path, "INSERT INTO progress(sink, floor) VALUES ('t', 70)", f"INSERT INTO behind VALUES {BEHIND_OF_S}"
    )
    forget_rows(path, table)
    store, report = renew(path, connect, sqlite3.DatabaseError("by the doctor"), 0.0, None)
    store.close()
    assert (report.rescued, report.progress_lost) == (100, True)
    spool = await make(sinks=["s", "t"])
    assert [spool.progress(sink) for sink in ("s", "t")] == [Progress(0)] * 2
    assert [entry.event for entry in await everything(spool)] == sent


BEHIND_OF_S = "('s', '//stuff', 'alerts', 11, x'90', x'90')"


def forget_rows(path: Path, table: str) -> None:
    """Have the table's page say that it has no rows, as a flipped bit may."""
    change(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek((root(path, table) - 1) * _PAGE + 3)
        file.write(b"\0\0")


async def test_a_sink_whose_progress_makes_no_sense_begins_anew_and_no_other(
    make: MakeSpool, path: Path
) -> None:
    await filled(make, 100, finished=40)
    change(path, "UPDATE progress SET floor = 'x'", "INSERT INTO progress(sink, floor) VALUES ('t', 70)")
    spool = await make(sinks=["s", "t"])
    assert (spool.progress("s"), spool.progress("t")) == (Progress(0), Progress(70))
    assert len(await everything(spool)) == 100


async def test_a_lane_that_is_behind_stays_so_and_one_that_makes_no_sense_is_its_sinks_trouble(
    make: MakeSpool, path: Path
) -> None:
    await filled(make, 100, finished=40)
    spoilt = "('t', '//stuff', 'alerts', 11, x'90', x'c0')"
    change(
        path,
        "INSERT INTO progress(sink, floor) VALUES ('t', 70)",
        f"INSERT INTO behind VALUES {BEHIND_OF_S}, {spoilt}",
    )
    spool = await make(sinks=["s", "t"])
    lane = Lane("//stuff", "alerts")
    assert spool.progress("s") == Progress(40, {lane: Behind(11)})
    assert spool.progress("t") == Progress(0)
    assert len(await everything(spool)) == 100


async def test_the_progress_of_a_sink_that_is_lost_leaves_the_others_rows_orphaned_and_nobody_without_events(
    make: MakeSpool, path: Path
) -> None:
    await filled(make, 100, finished=40)
    of_another = BEHIND_OF_S.replace("'s'", "'S'")
    change(path, f"INSERT INTO behind VALUES {of_another}")
    spool = await make()
    assert spool.progress("s") == Progress(0)
    assert len(await everything(spool)) == 100


async def test_numbers_of_rescued_dead_letters_are_not_given_to_new_events(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    await filled(make, 3000, finished=10)
    spool = await make()
    dead = (await everything(spool))[-5:]
    await dead_letter(spool, [letter(entry) for entry in dead])
    await spool.close()
    spoil(path, root(path, "blocks"))
    spool = await make()
    assert reports[0].letters == 5
    await keep(spool, events(3000))
    assert not {entry.seq for entry in await everything(spool)} & {entry.seq for entry in dead}


async def test_events_behind_a_damaged_beginning_are_found_however_high_their_numbers(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    await filled(make, 3000, 200)
    change(
        path,
        "UPDATE blocks SET first_seq = first_seq + 5000000",
        "UPDATE progress SET floor = 5000000",
        "INSERT INTO progress(sink, floor) VALUES ('gone', 7)",  # so that nobody knows where the log begins
    )
    spoil(path, leftmost_leaf(path, "blocks"))
    spool = await make()
    assert reports[0].rescued > 2600
    assert len(await everything(spool)) == reports[0].rescued


MANY = """
INSERT INTO blocks WITH RECURSIVE seqs(seq) AS (SELECT 2 UNION ALL SELECT seq + 1 FROM seqs WHERE seq < 3000)
SELECT 7 * seq, 1, scope, room, target, first_us, last_us, born_us, body FROM seqs, blocks WHERE first_seq = 1
"""


async def test_between_bad_pages_all_is_found_that_can_be_asked_for(make: MakeSpool, path: Path) -> None:
    await filled(make, 1, 100)
    change(path, MANY)
    leaves = children(path, root(path, "blocks"))
    for place in (0, 2, 5, 6, 7, 9, -1):
        spoil(path, leaves[place])
    with rescuing(path) as rescue:
        found = [block.first_seq for block in rescue.blocks()]
    readable = list[int]()
    with closing(sqlite3.connect(path)) as connection:
        for seq in range(1, 21_001):
            with suppress(sqlite3.Error):
                query = "SELECT first_seq FROM blocks WHERE first_seq = ?"
                readable += [number for (number,) in connection.execute(query, (seq,))]
    assert len(found) > 2000
    assert found == readable


async def test_a_spoilt_tree_that_shows_events_twice_keeps_nobody_from_working(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    sent = await filled(make, 3000, 200)
    start = (root(path, "blocks") - 1) * _PAGE
    spoil(path, root(path, "drops"))
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


async def test_blocks_that_were_squeezed_for_a_slow_disk_are_rescued_like_others(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    sent = await filled(make, 100)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for number, body in connection.execute("SELECT first_seq, body FROM blocks").fetchall():
            connection.execute("UPDATE blocks SET body = ? WHERE first_seq = ?", (squeeze(body), number))
    spoil(path, root(path, "drops"))
    spool = await make()
    assert reports[0].rescued == 100
    assert [entry.event for entry in await everything(spool)] == sent


def cut_off(runs: list[bytes]) -> bytes:
    return pack(runs)[:-40]


def nonsense_within(runs: list[bytes]) -> bytes:
    return pack([*runs[:9], b"\xc0", *runs[10:]])


@pytest.mark.parametrize(
    ("spoil", "kept"),
    [(cut_off, [*range(19)]), (nonsense_within, [*range(9), *range(10, 20)])],
)
async def test_a_block_that_is_spoilt_within_keeps_the_other_runs(
    make: MakeSpool,
    path: Path,
    reports: list[DamageReport],
    spoil: Callable[[list[bytes]], bytes],
    kept: list[int],
) -> None:
    spool = await make()
    await keep(spool, sent := events(20))
    await keep(spool, last := events(1))
    await spool.close()
    body = spoil([encode_run(run) for _, run in heard(sent)])
    change(path, f"UPDATE blocks SET body = x'{body.hex()}' WHERE first_seq = 1")
    spool = await make(window=1)
    with pytest.raises(SpoolError, match=r"makes? no sense"):
        await spool.read(0, 1)
    await until(lambda: reports)
    found = await everything(spool)
    assert [entry.event for entry in found] == [*(sent[number] for number in kept), *last]
    assert [entry.seq for entry in found] == [*(number + 1 for number in kept), 21]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("dead_letters", "reason", "NULL"),
        ("dead_letters", "seq", "'x'"),
        ("dead_letters", "run", "x'97'"),
        ("blocks", "room", "NULL"),
        ("blocks", "target", "5"),
        ("blocks", "count", "0"),
        ("drops", "count", "'x'"),
        ("drops", "since_us", "NULL"),
        ("meta", "value", "'x'"),
        ("orders", "sink", "NULL"),
    ],
)
async def test_a_field_that_no_spool_wrote_keeps_nobody_from_starting(
    make: MakeSpool, path: Path, reports: list[DamageReport], table: str, column: str, value: str
) -> None:
    await filled(make, 10)
    spool = await make()
    await keep(spool, [Event.create("sick", "e")])
    entries = await everything(spool)
    await dead_letter(spool, [letter(entry) for entry in entries[:3]])
    await spool.close()
    kind = "TEXT" if column in {"reason", "room", "target", "sink"} else "INTEGER"
    free, strict = f"{column} {kind}", f"{column} {kind} NOT NULL"
    where = {"dead_letters": "number = 2", "blocks": "room = 'sick'"}.get(table, "1")
    schema = f"UPDATE sqlite_schema SET sql = replace(sql, '{{}}', '{{}}') WHERE name = '{table}'"
    change(path, "INSERT INTO drops VALUES ('max_size', '//stuff', 'alerts', 5, 1, 2)")
    change(path, "INSERT INTO meta VALUES ('last_seq', 11)")
    change(path, "INSERT INTO orders VALUES (1, 'replay', 's', '{}', 0, 11, 0)")
    change(path, "PRAGMA writable_schema = ON", schema.format(strict, free))
    change(path, f"UPDATE {table} SET {column} = {value} WHERE {where}")  # as a flipped bit would
    change(path, "PRAGMA writable_schema = ON", schema.format(free, strict))
    spoil(path, root(path, "progress"))
    spool = await make()
    assert reports[0].letters == (2 if table == "dead_letters" else 3)
    assert len(await everything(spool)) == (10 if table == "blocks" and column != "target" else 11)
    assert not spool.failed.done()


async def test_a_damaged_file_that_another_process_locks_is_not_given_up(
    make: MakeSpool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(make, 10)
    connect_as_usual = sqlite3.connect
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("UPDATE progress SET floor = floor")
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", lambda *a, **kw: connect_as_usual(*a, **{**kw, "timeout": 0.1}))
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                await asyncio.to_thread(repair, path)
    assert set_aside(path) == []
    assert len(await everything(await make())) == 10


async def test_a_disk_that_fills_up_in_the_last_step_of_a_renewal_only_puts_it_off(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    sent = await filled(make, 6000, 2000)
    spoil(path, root(path, "drops"))
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
        await keep(spool, sent[start : start + 100])
    attack(Path(f"{path}-wal"))
    await keep(spool, more := events(3))
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
    spool = await make(check=60)
    spool.append(heard(sent := events(5000, 1000)))
    deadline = time.monotonic() + 20  # all in one turn of the event loop: it is busy
    while spool._files.store.last_seq < 5000:
        assert time.monotonic() < deadline
    for name in (path, Path(f"{path}-wal")):
        name.write_bytes(b"\xff" * name.stat().st_size)
    spool._files._looked_at = float("-inf")  # its next look is due
    spool.append(heard(more := events(1)))
    while beginning(path) != b"SQLite":
        assert time.monotonic() < deadline
    await spool.flush()
    await spool.close()
    assert [entry.event for entry in await everything(await make())] == sent + more


async def test_the_log_of_a_file_that_was_removed_is_not_applied_to_the_one_in_its_place(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    await filled(make, 3000, 300, finished=1500)
    spool = await make(check=60)
    await keep(spool, events(600, 300))
    log = Path(f"{path}-wal").read_bytes()
    await spool.close()
    store, report = renew(path, connect, sqlite3.DatabaseError("removed"), 0.0, None)
    store.close()
    change(path, "PRAGMA journal_mode = DELETE")
    path.rename(f"{path}.renewing")  # as far as a renewal that was killed had come
    report.moved_to.unlink()
    Path(f"{path}-wal").write_bytes(log)
    spool = await make()
    assert [entry.seq for entry in await everything(spool)] == list(range(1501, 3601))
    assert len(reports) == 1


async def test_the_log_of_a_file_that_was_removed_while_nobody_ran_is_moved_aside(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    spool = await make(check=60)
    await keep(spool, events(600, 300))
    log = Path(f"{path}-wal").read_bytes()
    await spool.close()
    path.unlink()
    Path(f"{path}-wal").write_bytes(log)
    spool = await make()
    await keep(spool, new := events(1))
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


def test_a_file_of_which_nothing_can_be_read_is_not_searched_for_long(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(os.urandom(64 * _PAGE))
    with closing(sqlite3.connect(path, factory=Counting)) as connection:
        rescue = Rescue(connection)
        assert (list(rescue.blocks()), list(rescue.letters()), rescue.progress()) == ([], [], ({}, False))
        assert connection.asked < 100_000


async def test_a_log_that_was_overwritten_while_nobody_ran_is_missed(
    make: MakeSpool, path: Path, reports: list[DamageReport], told: Heard
) -> None:
    spool = await make()
    await keep(spool, events(20))
    crashed = path.with_name("crashed.db")
    crashed.write_bytes(path.read_bytes())
    Path(f"{crashed}-wal").write_bytes(os.urandom(Path(f"{path}-wal").stat().st_size))
    again = spool_at(crashed, sinks=["s"], listener=told)
    await again.open()
    await again.close()
    assert "the log beside the file was overwritten" in reports[0].error


def counted(spool: SqliteSpool) -> tuple[int, int]:
    """The entries that there are, as the daemon and as another process say."""
    with opened(spool.path) as look:
        return spool.entries, stats(look).count


async def test_the_count_of_entries_is_true_after_a_renewal_and_after_what_was_left_was_deleted(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    await filled(make, 400)
    change(path, "DELETE FROM blocks WHERE first_seq BETWEEN 2 AND 350 AND first_seq != 101")
    spoil(path, root(path, "drops"))
    spool = await make()
    assert reports[0].rescued == 150
    assert counted(spool) == (150, 150)
    await keep(spool, events(10))
    assert counted(spool) == (160, 160)
    await spool.close()
    store = Store(path, connect)
    store.delete([Gone(1, 50, Lane("//stuff", "alerts"), None)], Tally("max_size"))
    assert (store.first_seq, store.entries) == (101, 110)
    store.close()
    spool = await make()
    assert counted(spool) == (110, 110)
    await spool.close()
    store = Store(path, connect)
    lane = Lane("//stuff", "alerts")
    store.delete([Gone(first, 50, lane, None) for first in (101, 351)], Tally("max_size"))
    store.delete([Gone(401, 10, lane, None)], Tally("max_size"))
    store.close()
    spool = await make()
    assert counted(spool) == (0, 0)
    await keep(spool, events(2))
    assert counted(spool) == (2, 2)


async def test_the_count_of_entries_is_true_after_a_renewal_while_running(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    clock = ManualClock()
    spool = await make(window=1, clock=clock, max_age=100)
    now_us = int(clock.time() * 1e6)
    for _ in range(30):
        await keep(spool, [Event.create("r", received_us=now_us) for _ in range(10)])
    spool.save("s", 20, {})  # those have no place in the new file
    await spool.flush()
    change(path, "DELETE FROM blocks WHERE first_seq BETWEEN 31 AND 290")
    path.unlink()
    await until(lambda: reports)
    assert counted(spool) == (20, 20)
    await clock.advance(101)
    await keep(spool, [Event.create("r", received_us=int(clock.time() * 1e6))])
    await until(lambda: spool.entries == 1)
    assert counted(spool) == (1, 1)
