"""What passes between the event loop and the writer: what one commit makes durable, and what came of it."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Gone
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import Block, Heard, Lane, Run, encode_run, pack, unpack
from tdbwatch.daemon.spool.stored.drops import Tally
from tdbwatch.daemon.spool.stored.log import Row
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.daemon.spool.stored.orders import Order
from tdbwatch.daemon.spool.stored.progress import Change
from tdbwatch.daemon.spool.stored.values import SinkValues

RUN_BYTES: Final = 100
PACKING_BYTES: Final = 500
"""What a run, and a block in the making, take in memory beside the events, roughly."""


@dataclass(slots=True)
class Packing:
    """A block in the making."""

    lane: Lane
    runs: list[bytes] = field(default_factory=list)
    count: int = 0
    size: int = PACKING_BYTES
    first_us: int = 0
    last_us: int = 0
    marks: list[Mark] = field(default_factory=list)

    def add(self, packed: bytes, run: Run) -> int:
        """Take a run; how many bytes more it is now."""
        us = run.received_us
        if not self.runs:
            self.first_us = self.last_us = us
        elif us > self.last_us:
            self.last_us = us
        elif us < self.first_us:
            self.first_us = us
        self.runs.append(packed)
        self.count += len(run.events)
        return self.grow(len(packed) + RUN_BYTES) + self.remember(run.marks)

    def remember(self, marks: Sequence[Mark]) -> int:
        """Take these with it; how many bytes more it is now."""
        self.marks += marks
        return self.grow(sum([mark.size for mark in marks])) if marks else 0

    def grow(self, size: int) -> int:
        """It takes so many bytes more."""
        self.size += size
        return size

    def row(self) -> Row:
        us = self.last_us
        return Row(self.count, *self.lane, None, self.first_us, us, us, pack(self.runs))

    def tally(self, reason: str) -> Tally:
        """What is lost when it is given up."""
        return Tally(reason).add_runs(self.lane, unpack(pack(self.runs)))


@dataclass(slots=True)
class Copies:
    """Copies of events for one sink, and what of an order is done with them."""

    order: Order
    heard: Sequence[Heard]
    position: int
    letters: Sequence[int]
    done: "asyncio.Future[bool]"

    def rows(self, now_us: int) -> list[Row]:
        """Neighbours of one lane together. They grow old from now on."""
        rows: list[Row] = []
        for (scope, room), heard in groupby(self.heard, key=itemgetter(0)):
            runs = [run for _, run in heard]
            times = [run.received_us for run in runs]
            count, body = sum(len(run.events) for run in runs), pack(list(map(encode_run, runs)))
            rows.append(Row(count, scope, room, self.order.sink, min(times), max(times), now_us, body))
        return rows

    @property
    def gone(self) -> str | None:
        """A sink of which nothing is left with these."""
        order = self.order
        return order.selection.sink if order.kind == "move" and self.position >= order.through else None


@dataclass(slots=True)
class Group:
    """What one commit makes durable."""

    packings: list[Packing] = field(default_factory=list)
    progress: dict[str, Change] = field(default_factory=dict)
    values: dict[str, SinkValues] = field(default_factory=dict)
    """What sinks keep for themselves, by sink."""
    attempts: list[Attempt] = field(default_factory=list)
    drops: dict[str, Tally] = field(default_factory=dict)
    settled: list[Tally] = field(default_factory=list)
    damage_told: bool = False
    marks: list[Mark] = field(default_factory=list)
    """What routes remember without an event, and before those here."""
    beat: Beat | None = None
    """For the commit behind all that was heard before it."""
    pressed: bool = False
    """Much more waits: the disk is slower than what comes, so the blocks are squeezed."""
    copies: list[Copies] = field(default_factory=list)
    """Each in a commit of its own, after the others."""
    waiters: list["asyncio.Future[None]"] = field(default_factory=list)
    """Those who wait for all of it."""
    sinks: Collection[str] | None = None
    """Those of the configuration from now on; None: as before."""

    def count(self, tally: Tally) -> None:
        """Count what was given up, by reason: however much it is, it takes little memory."""
        self.drops.setdefault(tally.reason, Tally(tally.reason)).merge(tally)

    def give_up_events(self, reason: str) -> Tally:
        """Its events are lost."""
        tally = Tally(reason)
        for packing in self.packings:
            tally.merge(packing.tally(reason))
        self.count(tally)
        self.packings = []
        return tally

    def change(self, sink: str, change: Change) -> None:
        """This sink has finished more."""
        if (known := self.progress.get(sink)) is None:
            self.progress[sink] = change
        else:
            known.merge(change)

    def set_values(self, sink: str, changed: SinkValues) -> None:
        """This sink keeps these from now on."""
        self.values.setdefault(sink, {}).update(changed)

    def of_sink(self, sink: str) -> "Group":
        """What it has of this sink alone, for a commit of its own."""
        progress = {sink: self.progress[sink]} if sink in self.progress else {}
        values = {sink: self.values[sink]} if sink in self.values else {}
        return Group(progress=progress, values=values)

    @property
    def letters(self) -> list[DeadLetter]:
        return [letter for change in self.progress.values() for letter in change.letters]

    @property
    def all_marks(self) -> list[Mark]:
        """What routes remember, in order."""
        return [*self.marks, *(mark for packing in self.packings for mark in packing.marks)]

    @property
    def savers(self) -> list["asyncio.Future[None]"]:
        """Those who wait for the progress of their sink only."""
        return [waiter for change in self.progress.values() for waiter in change.waiters]

    @property
    def waiting(self) -> Sequence["asyncio.Future[Any]"]:
        """All who wait for it."""
        return (*self.waiters, *self.savers, *(copies.done for copies in self.copies))

    @property
    def urgent(self) -> bool:
        return bool(self.waiters or self.copies or self.savers)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write (copies apart)."""
        return not (
            self.packings
            or self.progress
            or self.values
            or self.attempts
            or self.drops
            or self.settled
            or self.damage_told
            or self.marks
            or self.beat
            or self.sinks is not None
        )


@dataclass(slots=True)
class TurnReport:
    """What the event loop hears after a turn of the writer, or in the middle of a long one.

    Attributes:
        blocks: new ones in the log.
        gone: blocks that were deleted.
        extent: the first number of the log, and how many entries there are; None: as before.
        waiters: those whose wait is over.
        abandoned: those who waited in vain.
        copied: whose copies are in the log, or found no space.
        drops: what was given up.
        trouble: why the disk refuses; empty: it accepts again.
        refuses: under `drop_newest`, whether the spool is full of what is undelivered.
        catching_up: whether more is about to be dropped for its age; what tells of it may as well wait.
        log_bytes: the size of SQLite's log, where that has grown too large; 0: it is as usual again.
        lost_letters: dead letters that were deleted for others.
        failed: what the writer died of.
        uncounted: what was dropped is not even counted in the file.
        ended: the writer's thread has ended.
    """

    blocks: list[Block] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    extent: tuple[int, int] | None = None
    waiters: Sequence["asyncio.Future[None]"] = ()
    abandoned: Sequence["asyncio.Future[Any]"] = ()
    copied: list[tuple["asyncio.Future[bool]", bool]] = field(default_factory=list)
    drops: list[Tally] = field(default_factory=list)
    trouble: str | None = None
    refuses: bool | None = None
    catching_up: bool | None = None
    log_bytes: int | None = None
    damage: DamageReport | None = None
    lost_letters: int = 0
    failed: BaseException | None = None
    uncounted: bool = False
    ended: bool = False

    @property
    def says_anything(self) -> bool:
        return self != TurnReport()
