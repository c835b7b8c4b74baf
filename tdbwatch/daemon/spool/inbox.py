"""Where the event loop leaves what is to be written, and the writer's thread picks it up in groups."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, Run, encode_run, halves, pack, unpack
from tdbwatch.daemon.spool.stored.drops import TOO_LARGE, Tally
from tdbwatch.daemon.spool.stored.log import Row
from tdbwatch.daemon.spool.stored.marks import Mark, Marks
from tdbwatch.daemon.spool.stored.notes import Note, Waiter
from tdbwatch.daemon.spool.stored.store import Copies

_RUN_BYTES: Final = 100
_PACKING_BYTES: Final = 500
"""What a run, and a block in the making, take in memory beside the events, roughly."""
_Packed = tuple[Lane, Run, bytes]


@dataclass(slots=True)
class Packing:
    """A block in the making."""

    lane: Lane
    runs: list[bytes] = field(default_factory=list)
    count: int = 0
    size: int = _PACKING_BYTES
    first_us: int = sys.maxsize
    last_us: int = 0
    marks: list[Mark] = field(default_factory=list)

    def add(self, packed: bytes, run: Run) -> int:
        """Take a run; how many bytes more it is now."""
        self.first_us = min(self.first_us, run.received_us)
        self.last_us = max(self.last_us, run.received_us)
        self.runs.append(packed)
        self.count += len(run.events)
        return self.grow(len(packed) + _RUN_BYTES) + self.remember(run.marks)

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
        """In the order in which they are written: what was counted before what is settled of it.

        The last one is what routes remember of the events.
        """
        notes = sorted(self.notes.values(), key=attrgetter("apart"), reverse=True)
        marks = [mark for packing in self.packings for mark in packing.marks]
        return [*notes, Marks(marks)] if marks else notes

    @property
    def apart(self) -> list[list[Note]]:
        """Those notes that may be written without its events, one by one."""
        return [[note] for note in self.notes.values() if note.apart]

    @property
    def waiting(self) -> list[Waiter]:
        """All who wait for its notes."""
        return [waiter for note in self.notes.values() for waiter in note.waiters]

    @property
    def all_waiting(self) -> list[Waiter]:
        """These, and those who wait for its copies."""
        return [*self.waiting, *(copies.done for copies in self.copies)]

    @property
    def empty(self) -> bool:
        return not (self.packings or self.notes or self.copies)


class Inbox:
    """Filled by the event loop, emptied by the writer's thread; bounded in memory.

    Args:
        limits: of memory, and how large events, blocks and commits may be; `when_full` says which events
            are given up when too many wait for a commit.
        linger: seconds to wait for company before events are committed.
        idle_linger: the same when there is only progress and history to write: nobody waits for them.

    Attributes:
        limits: those that hold now; the writer sees when others do.
        group_bytes: bytes of events in one commit, roughly; set before the first is taken.
        closed: whether nothing comes any more.
    """

    def __init__(self, limits: Limits, linger: float, idle_linger: float) -> None:
        self.limits = limits
        self.group_bytes = limits.group_bytes
        self.closed = False
        self._linger = linger
        self._idle_linger = idle_linger
        self._changed = threading.Condition()
        self._group = Group()
        self._open: dict[Lane, Packing] = {}
        self._bytes = self._taken = 0

    @property
    def held(self) -> int:
        """Events that wait for a commit, or for one under way."""
        with self._changed:
            return self._taken + sum(packing.count for packing in self._group.packings)

    @property
    def pressed(self) -> bool:
        """Whether so much waits that nothing else should hold up what takes it."""
        return 2 * self._bytes > self.limits.max_held

    def put(self, heard: Sequence[Heard], reason: str) -> list[Tally]:
        """Take events; return which were given up: because too many wait (for `reason`), or as too large."""
        most, too_large, lost = self.limits.block_bytes, Tally(TOO_LARGE), Tally(reason)
        packed: list[_Packed] = [(lane, run, encode_run(run)) for lane, run in heard]
        if any(len(each) > most for _, _, each in packed):
            packed = [part for one in packed for part in self._parts(one, too_large)]
        with self._changed:
            first = not self._group.packings
            refused = self._add(packed)
            dropped = self._shrink()
            if first:
                self._changed.notify()
        for lane, run, _ in refused:
            lost.add_runs(lane, (run,))
        for packing in dropped:
            lost.merge(packing.tally(reason))
        return [tally for tally in (too_large, lost) if tally.rooms]

    def note(self, note: Note) -> None:
        """Have this written. Any thread may call it."""
        with self._changed:
            self._group.note(note)
            self._changed.notify()

    def remember(self, marks: Sequence[Mark]) -> None:
        """What routes remember now, with or after all that was put before."""
        with self._changed:
            self._bytes += self._group.remember(marks)
            self._changed.notify()

    def put_copies(self, copies: Copies) -> None:
        with self._changed:
            self._group.copies.append(copies)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify()

    def abandon(self) -> Sequence[Waiter]:
        """Nothing is written any more; those who waited for it."""
        with self._changed:
            group, self._group = self._group, Group()
        return group.all_waiting

    def join(self, group: Group) -> None:
        """Add what has come since to a group that cannot be written yet, as far as it may be written now."""
        with self._changed:
            group.take_notes(self._group, apart=True)

    def take(self, timeout: float) -> Group | None:
        """The next group; an empty one after `timeout` seconds without any; None when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or not self._group.empty, timeout)
            if self.closed and self._group.empty:
                return None
            self._wait_for_company()
            return self._cut()

    def done(self) -> None:
        """The group that was taken last is written, or given up."""
        self._taken = 0

    def pause(self, seconds: float) -> None:
        """Wait, but not when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed, seconds)

    def _add(self, packed: Iterable[_Packed]) -> list[_Packed]:
        """Take what there is space for, or all of it, where older events go for it; what was not taken."""
        most = self.limits.max_held if self.limits.when_full == "drop_newest" else None
        refused: list[_Packed] = []
        for one in packed:
            lane, run, each = one
            packing = self._open.get(lane)
            if most is not None and self._bytes + len(each) + _RUN_BYTES + _PACKING_BYTES > most:
                refused.append(one)
                continue
            if packing is None or packing.size >= self.limits.block_bytes or self._is_behind(packing, run):
                packing = self._open[lane] = self._group.begin(lane)
                self._bytes += packing.size
            self._bytes += packing.add(each, run)
        return refused

    def _is_behind(self, packing: Packing, run: Run) -> bool:
        """Whether what is remembered with a run would be written before what was remembered earlier."""
        return bool(run.marks) and packing is not self._group.packings[-1]

    def _wait_for_company(self) -> None:
        started = time.monotonic()
        while not (self.closed or self._group.all_waiting or self._bytes >= self.group_bytes):
            linger = self._linger if self._group.packings else self._idle_linger
            left = started + linger - time.monotonic()
            if left <= 0 or self._group.empty:
                return
            self._changed.wait(left)

    def _cut(self) -> Group:
        group, size, number = self._group, 0, 0
        for packing in group.packings:
            if number and size + packing.size > self.group_bytes:
                break
            number, size = number + 1, size + packing.size
        group.pressed = self.pressed
        self._group = Group(packings=group.packings[number:])
        self._seal(group.packings[:number])
        if self._group.packings:  # what waits for all of it waits for these, too
            self._group.take_notes(group, apart=False)
        del group.packings[number:]
        self._bytes -= size
        self._taken = sum(packing.count for packing in group.packings)
        return group

    def _shrink(self) -> list[Packing]:
        """Give up what is too much: the oldest blocks."""
        packings, count = self._group.packings, 0
        while self._bytes > self.limits.max_held and count < len(packings):
            self._bytes -= packings[count].size
            count += 1
        dropped = packings[:count]
        del packings[:count]
        self._seal(dropped)
        return dropped

    def _seal(self, packings: Iterable[Packing]) -> None:
        """Nothing is added to these any more."""
        for packing in packings:
            if self._open.get(packing.lane) is packing:
                del self._open[packing.lane]

    def _parts(self, one: _Packed, too_large: Tally) -> Iterator[_Packed]:
        """A run in parts no larger than a block, but for events for which too many others would go."""
        lane, run, packed = one
        if len(packed) <= self.limits.block_bytes or (
            len(run.events) == 1 and len(packed) <= self.limits.max_event
        ):
            yield one
        elif len(run.events) == 1:
            too_large.add_runs(lane, (run,))
        else:
            for half in halves(run):
                yield from self._parts((lane, half, encode_run(half)), too_large)
