"""Where the event loop leaves what is to be written, and the writer's thread picks it up in groups."""

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tdbwatch.daemon.spool.api import Attempt, Behind, DeadLetter, DropReport, Order, WhenFull
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, Run, encode_run, pack, singles, unpack
from tdbwatch.daemon.spool.stored.drops import TOO_LARGE, Tally
from tdbwatch.daemon.spool.stored.progress import Change
from tdbwatch.daemon.spool.stored.rows import Row

BLOCK_BYTES: Final = 256 << 10
"""A block that has so many is full: what is read, decoded and deleted at once stays small."""
GROUP_BYTES: Final = 8 << 20
"""Bytes of events in one commit: bounds its memory, and the time until couriers see its first event."""
_RUN_BYTES: Final = 100
"""What a run takes in memory beside its bytes, roughly."""
_MOST_ATTEMPTS: Final = 20_000


@dataclass(slots=True)
class Packing:
    """A block in the making."""

    lane: Lane
    runs: list[bytes] = field(default_factory=list)
    count: int = 0
    size: int = 0
    first_us: int = 0
    last_us: int = 0

    def add(self, packed: bytes, run: Run) -> None:
        us = run.received_us
        self.first_us, self.last_us = (
            (min(self.first_us, us), max(self.last_us, us)) if self.runs else (us, us)
        )
        self.runs.append(packed)
        self.count += len(run.events)
        self.size += len(packed) + _RUN_BYTES

    def row(self) -> Row:
        us = self.last_us
        return Row(self.count, self.lane, None, self.first_us, us, us, pack(self.runs))

    def tally(self, reason: str) -> Tally:
        """What is lost when it is given up."""
        runs = unpack(pack(self.runs))
        return Tally(reason).add_events(event for run in runs for event in run.unpacked(self.lane))


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


class Inbox:
    """Filled by the event loop, emptied by the writer's thread; bounded in memory.

    Args:
        max_bytes: of events that wait for a commit; beyond it `when_full` decides which are given up.
        max_event: bytes of a single event; others would have to go for a larger one.
        linger: seconds to wait for company before events are committed.
        idle_linger: the same when there is only progress and history to write: nobody waits for them.
    """

    def __init__(
        self, max_bytes: int, max_event: int, when_full: WhenFull, linger: float, idle_linger: float
    ) -> None:
        self._max_bytes = max_bytes
        self._max_event = min(max_bytes, max_event)
        self._when_full = when_full
        self._linger = linger
        self._idle_linger = idle_linger
        self._changed = threading.Condition()
        self._group = Group()
        self._open: dict[Lane, Packing] = {}
        self._bytes = self._taken = 0
        self._closed = False
        self.group_bytes = GROUP_BYTES
        """Bytes of events in one commit, roughly; set before the first is taken."""

    @property
    def held(self) -> int:
        """Events that wait for a commit, or for one under way."""
        with self._changed:
            return self._taken + sum(packing.count for packing in self._group.packings)

    @property
    def pressed(self) -> bool:
        """Whether so much waits that nothing else should hold up what takes it."""
        return 2 * self._bytes > self._max_bytes

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, heard: Sequence[Heard], reason: str) -> list[Tally]:
        """Take events; return which were given up: because too many wait (for `reason`), or as too large."""
        packed = [(lane, run, encode_run(run)) for lane, run in heard]
        too_large = Tally(TOO_LARGE)
        if any(len(each) > self._max_event for _, _, each in packed):
            packed = [one for each in packed for one in self._without_too_large(*each, too_large)]
        with self._changed:
            first = not self._group.packings
            for lane, run, each in packed:
                self._packing(lane).add(each, run)
                self._bytes += len(each) + _RUN_BYTES
            dropped = self._shrink() if self._bytes > self._max_bytes else []
            if first:
                self._changed.notify()
        tally = Tally(reason)
        for packing in dropped:
            tally.merge(packing.tally(reason))
        return [tally for tally in (too_large, tally) if tally.rooms]

    def put_progress(self, sink: str, floor: int, changed: Mapping[Lane, Behind | None]) -> None:
        with self._changed:
            self._group.progress.setdefault(sink, Change(floor)).merge(floor, changed)
            self._changed.notify()

    def put_attempts(self, attempts: Iterable[Attempt]) -> None:
        with self._changed:
            if len(self._group.attempts) < _MOST_ATTEMPTS:  # it is only history
                self._group.attempts += attempts
                self._changed.notify()

    def put_drops(self, tally: Tally) -> None:
        """Keep count of what was given up, with the first commit that works."""
        with self._changed:
            self._group.count(tally)
            self._changed.notify()

    def put_settled(self, report: DropReport) -> None:
        """What was put before tells of this report; it need not be remembered any more."""
        with self._changed:
            self._group.settled.append(report)
            self._changed.notify()

    def put_damage_told(self) -> None:
        """What was put before tells of the damaged file."""
        with self._changed:
            self._group.damage_told = True
            self._changed.notify()

    def put_letters(self, letters: Sequence[DeadLetter], waiter: "asyncio.Future[None]") -> None:
        """Take these letters, or none for a flush; `waiter` is for the commit that has them."""
        with self._changed:
            self._group.letters.extend(letters)
            (self._group.mourners if letters else self._group.waiters).append(waiter)
            self._changed.notify()

    def put_copies(self, copies: Copies) -> None:
        with self._changed:
            self._group.copies.append(copies)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def abandon(self) -> Sequence["asyncio.Future[Any]"]:
        """Nothing is written any more; those who waited for it."""
        with self._changed:
            group, self._group = self._group, Group()
        return group.waiting

    def join(self, group: Group) -> None:
        """Add what sinks have finished since to a group that cannot be written yet."""
        with self._changed:
            newer = self._group
            group.letters, newer.letters = group.letters + newer.letters, []
            group.mourners, newer.mourners = group.mourners + newer.mourners, []
            group.attempts, newer.attempts = group.attempts + newer.attempts, []
            for sink, change in newer.progress.items():
                group.progress.setdefault(sink, change).merge(change.floor, change.behind)
            newer.progress = {}

    def take(self, timeout: float) -> Group | None:
        """The next group; an empty one after `timeout` seconds without any; None when closed and empty."""
        with self._changed:
            self._changed.wait_for(self._anything, timeout)
            if self._closed and not self._anything_to_write():
                return None
            self._wait_for_company()
            return self._cut()

    def done(self) -> None:
        """The group that was taken last is written, or given up."""
        self._taken = 0

    def pause(self, seconds: float) -> None:
        """Wait, but not when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)

    def _anything(self) -> bool:
        return self._closed or self._anything_to_write()

    def _anything_to_write(self) -> bool:
        return self._group.urgent or not self._group.empty

    def _packing(self, lane: Lane) -> Packing:
        packing = self._open.get(lane)
        if packing is None or packing.size >= BLOCK_BYTES:
            packing = self._open[lane] = Packing(lane)
            self._group.packings.append(packing)
        return packing

    def _wait_for_company(self) -> None:
        started = time.monotonic()
        while not (self._closed or self._group.urgent or self._bytes >= self.group_bytes):
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
        self._group, self._open = Group(packings=group.packings[number:]), {}
        if self._group.packings:  # who waits for all of it waits for these, too
            self._group.waiters, group.waiters = group.waiters, []
            self._group.settled, group.settled = group.settled, []  # as does what counts on it
            self._group.damage_told, group.damage_told = group.damage_told, False
        del group.packings[number:]
        self._bytes -= size
        self._taken = sum(packing.count for packing in group.packings)
        return group

    def _shrink(self) -> list[Packing]:
        """Give up what is too much: whole blocks."""
        packings, dropped = self._group.packings, list[Packing]()
        place = 0 if self._when_full == "drop_oldest" else -1
        while packings and self._bytes > self._max_bytes:
            dropped.append(packing := packings.pop(place))
            self._bytes -= packing.size
            if self._open.get(packing.lane) is packing:
                del self._open[packing.lane]
        return dropped

    def _without_too_large(
        self, lane: Lane, run: Run, packed: bytes, tally: Tally
    ) -> Iterable[tuple[Lane, Run, bytes]]:
        """The run; event by event, if it is larger than one event may be."""
        if len(packed) <= self._max_event:
            return [(lane, run, packed)]
        kept: list[tuple[Lane, Run, bytes]] = []
        for one in singles(run):
            each = encode_run(one)
            if len(each) > self._max_event:
                tally.add_events(one.unpacked(lane))
            else:
                kept.append((lane, one, each))
        return kept
