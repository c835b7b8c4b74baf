"""The spool's file under attack: cut short, emptied, removed, replaced, spoilt; renewals killed midway."""

import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from tdbwatch.daemon.spool import DamageReport, DeadLetter, SpoolError
from tdbwatch.daemon.spool.file.place import set_aside
from tdbwatch.daemon.spool.looking.doctor import damaged, examine, repair
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.looking.stats import stats
from tdbwatch.daemon.spool.reader import Reader
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.log import Window
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.daemon.spool.stored.orders import Selection
from tdbwatch.daemon.spool.stored.tables import FORMAT
from tdbwatch.daemon.spool.survival import renewal
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock
from tests.forked import Forker

from .spool_kit import (
    Heard,
    MakeSpool,
    as_killed,
    change,
    dead_letter,
    events,
    everything,
    keep,
    look_now,
    spool_at,
    until,
)


async def filled(
    make: MakeSpool, count: int, size: int = 0, **options: Any
) -> tuple[SqliteSpool, list[Event]]:
    spool = await make(**options)
    await keep(spool, sent := events(count, size))
    return spool, sent


async def arrives(reports: list[DamageReport]) -> DamageReport:
    async with asyncio.timeout(20):
        while not reports:
            await asyncio.sleep(0.005)
    return reports[0]


async def test_trouble_with_reading_is_no_damage_and_moves_nothing_aside(
    make: MakeSpool, path: Path, reports: list[DamageReport], none_left: Any
) -> None:
    spool, _ = await filled(make, 10, window=1)
    with none_left(), pytest.raises(SpoolError, match="unable to open"):
        await spool.read(0, 1 << 20)
    await keep(spool, events(1))
    assert len(await everything(spool)) == 11
    assert reports == []
    assert set_aside(path) == []


async def test_without_a_descriptor_the_spool_is_read_all_the_same(
    make: MakeSpool, none_left: Any, held: Any
) -> None:
    spool, sent = await filled(make, 10, window=1)
    with none_left():
        assert [entry.event for entry in await everything(spool)] == sent


async def test_without_a_descriptor_a_spool_that_is_gone_is_replaced_all_the_same(
    make: MakeSpool, path: Path, reports: list[DamageReport], none_left: Any, held: Any
) -> None:
    spool, sent = await filled(make, 10)
    with none_left():
        path.unlink()
        assert (await arrives(reports)).rescued == 10
        await keep(spool, more := events(3))
    assert [entry.event for entry in await everything(spool)] == sent + more


@pytest.mark.parametrize(
    "nonsense",
    [
        "UPDATE blocks SET count = 0 WHERE first_seq = 50",
        "UPDATE blocks SET body = 5 WHERE first_seq = 50",
        "UPDATE blocks SET body = x'9190' WHERE first_seq = 50",
        "UPDATE blocks SET room = CAST(x'ff' AS TEXT) WHERE first_seq = 50",
    ],
)
async def test_a_row_that_makes_no_sense_is_damage_and_costs_itself_only(
    make: MakeSpool, path: Path, reports: list[DamageReport], nonsense: str
) -> None:
    spool = await make()
    sent = events(100)
    for event in sent:  # each in a block of its own
        await keep(spool, [event])
    await spool.close()
    change(path, nonsense)
    spool = await make(window=1)
    with pytest.raises(SpoolError, match="makes no sense"):
        await everything(spool)
    assert (await arrives(reports)).rescued == 99
    assert [entry.event for entry in await everything(spool)] == sent[:49] + sent[50:]


@pytest.mark.parametrize(
    "nonsense",
    [
        "UPDATE progress SET floor = 'x'",
        "INSERT INTO behind VALUES ('t', '', '', 1, x'90', x'90')",
        "INSERT INTO behind VALUES ('s', '', '', 1, x'90', x'c0')",
        "DROP TABLE attempts",
    ],
)
async def test_nonsense_that_shows_at_the_start_is_moved_aside_like_other_damage(
    make: MakeSpool, path: Path, reports: list[DamageReport], nonsense: str
) -> None:
    spool, _ = await filled(make, 5)
    await spool.close()
    change(path, nonsense)
    again, sent = await filled(make, 3)
    assert len(reports) == 1
    assert [entry.event for entry in await everything(again)][-3:] == sent


@pytest.mark.parametrize(
    "row",
    [
        "'replay', 's', '{\"of\": \"tomorrow\"}'",
        "'replay', 's', '{\"room\": [\"several\"]}'",
        "'replay', 's', 'no JSON'",
        "'rewind', 's', '{}'",
    ],
)
async def test_an_order_that_this_version_does_not_understand_is_left_alone(
    make: MakeSpool, path: Path, reports: list[DamageReport], row: str
) -> None:
    spool, _ = await filled(make, 5)
    change(path, f"INSERT INTO orders VALUES (1, {row}, 0, 5, 0)")
    with opened(path, "rw") as look:
        look.order("replay", "s", Selection())
    assert [order.number for order in await spool.orders()] == [2]
    assert not spool.failed.done()
    path.unlink()
    await arrives(reports)
    texts = [finding.text for finding in examine(path)]
    assert "1 order that this version does not understand; a newer one left them" in texts


@pytest.mark.parametrize(("share", "least"), [(0.5, 1200), (0.9, 2500)])
async def test_a_file_that_was_cut_short_keeps_what_is_before_the_cut(
    make: MakeSpool, path: Path, reports: list[DamageReport], share: float, least: int
) -> None:
    spool, sent = await make(), events(3000, 500)
    for start in range(0, 3000, 50):  # SQLite's own pages are all over the file then
        await keep(spool, sent[start : start + 50])
    await spool.close()
    os.truncate(path, int(path.stat().st_size * share) // 4096 * 4096)
    spool = await make()
    assert (await arrives(reports)).rescued >= least
    found = await everything(spool)
    assert len(found) == reports[0].rescued
    assert all(entry.event == sent[entry.seq - 1] for entry in found)


async def test_an_empty_file_is_damage_since_no_spool_ever_was_empty(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    spool, _ = await filled(make, 5)
    await spool.close()
    os.truncate(path, 0)
    spool, sent = await filled(make, 2)
    assert [report.error for report in reports] == ["the file is empty"]
    assert [entry.event for entry in await everything(spool)] == sent


FOREIGN = {
    "text": b"root:x:0:0:root:/root:/bin/sh\n" * 100,
    "short": b"x",
    "damaged database": b"SQLite format 3\0\x10\0" + b"\xff" * 9000,
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_file_that_never_was_a_spool_is_refused_by_name_and_nothing_is_made_or_moved(
    make: MakeSpool, path: Path, content: bytes
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    Path(f"{path}-wal").write_bytes(b"of another program")
    for _ in range(2):  # the first refusal must leave no sign of ours
        with pytest.raises(SpoolError, match=r"spool\.db is (no spool|an SQLite file).*name another path"):
            await make()
        with pytest.raises(SpoolError, match=r"is no spool|not a spool"):
            examine(path)
        with pytest.raises(SpoolError, match=r"is no spool|not a spool"):
            repair(path)
    assert sorted(name.name for name in path.parent.iterdir()) == ["spool.db", "spool.db-wal"]
    assert path.read_bytes() == content


@pytest.mark.parametrize("sign", [".lock", ".damaged-20260101T000000Z"])
async def test_a_file_with_any_sign_that_it_was_a_spool_is_replaced_when_it_is_overwritten(
    make: MakeSpool, path: Path, reports: list[DamageReport], sign: str
) -> None:
    await (await make()).close()
    path.write_bytes(os.urandom(1 << 14))
    owner = path.with_name("spool.db.lock").read_bytes()
    path.with_name("spool.db.lock").unlink()
    path.with_name(f"spool.db{sign}").write_bytes(owner)
    spool, sent = await filled(make, 2)
    assert [entry.event for entry in await everything(spool)] == sent
    assert len(reports) == 1


async def test_another_programs_lock_is_no_sign_of_a_spool(make: MakeSpool, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"precious")
    path.with_name("spool.db.lock").write_bytes(b"{}")
    with pytest.raises(SpoolError, match="is no spool"):
        await make()
    assert path.read_bytes() == b"precious"


async def crashed_after_twenty_commits(make: MakeSpool, path: Path) -> Path:
    """What a kill leaves: a file, and a log with five events in each commit."""
    spool = await make(check=60)
    for _ in range(20):
        spool.append(heard(events(5)))
        await spool.flush()
    as_killed(path, crashed := path.with_name("crashed.db"))
    return crashed


async def test_what_was_committed_behind_a_damaged_place_of_the_log_is_missed(
    make: MakeSpool, path: Path, reports: list[DamageReport], told: Heard
) -> None:
    crashed = await crashed_after_twenty_commits(make, path)
    with Path(f"{crashed}-wal").open("r+b") as log:
        log.seek(log.seek(0, os.SEEK_END) // 2)
        log.write(b"\xff" * 100)
    again = spool_at(crashed, sinks=["s"], listener=told)
    await again.open()
    assert "the log beside the file is damaged" in reports[0].error
    found = await everything(again)
    assert 0 < len(found) < 100
    assert [entry.seq for entry in found] == list(range(1, len(found) + 1))
    await again.close()


async def test_a_log_that_ends_in_a_torn_commit_is_no_damage(
    make: MakeSpool, path: Path, reports: list[DamageReport], told: Heard
) -> None:
    crashed = await crashed_after_twenty_commits(make, path)
    os.truncate(f"{crashed}-wal", Path(f"{crashed}-wal").stat().st_size - 100)
    again = spool_at(crashed, sinks=["s"], listener=told)
    await again.open()
    assert again.last_seq == 95
    assert reports == []
    await again.close()


def remove_file(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def restore_backup(path: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(f"{path}.new")) as backup:
        source.backup(backup)
        backup.execute("DELETE FROM blocks WHERE first_seq > 100")  # an old one
        backup.commit()
    Path(f"{path}.new").rename(path)


@pytest.mark.parametrize("attack", [remove_file, remove_folder, restore_backup])
async def test_a_file_removed_or_replaced_while_running_loses_nothing_since_it_is_still_open(
    make: MakeSpool, path: Path, reports: list[DamageReport], attack: Callable[[Path], None]
) -> None:
    spool, sent = await filled(make, 2500, 500, window=50_000, check=60)  # not in the midst of the attack
    with structlog.testing.capture_logs() as logs:
        attack(path)
        await look_now(spool)
        await arrives(reports)
    told = next(line["moved_to"] for line in logs if line["event"] == "spool.damaged")
    there = str(reports[0].moved_to) if attack is restore_backup else None
    assert told == there, "no file is named that is not there"
    await keep(spool, more := events(3))
    assert [entry.event for entry in await everything(spool)] == sent + more
    with pytest.raises(SpoolError, match="another tdbwatch"):
        await make()
    await spool.close()
    again = await make()
    assert [entry.event for entry in await everything(again)] == sent + more


async def test_numbers_that_someone_else_used_are_damage(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    spool, sent = await filled(make, 5, check=60)
    change(path, "INSERT INTO blocks SELECT 6, 1, scope, room, NULL, 0, 0, 0, x'90' FROM blocks")
    await keep(spool, more := events(1))
    await arrives(reports)
    assert sent == [entry.event for entry in await everything(spool)][:5]
    assert more[0] in [entry.event for entry in await everything(spool)]


async def test_what_routes_remember_outlives_damage(
    make: MakeSpool, path: Path, reports: list[DamageReport]
) -> None:
    spool, _ = await filled(make, 5)
    marks = [Mark("group:x", "k", part, b"state") for part in range(3)]
    spool.remember([*marks, Mark("group:x", "k", 0, b"")])
    await spool.flush()
    change(path, "INSERT INTO marks VALUES ('group:x', x'00', 1, x'00'), ('group:x', 'j', 1, 'text')")
    path.unlink()
    await arrives(reports)
    assert await spool.marks() == marks[1:]


async def test_orders_outlive_damage(make: MakeSpool, path: Path, reports: list[DamageReport]) -> None:
    spool, _ = await filled(make, 3000)
    entries = await everything(spool)
    await dead_letter(spool, [DeadLetter("s", entry, "r", 1, "", "", 1, 2) for entry in entries])
    change(path, "DELETE FROM dead_letters WHERE number <= 1000")  # a new file must not number them anew
    with opened(path, "rw") as look:
        look.order("requeue", "s", Selection())
    path.unlink()
    await arrives(reports)
    [order] = await spool.orders()
    assert (order.kind, order.sink, order.position, order.through) == ("requeue", "s", 0, 3000)
    letters = await spool.letters(order, 5000, 1 << 30)
    assert [number for number, _ in letters] == list(range(1001, 3001))
    assert [entry.event.args[0] for _, entry in letters] == list(range(1000, 3000))
    taken = letters[:500]
    assert await spool.redeliver(order, heard([e.event for _, e in taken]), 1500, [n for n, _ in taken])
    assert [entry.event.args[0] for entry in await everything(spool, after=3000)] == list(range(1000, 1500))


async def test_more_than_memory_should_hold_is_taken_over_in_pieces(
    make: MakeSpool, path: Path, reports: list[DamageReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "_PIECE_BYTES", 100_000)
    taken, gathered = list[Any](), renewal._gathered

    def spy(*args: Any) -> Any:
        for piece in gathered(*args):
            taken.append(piece)
            yield piece

    monkeypatch.setattr(renewal, "_gathered", spy)
    spool, _ = await filled(make, 12_000)
    await spool.close()
    with opened(path) as look:
        assert stats(look).count == 12_000
    with path.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xff" * 4096)
    spool = await make()
    with suppress(SpoolError):  # which page it was decides whether the opening or a sink comes upon it
        await everything(spool)
    assert 10_000 < (await arrives(reports)).rescued < 12_000
    with opened(path) as look:
        assert stats(look).count == reports[0].rescued, "holes are not counted"
    assert len(taken) > 2
    assert not damaged(examine(path))


RENEW = """
import asyncio, os, signal, sys
from pathlib import Path
from tdbwatch.daemon.spool.sqlite import SqliteSpool

left, folder = int(sys.argv[2]), str(Path(sys.argv[1]).parent)

def trap(event, args):
    global left
    if event in {"os.rename", "os.remove", "sqlite3.connect", "open"} and folder in str(args[0]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

class Told:
    count = 0
    def damaged(self, report):
        self.count += 1

async def main():
    told = Told()
    spool = SqliteSpool(sys.argv[1], sinks=["s"], listener=told)
    sys.addaudithook(trap)
    await spool.open()
    await spool.close()
    print(told.count)

asyncio.run(main())
"""


@pytest.mark.timeout(300)  # a process for each step
async def test_a_renewal_killed_before_any_of_its_steps_is_finished_and_told_of(
    make: MakeSpool, path: Path, tmp_path: Path, forker: Forker
) -> None:
    spool, sent = await filled(make, 50)
    spool.append(heard(late := events(20)))  # only in the log beside the file
    await spool.flush()
    crashed = tmp_path / "crashed"
    shutil.copytree(path.parent, crashed)
    change(crashed / "spool.db", "UPDATE blocks SET room = room")  # the log is whole
    kills = 0
    for step in range(1, 60):
        folder = tmp_path / f"step{step}"
        shutil.copytree(crashed, folder)
        break_rootpage(folder / "spool.db")
        code, out, err = await forker.run(RENEW, [folder / "spool.db", str(step)])
        if code == 0:
            assert out.endswith("\n1\n")
            break
        assert code == -signal.SIGKILL, err
        kills += 1
        told = Heard()
        again = spool_at(folder / "spool.db", sinks=["s"], listener=told)
        await again.open()
        assert [entry.event for entry in await everything(again)] == sent + late, f"killed at step {step}"
        assert len(told.damages) == 1, f"killed at step {step}"
        await again.close()
        left = {name.name for name in folder.iterdir() if "damaged" not in name.name}
        assert left == {"spool.db", "spool.db.lock"}, f"killed at step {step}"
    assert kills >= 10


def break_rootpage(path: Path) -> None:
    """Spoil the table that is read at the start and not needed after."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'drops'"
        page = connection.execute(query).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


async def test_damage_is_told_again_until_its_gap_record_is_durable(
    make: MakeSpool, path: Path, reports: list[DamageReport], told: Heard
) -> None:
    spool, _ = await filled(make, 5)
    await spool.close()
    break_rootpage(path)
    spool = await make(check=60)
    crashed = path.with_name("crashed.db")
    for suffix in ("", "-wal"):  # killed before anything was written of it
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", f"{crashed}{suffix}")
    await spool.flush()
    await spool.close()
    await (await make()).close()
    assert len(reports) == 1, "not again once it is told"
    again = spool_at(crashed, sinks=["s"], listener=told)
    await again.open()
    await again.close()
    assert len(reports) == 2
    assert reports[1].error == reports[0].error


async def test_what_is_wrong_with_a_file_that_was_replaced_already_is_no_damage_of_the_new_one(
    make: MakeSpool, path: Path
) -> None:
    spool, sent = await make(), events(50, 100_000)  # more than SQLite keeps in memory
    for event in sent:
        await keep(spool, [event])
    await spool.close()
    shutil.copy(path, f"{path}.new")
    suspected = list[sqlite3.Error]()
    reader = Reader(path, Window(0), suspected.append)
    await reader.blocks(0, 50, 1)
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(SpoolError):
        await reader.blocks(40, 50, 1)
    assert suspected
    Path(f"{path}.new").rename(path)
    assert [block.first_seq for block in await reader.blocks(40, 50, 1)] == [41]
    await reader.close()


async def test_reading_makes_no_file_where_there_is_none(make: MakeSpool, path: Path) -> None:
    spool, _ = await filled(make, 10, window=1, check=60)
    remove_file(path)
    with pytest.raises(SpoolError, match="unable to open"):
        await spool.read(0, 1)
    assert not path.exists()


@pytest.mark.parametrize("limits", [{"max_age": 50.0}, {"max_size": 1 << 20}])
async def test_events_that_make_no_sense_and_have_to_go_do_not_end_the_writer(
    make: MakeSpool, path: Path, told: Heard, limits: dict[str, Any]
) -> None:
    clock = ManualClock()
    spool = await make(clock=clock)
    for _ in range(100):
        now_us = int(clock.time() * 1e6)
        sent = [Event.create("alerts", "e", ["x" * 20_000], received_us=now_us)]
        await keep(spool, sent)
    await spool.close()
    with opened(path, "rw") as look:  # which counts what it misses
        look.order("replay", "s", Selection(event="e"))
    change(path, "UPDATE blocks SET body = x'91c0' WHERE first_seq IN (1, 3)")
    await clock.advance(60)
    spool = await make(clock=clock, **limits)
    await until(lambda: told.damages)
    await keep(spool, more := [Event.create("alerts", "e", received_us=int(clock.time() * 1e6))])
    await until(lambda: told.drops)
    assert not spool.failed.done()
    assert (await everything(spool))[-1].event == more[0]


async def test_a_spool_of_another_version_is_refused_and_left_untouched(make: MakeSpool, path: Path) -> None:
    await (await make()).close()
    for version in (FORMAT - 1, FORMAT + 1):
        words = f"by another tdbwatch \\(spool format {version}, this one knows {FORMAT}\\); use that version"
        change(path, f"PRAGMA user_version = {version}")
        content = path.read_bytes()
        for refused in (make, lambda: asyncio.to_thread(examine, path)):
            with pytest.raises(SpoolError, match=words):
                await refused()
        with pytest.raises(SpoolError, match=words):
            repair(path)
        assert path.read_bytes() == content
        assert set_aside(path) == []
