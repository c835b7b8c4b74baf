"""What every sink has makes space wherever it is; nothing else does."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.spool.api import Behind, Gone, Progress
from tdbwatch.daemon.spool.limits.delivered import Delivered
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.spool.stored.log import Row
from tdbwatch.daemon.spool.stored.progress import Change
from tdbwatch.daemon.spool.stored.store import Store
from tdbwatch.daemon.spool.stored.tables import connect
from tdbwatch.plugin import Event

from .limits_kit import MakeSpool, telling
from .spool_kit import Heard, everything, finished_through, keep
from .store_kit import IN_MEMORY

SICK, WELL = Lane("//stuff", "sick"), Lane("//stuff", "well")


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeSpool]:
    async with telling(tmp_path) as make:
        yield make


def numbered(room: str, numbers: range) -> list[Event]:
    return [Event.create(room, "e", [number, "x" * 200]) for number in numbers]


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
async def test_what_every_sink_has_makes_space_though_a_sick_room_is_far_behind(
    make: MakeSpool, told: Heard, when_full: str
) -> None:
    options: dict[str, Any] = {"max_size": 2 << 20, "when_full": when_full, "sinks": ["s", "t"]}
    spool = await make(**options, listener=told, window=0)
    sick = numbered("sick", range(10))
    await keep(spool, sick)
    spool.save("s", 10, {SICK: Behind(1)})
    for start in range(0, 40_000, 1000):
        await keep(spool, numbered("well", range(start, start + 1000)))
        spool.save("s", spool.last_seq, {})
        spool.save("t", spool.last_seq, {})
    await spool.flush()
    assert (spool.drops.count, told.drops) == (0, [])
    assert spool.entries < 10_000
    found = await everything(spool)
    assert [entry.event for entry in found[:10]] == sick, "which s is still to get"
    assert found[-1].event.args[0] == 39_999
    await spool.close()
    again = await make(**options)
    assert (again.first_seq, again.last_seq, again.entries) == (1, 40_010, len(found))


async def test_what_a_sink_has_not_finished_is_not_what_makes_space(make: MakeSpool, told: Heard) -> None:
    spool = await make(max_size=2 << 20, sinks=["s", "t"], listener=told, window=0)
    await keep(spool, numbered("sick", range(1)))
    for start in range(0, 4000, 100):
        await keep(spool, numbered("well", range(start, start + 100)))
    spool.save("s", 3001, {SICK: Behind(1), WELL: Behind(2002)})
    spool.save("t", 4001, {})
    for start in range(4000, 14_000, 100):
        await keep(spool, numbered("well", range(start, start + 100)))
    kept = {entry.seq for entry in await everything(spool)}
    gone = set(range(1, spool.last_seq + 1)) - kept
    finished = set(range(2, 2002))
    assert gone >= finished, "these went first"
    assert spool.drops.count == len(gone - finished), "and count as no loss"


LANES = [Lane("", "a"), Lane("", "b"), Lane("", "c")]
SINKS = ["s", "t"]
lanes, sinks = st.sampled_from(LANES), st.sampled_from(SINKS)
blocks = st.lists(
    st.tuples(st.integers(1, 4), lanes, st.none() | sinks | st.just("gone")), min_size=1, max_size=12
)
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("save"), sinks, st.integers(0, 50), st.dictionaries(lanes, st.none() | st.integers(1, 50))
        ),
        st.tuples(st.just("give up"), st.integers(1, 600)),
        st.tuples(st.just("append"), blocks),
    ),
    max_size=12,
)


def rows(made: Any) -> Any:
    return [Row(count, *lane, target, 0, 0, 0, bytes(50 * count)) for count, lane, target in made]


class Log:
    """A store, and a list of what should be in it."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path, connect)
        self.blocks: list[Gone] = []
        self.progress = {sink: Progress(0) for sink in SINKS}
        self.delivered = Delivered()
        self.store.commit((), [Change(sink, 0) for sink in SINKS])

    def append(self, made: Any) -> None:
        found = self.store.commit(rows(made), ())
        self.blocks += [Gone(one.first_seq, one.count, one.lane, one.target) for one in found]

    def save(self, sink: str, floor: int, firsts: dict[Lane, int | None]) -> None:
        """A sink never takes back what it has finished."""
        one = self.progress[sink]
        floor = max(one.floor, min(floor, self.store.last_seq))
        behind: dict[Lane, Behind | None] = {}
        for lane, first in firsts.items():
            before = finished_through(one, lane)
            if first is None or first > floor:
                behind[lane] = None
            else:
                behind[lane] = Behind(max(first, before + 1))
        self.store.commit((), [Change(sink, floor, behind)])
        one.floor = floor
        for lane, now in behind.items():
            one.behind.pop(lane, None)
            if now is not None:
                one.behind[lane] = now

    def is_delivered(self, block: Gone) -> bool:
        """Seq by seq, as the promise says."""
        wanting = [one for sink, one in self.progress.items() if block.target in (None, sink)]
        seqs = range(block.first_seq, block.last_seq + 1)
        return all(one.finished(seq, block.lane) for one in wanting for seq in seqs)

    def give_up(self, aim: int) -> None:
        reach = self.store.reach()
        due = [block for block in self.blocks if self.is_delivered(block)]
        assert self.delivered.hold(self.store, reach, 1) == bool(due)
        gone = self.delivered.give_up(self.store, reach, aim)
        assert all(self.is_delivered(block) for block in gone)
        assert bool(gone) == bool(due), "as long as there is one that is delivered, one goes"
        self.blocks = [block for block in self.blocks if block not in gone]
        assert self.store.entries == sum(block.count for block in self.blocks)


@settings(max_examples=150, deadline=None)
@given(first=blocks, then=steps)
def test_delivered_blocks_are_found_whatever_sinks_do_in_between(first: Any, then: Any) -> None:
    folder = Path(tempfile.mkdtemp(dir=IN_MEMORY))
    log = Log(folder / "spool.db")
    try:
        log.append(first)
        for name, *values in [*then, ("give up", 1 << 30), ("give up", 1)]:
            getattr(log, name.replace(" ", "_"))(*values)
    finally:
        log.store.close()
        shutil.rmtree(folder)
