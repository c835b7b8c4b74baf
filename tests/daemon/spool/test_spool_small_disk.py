"""A disk that the spool has filled: whatever sinks do, it gets out of that by itself."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tdbwatch.daemon.spool import Attempt, DeadLetter
from tdbwatch.daemon.spool.file.disk import Space
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import heard
from tdbwatch.daemon.spool.stored.log import entries_of

from .spool_kit import MakeSpool, ask, events, everything, keep, until

_SIZE = 16 << 20
_RESERVE = 1 << 20


@pytest.fixture
def free(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How much is free on the disk that the spools are on, which has nothing else on it."""

    def free() -> int:
        return _SIZE - sum(file.stat().st_size for file in path.parent.glob("spool.db*"))

    monkeypatch.setattr(Space, "_size_and_free", lambda _: (_SIZE, free()))
    return free


async def fill(spool: SqliteSpool) -> None:
    """Append until the disk takes no more; some events wait then."""
    while spool.alarms.trouble is None:
        spool.append(heard(events(20, 5_000)))
        flushing = asyncio.create_task(spool.flush())
        await until(lambda done=flushing.done: spool.alarms.trouble or done())
        flushing.cancel()


async def refuse(spool: SqliteSpool, sink: str, after: int, count: int = 20) -> int:
    """The sink refuses the next entries; up to which it has finished all then."""
    blocks = await spool.read(after, 1 << 20)
    found = [entry for block in blocks for entry in entries_of(block) if entry.seq > after][:count]
    letters = [DeadLetter(sink, entry, "no", 1, "no", "no", 1, 2) for entry in found]
    await spool.dead_letter(sink, found[-1].seq, {}, letters)
    return found[-1].seq


async def test_events_that_wait_for_space_hold_up_no_dead_letters_which_make_room_for_them(
    make: MakeSpool, free: Callable[[], int]
) -> None:
    spool = await make()
    await fill(spool)
    held = spool.last_seq
    async with asyncio.timeout(20):
        await refuse(spool, "s", 0)
        spool.save("s", held, {})  # and takes the others
        await until(lambda: spool.alarms.trouble is None)
        await spool.flush()
    assert spool.last_seq > held
    assert spool.drops.count == 0


async def test_a_sink_that_refuses_all_wedges_no_disk_and_leaves_room_to_delete(
    make: MakeSpool, free: Callable[[], int]
) -> None:
    spool = await make()
    await fill(spool)
    least = free()
    async with asyncio.timeout(60):
        finished = 0
        while finished < spool.last_seq:
            finished = await refuse(spool, "s", finished)
            least = min(least, free())
    await spool.close()
    assert least >= _RESERVE // 4
    spool = await make()
    await asyncio.wait_for(keep(spool, sent := events(20, 1_000)), 20)
    assert (spool.alarms.trouble, spool.drops.count) == (None, 0)
    assert [e.event for e in await everything(spool, spool.last_seq - 20)] == sent


async def test_dead_letters_without_space_wait_with_the_progress_of_their_sink_and_hold_up_no_other(
    make: MakeSpool, path: Path, free: Callable[[], int]
) -> None:
    options = {"sinks": ["s", "slow"]}
    spool = await make(**options)
    others = path.with_name(f"{path.name}.others")
    others.write_bytes(bytes(4 << 20))
    await keep(spool, events(20, 5_000))
    await fill(spool)
    burying = asyncio.create_task(refuse(spool, "s", 0, 200))
    spool.note([Attempt("s", (1,), 1, 1, 1, "rejected", "x" * 2_000)])
    await asyncio.sleep(0.05)
    assert not burying.done()
    assert free() >= _RESERVE // 4
    spool.save("slow", 7, {})
    await until(lambda: ask(path, "SELECT floor FROM progress WHERE sink = 'slow'") == 7)
    assert ask(path, "SELECT floor FROM progress WHERE sink = 's'") == 0, "a crash now must not lose them"
    others.unlink()  # somebody makes space
    await asyncio.wait_for(burying, 20)
    assert ask(path, "SELECT floor FROM progress WHERE sink = 's'") == 200
    assert ask(path, "SELECT count(*) FROM dead_letters") == 200
    await until(lambda: spool.alarms.trouble is None)
    assert spool.drops.count == 0
