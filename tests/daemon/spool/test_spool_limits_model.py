"""The limits against a plain list: what goes, in which order, and what is counted of it."""

import asyncio
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.spool.api import Behind, Gone, Progress
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.plugin import Event
from tdbwatch.testing import ManualClock

from .spool_kit import Heard, everything, finished_through, spool_at

LANES = [Lane("//stuff", room) for room in "abc"]
SINKS = ["s", "t"]
lanes, sinks = st.sampled_from(LANES), st.sampled_from(SINKS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.tuples(lanes, st.integers(1, 60)), min_size=1, max_size=4)),
        st.tuples(st.just("save"), sinks, st.floats(0, 1), st.dictionaries(lanes, st.floats(0, 1.2))),
        st.tuples(st.just("wait"), st.integers(1, 60)),
    ),
    min_size=5,
    max_size=25,
)
_UNTOLD = "SELECT scope, room, sum(count) FROM drops GROUP BY scope, room"
MAX_SIZE, MAX_AGE = 400_000, 100.0


class Daemon:
    """A spool, and all that was ever put into it."""

    def __init__(self, folder: Path, when_full: str) -> None:
        self.clock, self.told = ManualClock(), Heard()
        options: dict[str, Any] = {"max_size": MAX_SIZE, "max_age": MAX_AGE, "when_full": when_full}
        self.spool: SqliteSpool = spool_at(
            folder / "spool.db", sinks=SINKS, clock=self.clock, listener=self.told, check=3600.0, **options
        )
        self.when_full = when_full
        self.kept: dict[int, Event] = {}
        self.progress = {sink: Progress(0) for sink in SINKS}
        self.sent = self.dropped = 0
        self.lost = Counter[Lane]()
        self.gone: list[Gone] = []
        self.spool.watch(self._hear)

    def _hear(self, gone: Sequence[Gone]) -> None:
        self.gone += gone

    async def append(self, pieces: Any) -> None:
        now_us = int(self.clock.time() * 1e6)
        made = [
            Event.create(lane.room, "e", [self.sent + n, "x" * 1000], received_us=now_us)
            for lane, count in pieces
            for n in range(count)
        ]
        self.sent += len(made)
        last = self.spool.last_seq
        self.spool.append(heard(made))
        await self.spool.flush()
        taken = {entry.event.id: entry.seq for entry in await everything(self.spool, after=last)}
        went = [one for one in self.gone if one.first_seq > last]  # at once: the newest were too many
        assert len(taken) + sum(one.count for one in went) == self.spool.last_seq - last
        assert not went or self.when_full == "drop_oldest"
        refused = [event for event in made if event.id not in taken]
        assert not refused or went or self.when_full == "drop_newest"
        self.lost.update(Lane("//stuff", event.room) for event in refused)
        self.kept |= {taken[event.id]: event for event in made if event.id in taken}
        for lane, _ in pieces:
            seqs = [taken[event.id] for event in made if event.room == lane.room and event.id in taken]
            assert seqs == sorted(seqs)
        await self.check()

    async def save(self, sink: str, floor: float, firsts: dict[Lane, float]) -> None:
        one, last = self.progress[sink], self.spool.last_seq
        one.floor = max(one.floor, int(floor * last))
        changed: dict[Lane, Behind | None] = {}
        for lane, first in firsts.items():
            seq = max(finished_through(one, lane) + 1 if lane in one.behind else 1, int(first * last))
            changed[lane] = Behind(seq) if 0 < seq <= one.floor and lane in one.behind else None
            if lane not in one.behind and one.floor < last:  # it falls behind with what is new to it
                changed[lane] = Behind(one.floor + 1)
        one.behind = {lane: now for lane, now in (one.behind | changed).items() if now is not None}
        self.spool.save(sink, one.floor, changed)
        await self.spool.flush()
        await self.check()

    async def wait(self, seconds: int) -> None:
        await self.clock.advance(seconds)
        await self.spool.flush()
        await self.check()

    def wanted(self, seq: int, lane: Lane) -> bool:
        return any(not one.finished(seq, lane) for one in self.progress.values())

    async def check(self) -> None:
        """Whatever went had to go, and is counted if somebody was still to get it."""
        for _ in range(3):  # what there is to do at once is done
            await self.spool.flush()
        left = {entry.seq for entry in await everything(self.spool)}
        went = {seq: event for seq, event in self.kept.items() if seq not in left}
        now_us = int(self.clock.time() * 1e6)
        missed = False
        for seq, event in went.items():
            lane = Lane("//stuff", event.room)
            if self.wanted(seq, lane):
                self.lost[lane] += 1
                missed = missed or now_us - event.received_us <= MAX_AGE * 1e6
            del self.kept[seq]
        assert left == self.kept.keys()
        assert {seq for one in self.gone for seq in range(one.first_seq, one.last_seq + 1)} >= went.keys()
        assert self.spool.drops.count == self.lost.total(), "not one more, not one less"
        assert all(now_us - event.received_us <= MAX_AGE * 1e6 for event in self.kept.values()), "max_age"
        if missed:
            assert self.when_full == "drop_oldest"
            self.all_that_is_left_is_wanted()

    def all_that_is_left_is_wanted(self) -> None:
        """None that was young went undelivered while there was a block that every sink has."""
        for lane in LANES:
            through = min(finished_through(one, lane) for one in self.progress.values())
            finished = [seq for seq, event in self.kept.items() if event.room == lane.room and seq <= through]
            assert len(finished) < 30, "but for the beginning of one block"


async def live(folder: Path, when_full: str, then: Any) -> None:
    daemon = Daemon(folder, when_full)
    await daemon.spool.open()
    try:
        for name, *values in then:
            await getattr(daemon, name)(*values)
    finally:
        await daemon.spool.close()
    told = Counter[Lane]()
    for report in daemon.told.drops:
        told.update({lane: loss.count for lane, loss in report.rooms.items()})
    with closing(sqlite3.connect(daemon.spool.path)) as connection:
        told.update({Lane(*lane): count for *lane, count in connection.execute(_UNTOLD)})
    assert told == daemon.lost, "what was not told of is in the file, for the next start"


@pytest.mark.timeout(300)
@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["drop_oldest", "drop_newest"]), steps)
def test_what_goes_had_to_go_and_every_loss_is_counted(when_full: str, then: Any) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        asyncio.run(live(folder, when_full, then))
    finally:
        shutil.rmtree(folder)
