"""What people order takes the space of nobody, and is delivered once, over crashes too."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from tdbwatch.daemon.spool import DeadLetter, Loss, Tally
from tdbwatch.daemon.spool.api import Behind, Gone
from tdbwatch.daemon.spool.errors import damaged, is_full
from tdbwatch.daemon.spool.file.disk import Space
from tdbwatch.daemon.spool.looking import gone
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.daemon.spool.stored.orders import OrderKind
from tdbwatch.daemon.spool.stored.store import Copies, Store
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock
from tests.daemon.spool.limits_kit import finish
from tests.daemon.spool.spool_kit import (
    Heard,
    MakeSpool,
    as_killed,
    change,
    events,
    everything,
    keep,
    making,
    until,
)
from tests.daemon.spool.store_kit import rows_of

from .redelivery_kit import Following, bury, letters_of, order, serving, waiting

MIB = 1 << 20
BOTH = pytest.mark.parametrize("kind", ["replay", "requeue"])


@pytest.fixture
async def make(tmp_path: Path, told: Heard) -> AsyncIterator[MakeSpool]:
    async with making(tmp_path, sinks=["s"], listener=told) as make:
        yield make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


async def filled(make: MakeSpool, count: int, size: int = 0, **options: Any) -> SqliteSpool:
    """A spool with this many events, all finished by the sink `s`."""
    spool = await make(**options)
    for start in range(0, count, 100):
        await keep(spool, events(min(100, count - start), size))
    finish(spool)
    await spool.flush()
    return spool


# -- what is delivered again -----------------------------------------------------------------------------


async def test_a_replay_beside_a_running_daemon_copies_what_was_heard_for_one_sink_once(
    make: MakeSpool, path: Path
) -> None:
    spool = await filled(make, 2500)
    courier = Following(spool)
    courier.position = 2500
    originals = [entry.event for entry in await everything(spool)]
    async with serving(spool, courier):
        for _ in range(2):  # copies are not replayed again
            await asyncio.to_thread(order, path, "replay")
            await courier.served()
    assert courier.got == originals * 2, "under the ids that they have"
    assert {entry.target for entry in await everything(spool, after=2500)} == {"s"}


async def test_a_replay_is_about_what_is_asked_for_as_far_as_its_sink_wants_it(
    make: MakeSpool, path: Path
) -> None:
    spool = await make()
    await keep(spool, [Event.create(f"room-{n % 3}", "e", [n]) for n in range(30)])
    finish(spool)
    courier = Following(spool)
    courier.position = 30
    order(path, "replay", room="room-[12]")
    async with serving(spool, courier, wants=lambda event: event.args[0] % 2 == 0):
        await courier.served()
    assert courier.numbers == [4, 10, 16, 22, 28, 2, 8, 14, 20, 26]


async def test_a_replay_ends_where_the_log_ended_when_it_was_ordered(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 10)
    order(path, "replay")
    await keep(spool, events(5))
    courier = Following(spool)
    async with serving(spool, courier):
        await courier.served()
    assert courier.numbers == list(range(10))


async def test_an_order_waits_for_a_sink_that_is_far_behind(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 6000)
    order(path, "replay")
    courier = Following(spool)
    courier.position, courier.behind = 6000, 5001
    async with serving(spool, courier) as clock:
        await clock.idle()
        assert spool.last_seq == 6000
        courier.behind = 0
        await courier.served()
    assert courier.numbers == [n % 100 for n in range(6000)]


async def test_an_order_for_a_sink_that_nobody_has_waits_for_it(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 3)
    order(path, "replay", sink="other")
    async with serving(spool, Following(spool)) as clock:
        await clock.idle()
    await spool.close()
    again = await make(sinks=["s", "other"])
    courier = Following(again, "other")
    async with serving(again, courier) as clock:
        await courier.served()
    assert courier.numbers == [0, 1, 2]


async def test_requeued_letters_are_in_the_log_or_dead_never_both_and_never_neither(
    make: MakeSpool, path: Path
) -> None:
    spool = await filled(make, 2200)
    await bury(spool, 2200)
    order(path, "requeue")
    courier = Following(spool)
    courier.position = 2200
    async with serving(spool, courier, wants=lambda _: False):  # which does not matter here
        await courier.served()
    assert courier.numbers == [n % 100 for n in range(2200)]
    assert letters_of(path) == []


async def test_letters_that_are_not_meant_stay(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 10)
    await bury(spool, 10)
    ids = tuple(letter.entry.event.id for letter in letters_of(path)[3:5])
    order(path, "requeue", ids=ids)
    courier = Following(spool)
    courier.position = 10
    async with serving(spool, courier):
        await courier.served()
    assert courier.numbers == [3, 4]
    assert [letter.entry.seq for letter in letters_of(path)] == [1, 2, 3, 6, 7, 8, 9, 10]


async def one_step(spool: SqliteSpool) -> None:
    before = spool.last_seq
    await until(lambda: spool.last_seq > before or not waiting(spool.path))


@BOTH
async def test_crashes_between_the_steps_of_an_order_repeat_and_lose_nothing(
    make: MakeSpool, path: Path, tmp_path: Path, kind: OrderKind
) -> None:
    spool = await filled(make, 2500, 2000)
    await bury(spool, 2500 if kind == "requeue" else 0)
    order(path, kind)
    life = 0
    while waiting(spool.path):
        life += 1
        courier = Following(spool)
        courier.behind = 0
        async with serving(spool, courier):
            await one_step(spool)
        as_killed(spool.path, tmp_path / f"life-{life}.db")
        spool = await make(f"life-{life}.db")
    copied = [entry.event.args[0] for entry in await everything(spool, after=2500)]
    assert copied == [n % 100 for n in range(2500)]
    assert life > 2


async def test_an_order_wakes_its_sink_once_also_over_damage(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 5)
    courier = Following(spool)
    courier.behind = 10_000
    async with serving(spool, courier) as clock:
        order(path, "replay")
        await until(lambda: courier.woken)
        spool._files.suspect(damaged("a test says so"))
        await until(lambda: list(path.parent.glob("*.damaged-*")))
        await clock.idle()
        assert (courier.woken, len(waiting(path))) == (1, 1)
        order(path, "replay")
        await until(lambda: courier.woken == 2)
        await clock.idle()
        assert courier.woken == 2, "the same once more is another one"


# -- whose space it takes --------------------------------------------------------------------------------


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
async def test_a_replay_takes_no_space_of_what_another_sink_has_not_got_nor_of_what_comes_in(
    make: MakeSpool, path: Path, when_full: str
) -> None:
    spool = await make(sinks=["s", "dead"], max_size=2 * MIB, when_full=when_full)
    for _ in range(13):
        await keep(spool, events(100, 1000))
    finish(spool)
    courier = Following(spool)
    courier.position = 1300
    order(path, "replay")
    async with serving(spool, courier) as clock:
        await clock.idle()
        assert waiting(path), "most of the copies wait"
        copies = spool.last_seq - 1300
        await keep(spool, events(50, 1000))
        await clock.idle()
        assert (spool.drops.count, spool.first_seq, spool.last_seq) == (0, 1, 1350 + copies)

        def done() -> bool:
            spool.save("dead", spool.last_seq, {})
            return not waiting(path)

        await courier.take_until(done)
    assert spool.drops.count == 0


@pytest.mark.parametrize("size", [10, 1000, 100_000])
async def test_a_small_full_spool_in_which_all_is_delivered_is_replayed_to_the_last_event(
    make: MakeSpool, path: Path, size: int
) -> None:
    spool = await make(max_size=MIB)
    while spool.first_seq == 1:
        await keep(spool, events(max(1, 100_000 // (size + 50)), size))
        finish(spool)
    await spool.flush()
    expected = [entry.event.id for entry in await everything(spool, after=spool.first_seq - 1)]
    courier = Following(spool)
    courier.position = spool.last_seq
    order(path, "replay")
    async with serving(spool, courier):
        await courier.served()
    assert [event.id for event in courier.got] == expected


async def test_what_a_replay_finds_no_more_is_counted_and_said(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 1300, 1000, max_size=2 * MIB)
    order(path, "replay")  # nobody reads for it yet
    for _ in range(9):
        await keep(spool, events(100, 1000))
        finish(spool)
    [before] = waiting(path)
    assert 0 < before.missed == spool.first_seq - 1
    await spool.close()
    with capture_logs() as logs:
        spool = await make(max_size=2 * MIB)
        courier = Following(spool)
        async with serving(spool, courier) as clock:
            await courier.served()
            await clock.idle()
    said = [line["records"] for line in logs if line["event"] == "spool.replay_missed"]
    assert said[0] == before.missed, "as soon as it is known"
    assert said[-1] == 1300 - len(courier.got), "and in the end"
    assert len(said) <= 2


async def test_what_a_replay_finds_no_more_is_known_after_damage(make: MakeSpool, path: Path) -> None:
    spool = await filled(make, 1300, 1000, max_size=2 * MIB)
    order(path, "replay")
    for _ in range(9):
        await keep(spool, events(100, 1000))
        finish(spool)
    [before] = waiting(path)
    await spool.close()
    change(path, "DROP TABLE attempts")
    await make(max_size=2 * MIB)
    assert waiting(path)[0].missed == before.missed > 0


async def test_what_makes_space_beside_a_sick_room_is_counted_for_a_replay_too(
    make: MakeSpool, path: Path
) -> None:
    spool = await make(max_size=2 * MIB)
    await keep(spool, [Event.create("sick", "e", [0])])
    for _ in range(13):
        await keep(spool, events(100, 1000))
    order(path, "replay")
    spool.save("s", 1301, {Lane("//stuff", "sick"): Behind(1)})
    async with asyncio.timeout(20):
        while not waiting(path)[0].missed:
            await keep(spool, events(100, 1000))
    left = {entry.seq for entry in await everything(spool)}
    assert 1 in left
    assert waiting(path)[0].missed == len(set(range(1, 1302)) - left)


@BOTH
async def test_a_step_is_small_however_large_the_events_are(
    make: MakeSpool, path: Path, kind: OrderKind
) -> None:
    spool = await make()
    for _ in range(10):
        await keep(spool, [Event.create("r", "e", ["x" * (3 * MIB // 2)])])
    await bury(spool, 10)
    finish(spool)
    steps, courier = set[int](), Following(spool)
    courier.position = 10
    whole = spool.redeliver

    async def noting(*args: Any) -> bool:
        steps.add(len(args[1]))
        return await whole(*args)

    spool.redeliver = noting  # type: ignore[method-assign]
    order(path, kind)
    async with serving(spool, courier):
        await courier.served()
    assert len(courier.got) == 10
    assert max(steps) <= 2


async def test_copies_that_a_sink_has_not_even_read_are_bounded_in_bytes(make: MakeSpool, path: Path) -> None:
    spool = await make()
    for _ in range(16):
        await keep(spool, [Event.create("r", "e", ["x" * 2 * MIB])])
    finish(spool)
    courier = Following(spool)
    courier.position = 16
    order(path, "replay")
    async with serving(spool, courier) as clock:
        await until(lambda: spool.last_seq >= 24)
        await clock.idle()
        assert spool.last_seq <= 16 + 10
        await courier.served()
    assert spool.last_seq == 32


def test_copies_leave_all_of_the_disk_that_is_kept_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Store(path, connect)) as store:
        for _ in range(2):
            store.commit(rows_of(events(250, 1000)), ())
        order(path, "replay")
        store.delete([Gone(1, 250, Lane("//stuff", "alerts"), None)], Tally("max_size"))
        [waits] = waiting(path)
        copies = Copies(waits, heard(events(250, 1000)), 500, (), cast("Any", None))
        store.space.reserve = 4 * MIB
        free = store.space.reserve + 100_000  # there is space within the file, but not beside it
        monkeypatch.setattr(Space, "_size_and_free", lambda _: (64 * MIB, free))
        with pytest.raises(sqlite3.OperationalError) as caught:
            store.commit(copies.rows(0), [copies], can_wait=True)
        assert is_full(caught.value)
        monkeypatch.setattr(Space, "_size_and_free", lambda _: (64 * MIB, free + MIB))
        assert sum(block.count for block in store.commit(copies.rows(0), [copies], can_wait=True)) == 250


# -- how old it is ---------------------------------------------------------------------------------------


async def old_letters(make: MakeSpool, clock: ManualClock, count: int) -> SqliteSpool:
    """A spool with dead letters of events that `max_age` has long taken, and nothing else."""
    spool = await make(clock=clock, max_age=100)
    now_us = int(clock.time() * 1e6)
    await keep(spool, [Event.create("r", "e", [n], received_us=now_us) for n in range(count)])
    await bury(spool, count)
    finish(spool)
    await clock.advance(1_000)
    while spool.entries:
        await spool.flush()
    return spool


def numbers(entries: list[Any]) -> list[Any]:
    return [entry.event.args[0] for entry in entries]


async def test_a_requeued_letter_grows_old_from_when_it_was_requeued(
    make: MakeSpool, path: Path, told: Heard
) -> None:
    clock = ManualClock()
    spool = await old_letters(make, clock, 5)
    courier = Following(spool)
    async with serving(spool, courier):
        order(path, "requeue")
        await until(lambda: not waiting(path))
    await clock.advance(99)
    for _ in range(3):
        await spool.flush()
    assert numbers(await everything(spool)) == list(range(5))
    assert (spool.entries, spool.drops.count) == (5, 0), "not in memory only"
    await clock.advance(2)
    while spool.entries:
        await spool.flush()
    await until(lambda: told.drops)
    assert [report.count for report in told.drops] == [5]


async def test_requeued_letters_of_two_times_grow_old_one_after_the_other_also_after_a_restart(
    make: MakeSpool, path: Path
) -> None:
    clock = ManualClock()
    spool = await old_letters(make, clock, 5)
    ids = [letter.entry.event.id for letter in letters_of(path)]
    async with serving(spool, Following(spool)):
        order(path, "requeue", ids=tuple(ids[:2]))
        await until(lambda: not waiting(path))
        await clock.advance(60)
        order(path, "requeue")
        await until(lambda: not waiting(path))
    await spool.close()
    await clock.advance(60)
    again = await make(clock=clock, max_age=100)
    while again.first_seq < 8:
        await again.flush()
    assert numbers(await everything(again)) == [2, 3, 4]


async def test_copies_of_what_is_too_old_outlive_damage(make: MakeSpool, path: Path, told: Heard) -> None:
    clock = ManualClock()
    spool = await old_letters(make, clock, 5)
    async with serving(spool, Following(spool)):
        order(path, "requeue")
        await until(lambda: not waiting(path))
    await spool.close()
    change(path, "DROP TABLE attempts")
    again = await make(clock=clock, max_age=100)
    for _ in range(3):
        await again.flush()
    assert len(told.damages) == 1
    assert numbers(await everything(again)) == list(range(5))


# -- what else outlives the daemon -----------------------------------------------------------------------


async def test_what_was_dropped_and_not_told_is_told_after_a_crash(
    make: MakeSpool, path: Path, told: Heard
) -> None:
    clock = ManualClock()
    spool = await make(clock=clock, max_age=100, drops=3600.0)
    now_us = int(clock.time() * 1e6)
    await keep(spool, [Event.create("r", received_us=now_us + n) for n in range(5)])
    await clock.advance(101)
    await keep(spool, [Event.create("r", received_us=int(clock.time() * 1e6))])
    as_killed(path, path.with_name("crashed.db"))
    for _ in range(2):  # told once: not again at the next start
        crashed = await make("crashed.db", clock=clock)
        await crashed.close()
    assert told.drops == [Tally("max_age", {Lane("//stuff", "r"): Loss(5, now_us, now_us + 4)})]


def give(path: Path, old: str, new: str = "s") -> None:
    with opened(path, "rw") as look:
        gone.give(look, old, new)


async def test_a_move_gives_what_a_gone_sink_left_to_another_and_forgets_it(
    make: MakeSpool, path: Path
) -> None:
    spool = await make(sinks=["old"])
    await keep(spool, events(10))
    lane = Lane("//stuff", "alerts")
    entries = await everything(spool)
    letter = DeadLetter("old", entries[0], "r", 3, "a", "b", 1, 2)
    await spool.dead_letter("old", 6, {lane: Behind(3, ((5, 5),))}, [letter])
    await spool.close()
    give(path, "old")
    spool = await make(sinks=["s"])
    courier = Following(spool)
    assert courier.position == 10, "a new sink begins at the end"
    await keep(spool, events(3))
    async with serving(spool, courier):
        await courier.served()
    assert courier.numbers == [2, 3, 5, 6, 7, 8, 9], "neither what it had, nor what came after it"
    assert [letter.sink for letter in letters_of(path)] == ["s"]
    with opened(path) as look:
        assert look.sinks() == {"s"}


async def test_a_move_waits_as_long_as_the_old_sink_is_configured(make: MakeSpool, path: Path) -> None:
    spool = await make(sinks=["old", "s"])
    await keep(spool, events(3))
    give(path, "old")
    courier, old = Following(spool), Following(spool, "old")
    async with serving(spool, courier, old) as clock:
        await clock.idle()
    assert (courier.numbers, len(waiting(path))) == ([], 1)


async def test_what_a_gone_sink_left_is_still_known_after_damage(make: MakeSpool, path: Path) -> None:
    spool = await make(sinks=["old", "s"])
    await keep(spool, events(4))
    await spool.close()
    spool = await make(sinks=["s"])
    courier = Following(spool)
    path.unlink()
    await until(path.exists)
    await keep(spool, events(2))
    assert gone.left_in(path, ["s"]) == (gone.LeftBehind("old", 4, 0),)
    give(path, "old")
    async with serving(spool, courier):
        await courier.served()
    assert courier.numbers == [0, 1, 2, 3]
