"""A disk that the spool has filled: whatever sinks do, it gets out of that by itself."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tdbwatch.daemon.spool import Attempt, DeadLetter
from tdbwatch.daemon.spool.file.disk import Space

from .spool_bench import MakeSpool, events

_SIZE = 16 << 20
_RESERVE = 1 << 20


@pytest.fixture
def free(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How much is free on the disk that the spools are on, which has nothing else on it."""

    def free() -> int:
        return _SIZE - sum(file.stat().st_size for file in path.parent.glob("spool.db*"))

    monkeypatch.setattr(Space, "_size_and_free", lambda _: (_SIZE, free()))
    return free


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def fill(spool: SqliteSpool) -> None:
    """Append until the disk takes no more; some events wait then."""
    while spool.trouble is None:
        spool.append(events(20, 5_000))
        flushing = asyncio.create_task(spool.flush())
        await until(lambda done=flushing.done: spool.trouble or done())
        flushing.cancel()


async def refuse(spool: SqliteSpool, sink: str, count: int = 20) -> None:
    """The sink refuses the next entries."""
    found = await spool.read(spool.cursor(sink), count, 1 << 20)
    await spool.dead_letter([DeadLetter(sink, entry, "no", 1, "no", "no", 1, 2) for entry in found])
    spool.advance(sink, found[-1].seq)


async def test_events_that_wait_for_space_hold_up_no_dead_letters_which_make_room_for_them(
    make: MakeSpool, free: Callable[[], int]
) -> None:
    spool = await make()
    await fill(spool)
    held = spool.last_seq
    async with asyncio.timeout(20):
        await refuse(spool, "s")
        spool.advance("s", held)  # and takes the others
        await until(lambda: spool.trouble is None)
        await spool.flush()
    assert spool.last_seq > held
    assert spool.dropped == 0


async def test_a_sink_that_refuses_all_wedges_no_disk_and_leaves_room_to_delete(
    make: MakeSpool, free: Callable[[], int]
) -> None:
    spool = await make()
    await fill(spool)
    least = free()
    async with asyncio.timeout(60):
        while spool.cursor("s") < spool.last_seq:
            await refuse(spool, "s")
            least = min(least, free())
    await spool.close()
    assert least >= _RESERVE // 4
    spool = await make()
    spool.append(sent := events(20, 1_000))
    await asyncio.wait_for(spool.flush(), 20)
    assert (spool.trouble, spool.dropped) == (None, 0)
    assert [e.event for e in await spool.read(spool.last_seq - 20, 20, 1 << 20)] == sent


async def test_dead_letters_without_space_wait_until_there_is_and_cursors_and_attempts_with_them_do_not(
    make: MakeSpool, path: Path, free: Callable[[], int]
) -> None:
    options = {"sinks": ["s", "slow"]}
    spool = await make(**options)
    spool.append(events(20, 5_000))
    await spool.flush()
    await fill(spool)
    burying = asyncio.create_task(refuse(spool, "s", 200))
    spool.note(Attempt("s", (1,), 1, 1, 1, "rejected", "x" * 2_000))
    await asyncio.sleep(0.05)
    assert not burying.done()
    assert free() >= _RESERVE // 4
    spool.advance("s", 7)

    def cursor() -> int:
        with spool.inspect() as connection:
            found = connection.execute("SELECT seq FROM cursors WHERE sink = 's'").fetchone()
        return int(found[0])

    await until(lambda: cursor() == 7)
    spool.advance("slow", spool.last_seq)
    spool.advance("s", spool.last_seq - 300)
    await asyncio.wait_for(burying, 20)
    await until(lambda: spool.trouble is None)
    assert spool.dropped == 0
