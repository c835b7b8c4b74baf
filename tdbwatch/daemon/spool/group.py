"""What passes from the event loop to the writer: what one commit makes durable."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Final

from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, Run, encode_run, pack, unpack
from tdbwatch.daemon.spool.stored.drops import Tally
from tdbwatch.daemon.spool.stored.log import Row
from tdbwatch.daemon.spool.stored.marks import Mark, Marks
from tdbwatch.daemon.spool.stored.notes import Note, Waiter, Write
from tdbwatch.daemon.spool.stored.orders import Order, moved
from tdbwatch.daemon.spool.stored.progress import forgotten
from tdbwatch.daemon.spool.stored.store import Store

_END_LETTER: Final = "DELETE FROM dead_letters WHERE number = ?"
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
class Copies(Note):
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
    def waiters(self) -> Sequence[Waiter]:
        return (self.done,)

    def writes(self) -> Iterator[Write]:
        yield Write(_END_LETTER, [(number,) for number in self.letters], all_there=True)
        yield from moved(self.order, self.position)
        if self._gone is not None:
            yield from forgotten(self._gone)

    def written(self, store: Store) -> None:
        if self._gone is not None:
            store.progress.pop(self._gone, None)

    @property
    def _gone(self) -> str | None:
        """A sink of which nothing is left with these."""
        order = self.order
        return order.selection.sink if order.kind == "move" and self.position >= order.through else None


@dataclass(slots=True)
class Group:
    """What one commit makes durable.

    Attributes:
        notes: by kind, and what they are about.
        copies: each in a commit of its own, after the others.
        pressed: whether much more waits: the disk is slower than what comes, so the blocks are squeezed.
    """

    packings: list[Packing] = field(default_factory=list)
    notes: dict[tuple[type[Note], str], Note] = field(default_factory=dict)
    copies: list[Copies] = field(default_factory=list)
    pressed: bool = False

    def note(self, note: Note) -> None:
        """Write this, too."""
        key = (type(note), note.about)
        known = self.notes.get(key)
        self.notes[key] = note if known is None else known.merge(note)

    def take_notes(self, other: "Group", *, apart: bool) -> None:
        """Take from another those that may be written apart from its events, or may not."""
        for key, note in list(other.notes.items()):
            if note.apart is apart:
                self.note(other.notes.pop(key))

    def begin(self, lane: Lane) -> Packing:
        """Begin a block. What routes remembered before goes with the first one."""
        packing = Packing(lane)
        before = self.notes.pop((Marks, ""), None)
        if isinstance(before, Marks):
            packing.remember(before.marks)
        self.packings.append(packing)
        return packing

    def remember(self, marks: Sequence[Mark]) -> int:
        """Keep these with all that there is so far; how many bytes more it is now."""
        if self.packings:
            return self.packings[-1].remember(marks)
        self.note(Marks(list(marks)))
        return 0

    def give_up_events(self, reason: str) -> Tally:
        """Its events are lost."""
        tally = Tally(reason)
        for packing in self.packings:
            tally.merge(packing.tally(reason))
        self.note(Tally(reason).merge(tally))
        self.packings = []
        return tally

    @property
    def all_notes(self) -> list[Note]:
        """With what routes remember of its events."""
        marks = [mark for packing in self.packings for mark in packing.marks]
        return [*self.notes.values(), Marks(marks)] if marks else list(self.notes.values())

    @property
    def apart(self) -> list[list[Note]]:
        """Those notes that may be written without its events, one by one."""
        return [[note] for note in self.notes.values() if note.apart]

    @property
    def together(self) -> list[Note]:
        """The others."""
        return [note for note in self.notes.values() if not note.apart]

    @property
    def waiting(self) -> list[Waiter]:
        """All who wait for its notes."""
        return [waiter for note in self.notes.values() for waiter in note.waiters]

    @property
    def all_waiting(self) -> list[Waiter]:
        """These, and those who wait for its copies."""
        return [*self.waiting, *(copies.done for copies in self.copies)]

    @property
    def urgent(self) -> bool:
        return bool(self.copies) or any(note.waiters for note in self.notes.values())

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write (copies apart)."""
        return not (self.packings or self.notes)
