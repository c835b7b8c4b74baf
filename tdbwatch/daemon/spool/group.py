"""What one commit makes durable."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tdbwatch.daemon.spool.api import Attempt, DeadLetter, DropReport, Order
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, Run, pack, unpack
from tdbwatch.daemon.spool.stored.drops import Tally
from tdbwatch.daemon.spool.stored.progress import Change
from tdbwatch.daemon.spool.stored.rows import Row

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
        size = len(packed) + RUN_BYTES
        self.size += size
        return size

    def row(self) -> Row:
        us = self.last_us
        return Row(self.count, self.lane, None, self.first_us, us, us, pack(self.runs))

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


@dataclass(slots=True)
class Group:
    """What one commit makes durable."""

    packings: list[Packing] = field(default_factory=list)
    progress: dict[str, Change] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    drops: dict[str, Tally] = field(default_factory=dict)
    settled: list[DropReport] = field(default_factory=list)
    damage_told: bool = False
    pressed: bool = False
    """Much more waits: the disk is slower than what comes, so the blocks are squeezed."""
    copies: list[Copies] = field(default_factory=list)
    """Each in a commit of its own, after the others."""
    waiters: list["asyncio.Future[None]"] = field(default_factory=list)
    mourners: list["asyncio.Future[None]"] = field(default_factory=list)
    """Those who wait for the dead letters only."""

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

    @property
    def waiting(self) -> Sequence["asyncio.Future[Any]"]:
        """All who wait for it."""
        return (*self.waiters, *self.mourners, *(copies.done for copies in self.copies))

    @property
    def urgent(self) -> bool:
        return bool(self.waiters or self.mourners or self.copies)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write (copies apart)."""
        return not (
            self.packings
            or self.progress
            or self.letters
            or self.attempts
            or self.drops
            or self.settled
            or self.damage_told
        )
