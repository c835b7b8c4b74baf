"""What people ask for takes the room of nobody: neither of what is undelivered, nor of what comes in."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tdbwatch.daemon.spool.browse import opened, stats
from tdbwatch.daemon.spool.damage import damaged, is_full
from tdbwatch.daemon.spool.drops import Tally
from tdbwatch.daemon.spool.pending import Pending
from tdbwatch.daemon.spool.pruning import Limits, holds
from tdbwatch.daemon.spool.requests import Kind, Request, ask
from tdbwatch.daemon.spool.schema import connect
from tdbwatch.daemon.spool.selection import Selection
from tdbwatch.daemon.spool.space import Space
from tdbwatch.daemon.spool.store import Store

from tdbwatch.daemon.spool import DeadLetter, SqliteSpool
from tdbwatch.daemon.spool.inbox import Group
from tdbwatch.plugin import Event

from .spool_bench import MakeSpool, events, everything, making

MIB = 1 << 20


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with making(tmp_path, check_interval=0.01, drop_interval=0) as make:
        yield make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


async def asked(path: Path, kind: Kind = "replay", sink: str = "s") -> int:
    def leave() -> int:
        with opened(path, "rw") as connection:
            return ask(connection, kind, sink, Selection(), 0)

    return await asyncio.to_thread(leave)


def requests(path: Path) -> tuple[Request, ...]:
    with opened(path) as connection:
        return stats(connection, path).requests


def reads(spool: SqliteSpool, **options: Any) -> None:
    spool.reads("s", lambda event: True, lambda last_seq: last_seq - spool.cursor("s"), **options)


async def looked(spool: SqliteSpool) -> None:
    """The writer has looked for requests, and served what it would, some times over."""
    for _ in range(10):
        await spool.flush()
        await asyncio.sleep(0.01)


async def append(spool: SqliteSpool, groups: int, *finished: str) -> None:
    """So many groups of 100 events, which these sinks finish."""
    for _ in range(groups):
        spool.append(events(100, 1000))
        await spool.flush()
        for sink in finished:
            spool.advance(sink, spool.last_seq)


async def waits(spool: SqliteSpool, path: Path) -> bool:
    found = requests(path)
    await spool.flush()  # what the last step has added is heard of
    return bool(found)


async def served(spool: SqliteSpool, path: Path) -> list[int]:
    """Be a sink that keeps up until nothing is asked for any more; the numbers of the copies it got."""
    got: list[int] = []
    async with asyncio.timeout(20):
        while await waits(spool, path) or spool.cursor("s") < spool.last_seq:
            for entry in await spool.read(spool.cursor("s"), 1000, MIB):
                got += [entry.event.args[0]] if entry.target == "s" else []
                spool.advance("s", entry.seq)
            await asyncio.sleep(0.001)
    return got


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
async def test_a_replay_takes_no_room_of_what_another_sink_has_not_got_nor_of_what_comes_in(
    make: MakeSpool, path: Path, when_full: str
) -> None:
    spool = await make(sinks=["s", "dead"], max_size=2 * MIB, when_full=when_full)
    reads(spool)
    await append(spool, 13, "s")
    assert await asked(path) == 1300
    await looked(spool)
    assert requests(path), "most of the copies wait"
    copies = spool.last_seq - 1300
    spool.append(events(50, 1000))
    await looked(spool)
    assert (spool.dropped, spool.first_seq, spool.last_seq) == (0, 1, 1350 + copies)
    while requests(path):
        spool.advance("s", spool.last_seq)
        spool.advance("dead", spool.last_seq)
        await asyncio.sleep(0.001)
    assert spool.dropped == 0


async def test_a_full_spool_in_which_all_is_delivered_is_replayed_to_the_last_event(
    make: MakeSpool, path: Path
) -> None:
    spool = await make(sinks=["s"], max_size=2 * MIB)
    reads(spool)
    while spool.first_seq == 1:
        await append(spool, 1, "s")
    await looked(spool)
    expected = [entry.event.args[0] for entry in await everything(spool, after=spool.first_seq - 1)]
    assert await asked(path) == len(expected)
    got = await served(spool, path)
    assert got == expected


async def test_what_a_replay_finds_no_more_is_counted_and_said(make: MakeSpool, path: Path) -> None:
    spool = await make(sinks=["s"], max_size=2 * MIB)
    await append(spool, 13, "s")
    count = await asked(path)  # nobody reads for it yet
    await append(spool, 5, "s")
    assert 0 < requests(path)[0].missed == spool.first_seq - 1
    await spool.close()
    with capture_logs() as logs:
        spool = await make(sinks=["s"], max_size=2 * MIB)
        reads(spool)
        got = await served(spool, path)
        await looked(spool)
    said = [line["records"] for line in logs if line["event"] == "spool.replay_missed"]
    assert len(said) == 2, "as soon as it is known, and in the end"
    assert said[-1] == count - len(got)
    with opened(path) as connection:
        assert not connection.execute("SELECT * FROM meta WHERE key LIKE 'missed%'").fetchall()


async def test_what_a_replay_finds_no_more_is_known_after_damage(make: MakeSpool, path: Path) -> None:
    spool = await make(sinks=["s"], max_size=2 * MIB)
    await append(spool, 13, "s")
    await asked(path)
    await append(spool, 5, "s")
    [before] = requests(path)
    await spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE attempts")
    await make(sinks=["s"], max_size=2 * MIB)
    assert requests(path)[0].missed == before.missed > 0


@pytest.mark.parametrize("kind", ["replay", "requeue"])
def test_a_step_is_small_however_large_the_events_are(path: Path, kind: Kind) -> None:
    with closing(Store(path, connect)) as store:
        for _ in range(10):
            group = Group()
            group.events = [Event.create("r", "e", ["x" * (3 * MIB // 2)])]
            entries = store.commit(group)
            group = Group()
            group.letters = [DeadLetter("s", entry, "r", 1, "", "", 1, 2) for entry in entries]
            store.commit(group)
        with opened(path, "rw") as connection:
            ask(connection, kind, "s", Selection(), 0)
        copies = []
        while waiting := store.requests():
            entries, _ = store.serve(waiting[0], lambda event: True, Limits(), store.last_seq, 0)
            assert len(entries) <= 2
            copies += entries
        assert len(copies) == 10


async def test_copies_that_a_sink_has_not_even_read_are_bounded_in_bytes(make: MakeSpool, path: Path) -> None:
    spool = await make(sinks=["s"])
    reads(spool)
    for _ in range(16):
        spool.append([Event.create("r", "e", ["x" * 2 * MIB])])
        await spool.flush()
    spool.advance("s", 16)
    await asked(path)
    await looked(spool)
    assert 24 <= spool.last_seq <= 16 + 10
    async with asyncio.timeout(20):
        while spool.last_seq < 32:
            spool.advance("s", spool.last_seq)
            await asyncio.sleep(0.001)


def test_copies_leave_all_of_the_disk_that_is_kept_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Store(path, connect)) as store:
        group = Group()
        group.events = events(500, 1000)
        store.commit(group)
        with opened(path, "rw") as connection:
            ask(connection, "replay", "s", Selection(), 0)
        store.space.reserve = 4 * MIB
        free = store.space.reserve + 100_000
        monkeypatch.setattr(Space, "_size_and_free", lambda _: (64 * MIB, free))
        [request] = store.requests()
        store._forget(250, Tally("max_size"))  # there is room within the file, but not beside it
        with pytest.raises(sqlite3.OperationalError) as caught:
            store.serve(request, lambda event: True, Limits(), 500, 0)
        assert is_full(caught.value)
        monkeypatch.setattr(Space, "_size_and_free", lambda _: (64 * MIB, free + MIB))
        entries, _ = store.serve(request, lambda event: True, Limits(), 500, 0)
        assert len(entries) == 250


def test_how_much_entries_hold_is_known_without_reading_all_of_them(path: Path) -> None:
    with closing(Store(path, connect)) as store:
        group = Group()
        group.events = events(5_000, 100)
        store.commit(group)
        connection = connect(path)
        with closing(connection):
            assert holds(connection, 1, 5_000, 5_000, 5_000 * 180)
            assert not holds(connection, 1, 5_000, 5_000, 5_000 * 200)
            assert holds(connection, 1, 2_500, 2_500, 2_500 * 180)
            assert not holds(connection, 1, 0, 0, 1)


async def test_a_request_is_one_order_also_when_damage_gives_it_a_new_number(
    make: MakeSpool, path: Path
) -> None:
    orders: list[None] = []
    spool = await make(sinks=["s"])
    spool.append(events(5))
    await spool.flush()
    spool.advance("s", 5)
    spool.reads("s", lambda event: True, lambda last_seq: 10_000, asked=lambda: orders.append(None))
    with opened(path, "rw") as connection:
        connection.execute("INSERT INTO sqlite_sequence VALUES ('requests', 100)")
    await asked(path)
    await looked(spool)
    spool._writer.report_damage(damaged("a test says so"))
    while requests(path)[0].number > 100:
        await looked(spool)
    await looked(spool)
    assert len(orders) == 1
    spool.append(events(1))
    await spool.flush()
    await asked(path)
    await looked(spool)
    assert len(orders) == 2, "the same once more is another one"


async def test_what_makes_room_beyond_a_sick_room_is_counted_for_a_replay_too(
    make: MakeSpool, path: Path
) -> None:
    spool = await make(sinks=["s"], max_size=2 * MIB)
    spool.append([Event.create("sick", "e", [0])])
    await append(spool, 13)
    assert await asked(path) == 1301
    pending = Pending(1301, {("//stuff", "sick"): 1})
    spool.reads("s", lambda _: True, lambda _: 9999, pending=lambda: pending)
    async with asyncio.timeout(20):
        while not requests(path)[0].missed:
            await append(spool, 1)
    [request] = requests(path)
    with opened(path) as connection:
        query = "SELECT count(*) FROM events WHERE seq <= 1301"
        assert request.missed == 1301 - connection.execute(query).fetchone()[0] > 0
