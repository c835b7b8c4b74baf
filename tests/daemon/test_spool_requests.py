"""Requests, durable counts of drops, attempts over restarts, renewals cut short: what outlives the daemon."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tdbwatch.daemon.spool.browse import letters, opened, stats
from tdbwatch.daemon.spool.pruning import Limits
from tdbwatch.daemon.spool.requests import ask, discard
from tdbwatch.daemon.spool.schema import connect
from tdbwatch.daemon.spool.selection import Selection
from tdbwatch.daemon.spool.store import Store

from tdbwatch.daemon.spool import Attempt, DeadLetter, DropReport, Entry, SpoolError, SqliteSpool
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

from .spool_bench import MakeSpool, everything, making


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with making(tmp_path, check_interval=0.01) as make:
        yield make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def events(count: int, room: str = "alerts") -> list[Event]:
    return [Event.create(room, "e", [number]) for number in range(count)]


async def filled(make: MakeSpool, count: int, **options: Any) -> SqliteSpool:
    """A spool with this many events, all finished by the sink `s`."""
    spool = await make(sinks=["s"], **options)
    spool.reads("s", lambda event: True, lambda last_seq: last_seq - spool.cursor("s"))
    spool.append(events(count))
    await spool.flush()
    spool.advance("s", count)
    return spool


def asked(path: Path, kind: Any, **selection: Any) -> int:
    with opened(path, "rw") as connection:
        return ask(connection, kind, "s", Selection(**selection), 0)


def numbers(entries: list[Entry]) -> list[int]:
    return [entry.event.args[0] for entry in entries]


async def consume(spool: SqliteSpool, until_seq: int) -> None:
    """The sink keeps up until the log has got so far."""
    while spool.last_seq < until_seq:
        await spool.wait_after(spool.cursor("s"))
        spool.advance("s", spool.last_seq)


async def test_a_replay_beside_a_running_daemon_copies_what_was_heard_for_one_sink_once(
    make: MakeSpool, path: Path
) -> None:
    spool = await filled(make, 2500)
    assert await asyncio.to_thread(asked, path, "replay") == 2500
    await consume(spool, 5000)
    copies = await everything(spool, after=2500)
    assert numbers(copies) == list(range(2500))
    assert {entry.target for entry in copies} == {"s"}
    originals = await everything(spool)
    assert [entry.event for entry in copies] == [entry.event for entry in originals[:2500]]
    assert await asyncio.to_thread(asked, path, "replay") == 2500, "copies are not replayed again"


async def test_a_replay_asks_the_filter_of_its_sink(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 10)
    spool.reads("s", lambda event: event.args[0] % 2 == 0, lambda last_seq: last_seq - spool.cursor("s"))
    await asyncio.to_thread(asked, path, "replay")
    await consume(spool, 15)
    assert numbers(await everything(spool, after=10)) == [0, 2, 4, 6, 8]


async def test_a_replay_waits_for_a_sink_that_is_far_behind(make: MakeSpool, path: Path) -> None:
    spool = await make(sinks=["s"])
    spool.reads("s", lambda event: True, lambda last_seq: last_seq - spool.cursor("s"))
    spool.append(events(6000))
    await spool.flush()
    await asyncio.to_thread(asked, path, "replay")
    for _ in range(5):
        spool.append(events(1))
        await spool.flush()
        await asyncio.sleep(0.02)
    assert spool.last_seq == 6005
    spool.advance("s", 6005)
    await consume(spool, 12005)


async def test_a_request_for_a_sink_that_nobody_has_waits_for_it(make: MakeSpool, path: Path) -> None:
    spool = await make(sinks=["s"])
    spool.append(events(3))
    await spool.flush()
    await asyncio.to_thread(asked, path, "replay")
    spool.append(events(1))
    await spool.flush()
    await spool.close()
    again = await make(sinks=["s"])
    again.reads("s", lambda event: True, lambda last_seq: last_seq - again.cursor("s"))
    again.advance("s", 4)
    await consume(again, 7)
    assert numbers(await everything(again, after=4)) == [0, 1, 2]


async def bury(spool: SqliteSpool, count: int) -> None:
    entries = await everything(spool)
    await spool.dead_letter([DeadLetter("s", entry, "r", 3, "a", "b", 1, 2) for entry in entries[:count]])


async def test_requeued_letters_are_in_the_log_or_dead_never_both_and_never_neither(
    make: MakeSpool, path: Path
) -> None:
    spool = await filled(make, 2200)
    await bury(spool, 2200)
    assert await asyncio.to_thread(asked, path, "requeue") == 2200
    await consume(spool, 4400)
    assert numbers(await everything(spool, after=2200)) == list(range(2200))
    with opened(path) as connection:
        assert list(letters(connection, Selection())) == []
        assert stats(connection, path).requests == ()


def test_a_crash_between_the_steps_of_a_request_repeats_and_loses_nothing(path: Path) -> None:
    async def fill() -> None:
        spool = SqliteSpool(path, linger=0, sinks=["s"])
        await spool.open()
        spool.append(events(2500))
        await spool.flush()
        await bury(spool, 2500)
        await spool.close()

    asyncio.run(fill())
    asked(path, "requeue")
    copied: list[int] = []
    for _ in range(3):  # each life makes one step
        with closing(Store(path, connect)) as store:
            [request] = store.requests()
            entries, _ = store.serve(request, lambda event: True, Limits(), store.last_seq, 0)
            copied += numbers(entries)
    assert copied == list(range(2500))
    with closing(Store(path, connect)) as store:
        assert store.requests() == []
        assert store.last_seq == 5000


async def test_letters_of_a_selection_are_discarded_in_steps(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 2200)
    await bury(spool, 2200)
    chosen = tuple(entry.event.id for entry in (await everything(spool))[500:1700])
    with opened(path, "rw") as connection:
        assert discard(connection, Selection(ids=chosen)) == 1200
        assert {letter.entry.event.id for letter in letters(connection, Selection())}.isdisjoint(chosen)


async def test_what_was_dropped_and_not_told_is_told_after_a_crash(make: MakeSpool, path: Path) -> None:
    clock = ManualClock()
    spool = await make(clock=clock, max_age=100, drop_interval=3600, sinks=["s"])
    now_us = int(clock.time() * 1e6)
    spool.append([Event.create("r", received_us=now_us + n) for n in range(5)])
    await spool.flush()
    await clock.advance(101)
    spool.append([Event.create("r", received_us=int(clock.time() * 1e6))])
    await spool.flush()
    for suffix in ("", "-wal"):  # as a crash leaves it
        copy = path.with_name("crashed.db" + suffix)
        copy.write_bytes(path.with_name(path.name + suffix).read_bytes())
    reports: list[DropReport] = []
    crashed = SqliteSpool(
        path.with_name("crashed.db"), clock=clock, linger=0, drop_interval=0, on_drop=reports.append
    )
    for expected in (1, 1):  # told once: not again at the next start
        await crashed.open()
        await crashed.close()
        assert len(reports) == expected
        crashed = SqliteSpool(crashed.path, clock=clock, linger=0, on_drop=reports.append)
    times = {("//stuff", "r"): (now_us, now_us + 4)}
    assert reports == [DropReport("max_age", 5, now_us, now_us + 4, {("//stuff", "r"): 5}, 0, times)]


async def test_nothing_undelivered_goes_uncounted_while_sinks_have_not_asked_yet(
    make: MakeSpool, path: Path
) -> None:
    clock = ManualClock()
    spool = await make(clock=clock, sinks=["quick", "slow"])
    spool.append([Event.create("r", received_us=int(clock.time() * 1e6)) for _ in range(5)])
    await spool.flush()
    spool.advance("quick", 5)
    await spool.close()
    reports: list[DropReport] = []
    await clock.advance(1000)
    spool = await make(
        clock=clock, sinks=["quick", "slow"], max_age=100, drop_interval=0, on_drop=reports.append
    )
    assert spool.cursor("quick") == 5  # slow is not made yet
    spool.append(events(1))
    await spool.flush()
    await spool.close()
    assert [report.count for report in reports] == [5]


async def test_a_restart_repeats_nothing_that_was_delivered_however_much_was_tried_since(
    make: MakeSpool,
) -> None:
    spool = await make(sinks=["s"])
    spool.append(events(100))
    await spool.flush()
    spool.note(Attempt("s", tuple(range(2, 101)), 1, 1, 1, "delivered", ""))
    for number in range(1, 25_001):
        spool.note(Attempt("s", (1,), number, number, 1, "error", "down"))
        if number % 5000 == 0:
            await spool.flush()
    await spool.close()
    history = (await make(sinks=["s"])).history("s")
    assert history.finished == set(range(2, 101))
    assert (history.failed.keys(), history.failed[1].attempts) == ({1}, 25_000)


async def test_the_past_of_unfinished_entries_survives_a_restart(make: MakeSpool) -> None:
    spool = await make(sinks=["s"])
    spool.append(events(6))
    await spool.flush()
    for number, at in ((1, 1000), (2, 5000)):
        spool.note(Attempt("s", (1, 2, 3), number, at, 1, "error", f"failure {number}"))
    spool.note(Attempt("s", (4, 5), 1, 9000, 1, "delivered", ""))
    spool.note(Attempt("s", (2,), 3, 9000, 1, "delivered", ""))
    spool.note(Attempt("other", (6,), 1, 9000, 1, "delivered", ""))
    [_, _, third, *_] = await everything(spool)
    await spool.dead_letter([DeadLetter("s", third, "r", 2, "a", "b", 1, 2)])
    await spool.close()
    history = (await make(sinks=["s"])).history("s")
    assert history.finished == {2, 3, 4, 5}
    assert {
        seq: (p.attempts, p.first_us, p.first_error, p.last_error) for seq, p in history.failed.items()
    } == {1: (2, 1000, "failure 1", "failure 2")}


async def test_a_writer_that_dies_is_noticed_and_nothing_waits_for_it(make: MakeSpool) -> None:
    def broken(path: Path) -> sqlite3.Connection:
        return connect(path, Mistaken)

    spool = await make(connect=broken)
    spool.append(events(1))
    with pytest.raises(SpoolError, match="the writer died: ZeroDivisionError"):
        await spool.flush()
    with pytest.raises(SpoolError, match="the writer died"):
        await spool.failed
    with pytest.raises(SpoolError, match="the writer died"):
        await spool.flush()
    assert spool.trouble is not None


class Mistaken(sqlite3.Connection):
    """Raises what no disk does."""

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        raise ZeroDivisionError


async def test_dead_letters_outlive_damage(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 50)
    await bury(spool, 10)
    with opened(path) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'attempts'").fetchone()[0]
    await spool.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    reports: list[Any] = []
    spool = await make(on_damage=reports.append, sinks=["s"])
    spool.note(Attempt("s", (1,), 1, 1, 1, "retry", ""))
    while not reports:
        await asyncio.sleep(0.005)
    assert reports[0].letters == 10
    with opened(path) as connection:
        assert len(list(letters(connection, Selection(sink="s")))) == 10


async def test_a_renewal_cut_short_before_its_last_step_is_finished_at_the_next_start(
    make: MakeSpool, path: Path
) -> None:
    spool = await filled(make, 5)
    await spool.close()
    path.rename(path.with_name("spool.db.renewed"))  # the old file has moved aside, the new one not in
    again = await make(sinks=["s"])
    assert again.last_seq == 5
    assert again.cursor("s") == 5


async def test_the_daemon_starts_while_a_command_looks_whether_it_runs(make: MakeSpool, path: Path) -> None:
    import fcntl
    import os
    import threading

    await (await make()).close()
    file = os.open(path.with_name("spool.db.lock"), os.O_RDONLY)
    fcntl.flock(file, fcntl.LOCK_SH)
    threading.Timer(0.03, os.close, (file,)).start()
    assert (await make()).last_seq == 0


async def dropped(spool: SqliteSpool, path: Path) -> None:
    assert await asyncio.to_thread(discard_all, path) == 1


def discard_all(path: Path) -> int:
    with opened(path, "rw") as connection:
        return discard(connection, Selection(sink="s"))


async def requeued(spool: SqliteSpool, path: Path) -> None:
    spool.reads("s", lambda event: True, lambda last_seq: 0)
    assert await asyncio.to_thread(asked, path, "requeue") == 1
    async with asyncio.timeout(20):
        await spool.wait_after(5)


async def trimmed(spool: SqliteSpool, path: Path) -> None:
    [*_, last] = [entry for entry in await everything(spool) if entry.seq <= 5]
    await spool.dead_letter([DeadLetter("other", last, "r", 1, "a", "b", 1, 2)])
    await spool.flush()
    with opened(path) as connection:
        assert list(letters(connection, Selection(sink="s"))) == []


@pytest.mark.parametrize("end", [dropped, requeued, trimmed])
async def test_a_dead_letter_beyond_the_cursor_that_is_gone_is_not_offered_again_after_a_restart(
    make: MakeSpool, path: Path, end: Any
) -> None:
    options: dict[str, Any] = {"sinks": ["s", "other"], "max_dead_letters": 1}
    spool = await make(**options)
    spool.append(events(5))
    await spool.flush()
    spool.advance("s", 1)  # a sick room holds it back
    spool.advance("other", 1)
    third = (await everything(spool))[2]
    await spool.dead_letter([DeadLetter("s", third, "r", 2, "a", "b", 1, 2)])
    await end(spool, path)
    await spool.close()
    again = await make(**options)
    assert again.history("s").finished == {3}
    assert 3 not in again.history("other").finished


async def test_what_a_sink_is_finished_with_outlives_damage_though_its_dead_letter_is_deleted(
    make: MakeSpool, path: Path
) -> None:
    spool = await make(sinks=["s"])
    spool.append(events(5))
    await spool.flush()
    await bury(spool, 2)
    await asyncio.to_thread(discard_all, path)
    await spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO finished VALUES (77, 's'), ('x', 's')")  # no such entry; no number
        connection.execute("DROP TABLE attempts")
    reports: list[Any] = []
    spool = await make(on_damage=reports.append, sinks=["s"])
    assert len(reports) == 1
    assert spool.history("s").finished == {1, 2}


async def test_marks_of_what_a_sink_is_finished_with_end_with_their_entries(
    make: MakeSpool, path: Path
) -> None:
    clock = ManualClock()
    spool = await make(sinks=["s"], clock=clock, max_age=100)
    spool.append([Event.create("r", received_us=int(clock.time() * 1e6)) for _ in range(5)])
    await spool.flush()
    await bury(spool, 5)
    assert await asyncio.to_thread(discard_all, path) == 5
    await clock.advance(101)
    spool.append(events(1))
    await spool.flush()
    await spool.close()
    with opened(path) as connection:
        assert connection.execute("SELECT count(*) FROM finished").fetchone() == (0,)


async def test_a_dead_letter_that_the_cursor_has_passed_leaves_no_mark(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 5)
    await bury(spool, 5)
    assert await asyncio.to_thread(discard_all, path) == 5
    with opened(path) as connection:
        assert connection.execute("SELECT count(*) FROM finished").fetchone() == (0,)


@pytest.mark.parametrize("opens", [True, False])
async def test_a_spool_of_a_version_without_marks_gets_them_at_the_start_or_with_the_first_deletion(
    make: MakeSpool, path: Path, opens: bool
) -> None:
    spool = await make(sinks=["s"])
    spool.append(events(5))
    await spool.flush()
    await bury(spool, 2)
    await spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER letter_gone")
        connection.execute("DROP TABLE finished")
    if opens:
        await (await make(sinks=["s"])).close()
    assert await asyncio.to_thread(discard_all, path) == 2
    assert (await make(sinks=["s"])).history("s").finished == {1, 2}


def times(path: Path) -> tuple[int | None, int | None]:
    with opened(path) as connection:
        found = stats(connection, path)
    return found.oldest_us, found.newest_us


async def test_the_times_of_a_log_are_those_of_all_its_entries_wherever_copies_stand(
    make: MakeSpool, path: Path
) -> None:
    spool = await make(sinks=["s"])
    now_us = Event.create("r").received_us
    spool.append([Event.create("r", "e", [n], received_us=now_us + n) for n in range(2500)])
    await spool.flush()
    assert times(path) == (now_us, now_us + 2_499)
    spool.advance("s", 2500)
    spool.reads("s", lambda event: True, lambda last_seq: last_seq - spool.cursor("s"))
    await asyncio.to_thread(asked, path, "replay", room="r")
    await consume(spool, 5000)
    await asyncio.to_thread(asked, path, "replay", ids=((await everything(spool))[0].event.id,))
    await consume(spool, 5001)
    spool.append([Event.create("r", received_us=now_us - 500)] * 1_100)  # the clock was set back
    await spool.flush()
    assert times(path) == (now_us - 500, now_us + 2_499)


async def test_a_requeued_letter_that_is_older_than_the_log_begins_its_time_also_after_damage(
    make: MakeSpool, path: Path
) -> None:
    clock = ManualClock()
    now_us = int(clock.time() * 1e6)
    spool = await make(sinks=["s"], clock=clock, max_age=100)
    spool.append([Event.create("old", received_us=now_us)])
    await spool.flush()
    await bury(spool, 1)
    spool.advance("s", 1)
    await clock.advance(101)
    later_us = now_us + 101_000_000
    spool.append([Event.create("r", received_us=later_us) for _ in range(1_500)])
    await spool.flush()
    spool.reads("s", lambda event: True, lambda last_seq: 0)
    spool.advance("s", 1501)
    await asyncio.to_thread(asked, path, "requeue")
    async with asyncio.timeout(20):
        await spool.wait_after(1501)
    for _ in range(2):
        spool.append([Event.create("r", received_us=later_us + 1) for _ in range(1_500)])
        await spool.flush()
    assert times(path) == (now_us, later_us + 1)
    reports: list[Any] = []
    await spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE cursors SET seq = 0")
        connection.execute("DROP TABLE attempts")
    await make(on_damage=reports.append, sinks=["s"])
    assert len(reports) == 1
    assert times(path) == (now_us, later_us + 1)


async def old_letters(make: MakeSpool, clock: ManualClock, count: int, **options: Any) -> SqliteSpool:
    """A spool with dead letters of events that `max_age` has long taken, and nothing else."""
    spool = await make(sinks=["s"], clock=clock, max_age=100, **options)
    now_us = int(clock.time() * 1e6)
    spool.append([Event.create("r", "e", [n], received_us=now_us) for n in range(count)])
    await spool.flush()
    await bury(spool, count)
    spool.advance("s", count)
    await clock.advance(1_000)
    while spool.entries:
        await spool.flush()
    return spool


async def test_a_requeued_letter_grows_old_from_when_it_was_requeued(make: MakeSpool, path: Path) -> None:
    clock, reports = ManualClock(), list[DropReport]()
    spool = await old_letters(make, clock, 5, on_drop=reports.append, drop_interval=0)
    spool.reads("s", lambda event: True, lambda last_seq: 0)
    assert await asyncio.to_thread(asked, path, "requeue") == 5
    await spool.wait_after(9)
    await clock.advance(99)
    for _ in range(3):
        spool.advance("s", 5)
        await spool.flush()
    assert numbers(await everything(spool)) == list(range(5))
    assert (spool.entries, spool.dropped) == (5, 0), "not in memory only"
    await clock.advance(2)
    while spool.entries:
        await spool.flush()
    await asyncio.sleep(0.01)
    assert [report.count for report in reports] == [5]
    with opened(path) as connection:
        assert connection.execute("SELECT count(*) FROM copies").fetchone()[0] <= 1, "nothing is hoarded"


async def test_requeued_letters_of_two_times_grow_old_one_after_the_other_also_after_a_restart(
    make: MakeSpool, path: Path
) -> None:
    clock = ManualClock()
    spool = await old_letters(make, clock, 5)
    spool.reads("s", lambda event: True, lambda last_seq: 0)
    with opened(path) as connection:
        ids = [letter.entry.event.id for letter in letters(connection, Selection())]
    await asyncio.to_thread(asked, path, "requeue", ids=tuple(ids[:2]))
    await spool.wait_after(6)
    await clock.advance(60)
    await asyncio.to_thread(asked, path, "requeue")
    await spool.wait_after(9)
    await spool.close()
    await clock.advance(60)
    again = await make(sinks=["s"], clock=clock, max_age=100)
    while again.first_seq < 8:
        await again.flush()
    assert numbers(await everything(again)) == [2, 3, 4]


async def test_copies_of_what_is_too_old_outlive_damage(make: MakeSpool, path: Path) -> None:
    clock = ManualClock()
    spool = await old_letters(make, clock, 5)
    spool.reads("s", lambda event: True, lambda last_seq: 0)
    await asyncio.to_thread(asked, path, "requeue")
    await spool.wait_after(9)
    await spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE attempts")
    again = await make(sinks=["s"], clock=clock, max_age=100)
    for _ in range(3):
        again.advance("s", 5)
        await again.flush()
    assert numbers(await everything(again)) == list(range(5))


async def test_a_spool_of_a_version_that_noted_no_times_of_copies_goes_on(
    make: MakeSpool, path: Path
) -> None:
    spool = await filled(make, 5)
    await spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE copies")
    again = await make(sinks=["s"])
    again.reads("s", lambda event: True, lambda last_seq: 0)
    await asyncio.to_thread(asked, path, "replay")
    await again.wait_after(9)
