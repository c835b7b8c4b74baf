"""What every sink has makes room wherever it is; nothing else does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tdbwatch.daemon.spool.browse import opened, stats
from tdbwatch.daemon.spool.pending import Pending

from tdbwatch.daemon.spool import DropReport
from tdbwatch.plugin import Event

from .limits_bench import MakeSpool, telling
from .spool_bench import everything


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with telling(tmp_path) as make:
        yield make


def everything_is_wanted(_: Event) -> bool:
    return True


def nothing_is_behind(_: int) -> int:
    return 0


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
    says = lambda: Pending(spool.last_seq, {("//stuff", "sick"): 1})  # noqa: E731
    spool.reads("s", everything_is_wanted, nothing_is_behind, pending=says)  # its cursor stays at 0
    for start in range(0, 40_000, 1000):
        spool.append(numbered("well", range(start, start + 1000)))
        await spool.flush()
        spool.advance("t", spool.last_seq)
    async with asyncio.timeout(20):
        while spool.entries > 10_000:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # whatever it goes on to do
    assert (spool.dropped, reports) == (0, [])
    found = await everything(spool)
    assert [entry.event for entry in found[:10]] == sick, "which s is still to get"
    assert len(found) < 20_000
    assert found[-1].event.args[0] == 39_999
    await spool.close()
    again = await make(max_size=2 << 20, **options)
    assert again.last_seq == 40_010
    with opened(again.path) as connection:
        assert stats(connection, again.path).count == again.entries <= len(found)


async def test_what_a_sink_has_not_read_or_not_finished_is_not_what_makes_room(make: MakeSpool) -> None:
    reports: list[DropReport] = []
    spool = await make(max_size=2 << 20, sinks=["s", "t"], on_drop=reports.append, window=0)
    spool.append([*numbered("sick", range(1)), *numbered("well", range(4000))])
    await spool.flush()
    pending = Pending(3000, {("//stuff", "sick"): 1, ("//stuff", "well"): 2001})
    spool.reads("s", everything_is_wanted, nothing_is_behind, pending=lambda: pending)
    spool.advance("t", 4001)
    spool.append(numbered("well", range(4000, 14000)))
    await spool.flush()
    async with asyncio.timeout(20):
        while not spool.dropped:
            await asyncio.sleep(0.01)
    kept = {entry.seq for entry in await everything(spool)}
    gone = set(range(1, 9002)) - kept
    assert gone, "it was full"
    assert gone >= set(range(2, 2001)) or max(gone - {1}) <= 2000, "finished ones went first"
    assert spool.dropped == len(gone - set(range(2, 2001))), "and count as no loss"
