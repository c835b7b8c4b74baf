"""A spool in memory: what the seam asks for, in few lines. The reference model for couriers and for engines.

A `Disk` outlives the spools over it. What was appended is durable at once; progress and attempts are with the
next commit, so a crash loses those that no commit came after. A dead letter makes its progress durable.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from tdbwatch.daemon.spool.api import (
    Attempt,
    Behind,
    DeadLetter,
    Gone,
    Progress,
)
from tdbwatch.daemon.spool.stored.blocks import Block, Heard, Lane, encode_run, heard, pack
from tdbwatch.plugin import Event


@dataclass
class Disk:
    """What is durable."""

    blocks: list[Block] = field(default_factory=list)
    last_seq: int = 0
    progress: dict[str, Progress] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    def copy(self) -> "Disk":
        """As it is now, for those who go on after a crash."""
        progress = {sink: Progress(one.floor, dict(one.behind)) for sink, one in self.progress.items()}
        return Disk(list(self.blocks), self.last_seq, progress, list(self.letters), list(self.attempts))


class MemorySpool:
    """Behaves as `Spool` says.

    Attributes:
        reads: how often the log was read.
        saves: how often progress was saved.
    """

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk if disk is not None else Disk()
        self.interrupted = False
        self.reads = 0
        self.saves = 0
        self._unsaved: list[tuple[str, int, Mapping[Lane, Behind | None]]] = []
        self._unnoted: list[Attempt] = []
        self._told: list[Callable[[Sequence[Gone]], None]] = []
        self._grown = asyncio.Event()

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self.commit()

    def commit(self) -> None:
        """What was saved and noted becomes durable."""
        for sink in {sink for sink, _, _ in self._unsaved}:
            self.disk.progress[sink] = self.latest(sink)
        self._unsaved.clear()
        self.disk.attempts += self._unnoted
        self._unnoted.clear()

    # -- the way in --------------------------------------------------------------------------------------

    def append(self, runs: Sequence[Heard]) -> None:
        """A commit of its own: a block for each lane."""
        by_lane: dict[Lane, list[Heard]] = {}
        for one in runs:
            by_lane.setdefault(one[0], []).append(one)
        for lane, some in by_lane.items():
            self._block(lane, None, some)
        self._grown.set()

    def copy(self, sink: str, events: Sequence[Event]) -> None:
        """As `redeliver` does: at the end of the log, for one sink."""
        for lane, some in groupby(heard(events), key=lambda one: one[0]):
            self._block(lane, sink, list(some))
        self._grown.set()

    def _block(self, lane: Lane, target: str | None, runs: Sequence[Heard]) -> None:
        count = sum(len(run.events) for _, run in runs)
        body = pack([encode_run(run) for _, run in runs])
        self.disk.blocks.append(Block(self.disk.last_seq + 1, count, lane, target, body))
        self.disk.last_seq += count

    async def flush(self) -> None:
        self.commit()

    async def unhurried(self) -> None:
        await asyncio.sleep(0)

    # -- the way out -------------------------------------------------------------------------------------

    @property
    def last_seq(self) -> int:
        return self.disk.last_seq

    @property
    def first_seq(self) -> int:
        return self.disk.blocks[0].first_seq if self.disk.blocks else self.last_seq + 1

    async def wait_after(self, seq: int) -> None:
        while self.last_seq <= seq:
            self._grown.clear()
            await self._grown.wait()

    async def read(self, after: int, max_bytes: int) -> list[Block]:
        return await self._some([one for one in self.disk.blocks if one.last_seq > after], max_bytes)

    async def read_lane(self, lane: Lane, after: int, through: int, max_bytes: int) -> list[Block]:
        return await self._some(
            [
                one
                for one in self.disk.blocks
                if one.lane == lane and one.last_seq > after and one.first_seq <= through
            ],
            max_bytes,
        )

    async def _some(self, blocks: list[Block], max_bytes: int) -> list[Block]:
        self.reads += 1
        some: list[Block] = []
        for block in blocks:
            if some and max_bytes < len(block.body):
                break
            some.append(Block(block.first_seq, block.count, block.lane, block.target, block.body))
            max_bytes -= len(block.body)
        await asyncio.sleep(0)
        return some

    async def count_lane(self, lane: Lane, after: int, through: int) -> int:
        return sum(
            max(0, min(one.last_seq, through) - max(one.first_seq - 1, after))
            for one in self.disk.blocks
            if one.lane == lane
        )

    def watch(self, told: Callable[[Sequence[Gone]], None]) -> Callable[[], None]:
        self._told.append(told)
        return lambda: self._told.remove(told) if told in self._told else None

    def drop(self, blocks: int) -> list[Block]:
        """Give up so many of the oldest blocks."""
        gone, self.disk.blocks = self.disk.blocks[:blocks], self.disk.blocks[blocks:]
        for told in self._told:
            told([Gone(one.first_seq, one.count, one.lane, one.target) for one in gone])
        return gone

    # -- what sinks have finished ------------------------------------------------------------------------

    def progress(self, sink: str) -> Progress:
        return self.latest(sink)

    def latest(self, sink: str) -> Progress:
        """With what was saved and is not durable yet."""
        known = self.disk.progress.get(sink, Progress(0))
        latest = Progress(known.floor, dict(known.behind))
        for name, floor, changed in self._unsaved:
            if name == sink:
                latest.floor = floor
                latest.behind.update((lane, one) for lane, one in changed.items() if one is not None)
                for lane in (lane for lane, one in changed.items() if one is None):
                    del latest.behind[lane]
        return latest

    def save(self, sink: str, floor: int, changed: Mapping[Lane, Behind | None]) -> None:
        self.saves += 1
        self._unsaved.append((sink, floor, dict(changed)))

    async def dead_letter(
        self, sink: str, floor: int, changed: Mapping[Lane, Behind | None], letters: Sequence[DeadLetter]
    ) -> None:
        self.save(sink, floor, changed)
        self.disk.progress[sink] = self.latest(sink)
        self._unsaved = [one for one in self._unsaved if one[0] != sink]
        self.disk.letters += letters
        await asyncio.sleep(0)

    def note(self, attempts: Sequence[Attempt]) -> None:
        self._unnoted += attempts
