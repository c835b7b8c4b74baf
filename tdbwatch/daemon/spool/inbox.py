"""Where the event loop leaves what is to be written, and the writer's thread picks it up in groups."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice, takewhile

from tdbwatch.daemon.spool.api import Attempt, DeadLetter, DropReport, WhenFull
from tdbwatch.daemon.spool.drops import NOT_TAKEN, TOO_LARGE, Tally
from tdbwatch.daemon.spool.window import weights_of
from tdbwatch.plugin.event import Event

MAX_GROUP = 50_000
"""Events in one commit: bounds the memory of a commit and the time until couriers see its first event."""
_MAX_BYTES = 8 << 20
"""The same in bytes: a disk with little space takes small groups only."""
_MAX_ATTEMPTS = 20_000


@dataclass(slots=True)
class Group:
    """What one commit makes durable."""

    events: list[Event] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    drops: dict[str, Tally] = field(default_factory=dict)
    settled: list[DropReport] = field(default_factory=list)
    damage_told: bool = False
    waiters: list["asyncio.Future[None]"] = field(default_factory=list)
    buried: list["asyncio.Future[None]"] = field(default_factory=list)
    """Those who wait for the letters only."""

    def count(self, tally: Tally) -> None:
        """Count what was given up, by reason: however much it is, it takes little memory."""
        self.drops.setdefault(tally.reason, Tally(tally.reason)).merge(tally)

    @property
    def urgent(self) -> bool:
        return bool(self.waiters or self.buried)

    @property
    def empty(self) -> bool:
        return not (
            self.events
            or self.cursors
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
        idle_linger: the same when there are only cursors and attempts to write: nobody waits for them.
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
        self._bytes = 0
        self._taken = 0
        self._closed = False
        self.max_group_bytes = _MAX_BYTES
        """Bytes of events in one commit, roughly; set before the first is taken."""

    @property
    def held(self) -> int:
        """Events that wait for a commit, or for one under way."""
        return self._taken + len(self._group.events)

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, events: Sequence[Event]) -> list[Tally]:
        """Take events; return which were given up: because too many wait, or as they are too large."""
        weights = weights_of(events)
        too_large: list[Event] = []
        if weights and max(weights) > self._max_event:
            events, weights, too_large = self._without_too_large(events, weights)
        with self._changed:
            group = self._group
            first = not group.events
            group.events.extend(events)
            group.weights.extend(weights)
            self._bytes += sum(weights)
            dropped = self._shrink() if self._bytes > self._max_bytes else []
            if first:
                self._changed.notify()
        given_up = ((TOO_LARGE, too_large), (NOT_TAKEN, dropped))
        return [Tally(reason).add_events(those) for reason, those in given_up if those]

    def put_cursor(self, sink: str, seq: int) -> None:
        with self._changed:
            self._group.cursors[sink] = seq
            self._changed.notify()

    def put_attempt(self, attempt: Attempt) -> None:
        with self._changed:
            if (
                len(self._group.attempts) < _MAX_ATTEMPTS
            ):  # what is missing comes again after a restart, at worst
                self._group.attempts.append(attempt)
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
            (self._group.buried if letters else self._group.waiters).append(waiter)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def abandon(self) -> list["asyncio.Future[None]"]:
        """Nothing is written any more; those who waited for it."""
        with self._changed:
            waiters = self._group.waiters + self._group.buried
            self._group.waiters, self._group.buried = [], []
        return waiters

    def join(self, group: Group) -> None:
        """Add what sinks have finished since to a group that cannot be written yet."""
        with self._changed:
            newer = self._group
            group.letters, newer.letters = group.letters + newer.letters, []
            group.buried, newer.buried = group.buried + newer.buried, []
            group.attempts, newer.attempts = group.attempts + newer.attempts, []
            group.cursors, newer.cursors = group.cursors | newer.cursors, {}

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

    def _wait_for_company(self) -> None:
        started = time.monotonic()
        while not (self._closed or self._group.urgent or len(self._group.events) >= MAX_GROUP):
            linger = self._linger if self._group.events else self._idle_linger
            rest = started + linger - time.monotonic()
            if rest <= 0 or self._group.empty:
                return
            self._changed.wait(rest)

    def _cut(self) -> Group:
        group = self._group
        self._taken = len(group.events)  # first: `held` is asked without the lock, and may not be too low
        self._group = Group()
        most = self._most(group.weights)
        if most < len(group.events):  # what waits for all of it to be durable goes with the rest
            rest = self._group
            rest.events, group.events = group.events[most:], group.events[:most]
            rest.weights, group.weights = group.weights[most:], group.weights[:most]
            rest.waiters, group.waiters = group.waiters, []
            rest.settled, group.settled = group.settled, []  # as does what counts on it
            rest.damage_told, group.damage_told = group.damage_told, False
        self._bytes = sum(self._group.weights)
        self._taken = len(group.events)
        return group

    def _most(self, weights: list[int]) -> int:
        """How many of these events fit into one commit: at least one."""
        if self._bytes <= self.max_group_bytes:
            return MAX_GROUP
        fitting = takewhile(lambda size: size <= self.max_group_bytes, accumulate(islice(weights, MAX_GROUP)))
        return max(1, sum(1 for _ in fitting))

    def _shrink(self) -> list[Event]:
        group, oldest_first = self._group, self._when_full == "drop_oldest"
        surplus, count = self._bytes - self._max_bytes, 0
        for weight in group.weights if oldest_first else reversed(group.weights):
            if surplus <= 0:
                break
            surplus -= weight
            count += 1
        self._bytes = self._max_bytes + surplus
        cut = slice(0, count) if oldest_first else slice(len(group.weights) - count, None)
        dropped = group.events[cut]
        del group.events[cut], group.weights[cut]
        return dropped

    def _without_too_large(
        self, events: Sequence[Event], weights: list[int]
    ) -> tuple[list[Event], list[int], list[Event]]:
        """The events to take, their weights, and those that no others should go for."""
        sizes = list(zip(events, weights, strict=True))
        fitting = [(event, size) for event, size in sizes if size <= self._max_event]
        too_large = [event for event, size in sizes if size > self._max_event]
        return [event for event, _ in fitting], [size for _, size in fitting], too_large
