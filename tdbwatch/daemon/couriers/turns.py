"""Whose turn it is: lanes with what was never tried, lanes that wait for another attempt. Pure."""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.lane import LaneQueue
from tdbwatch.daemon.couriers.parcel import Parcel, Share
from tdbwatch.daemon.couriers.pieces import Piece
from tdbwatch.daemon.couriers.settings import BatchLimits, CourierSettings

_numbers: Final = count()


@dataclass(slots=True, order=True)
class Group:
    """Lanes whose entries failed together, and go together again.

    Attributes:
        due: no attempt before this time, by the monotonic clock.
    """

    due: float
    lanes: list[LaneQueue] = field(default_factory=list, compare=False)
    number: int = field(default_factory=lambda: next(_numbers), init=False)

    @property
    def attempts(self) -> int:
        return self.lanes[0].failure.attempts


class Waiting:
    """Groups by when they are due."""

    def __init__(self) -> None:
        self._groups: list[Group] = []  # a heap

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def next_due(self) -> float | None:
        """When the first of them is due."""
        return self._groups[0].due if self._groups else None

    def add(self, group: Group) -> None:
        heapq.heappush(self._groups, group)

    def gather(self, lanes: Iterable[LaneQueue], dues: Mapping[LaneQueue, float], now: float) -> None:
        """Make groups of these lanes: those that share a failure, and are due together, go together.

        Args:
            dues: those that are not due already.
        """
        groups: dict[object, Group] = {}
        for lane in lanes:
            due, failure = dues.get(lane, now), lane.failure
            key = lane if failure.most == 1 else (due, failure)
            group = groups.get(key)
            if group is None:
                group = groups[key] = Group(due)
            group.lanes.append(lane)
        for group in groups.values():
            self.add(group)

    def hasten(self, now: float) -> None:
        """All are due."""
        for group in self._groups:
            group.due = min(group.due, now)
        heapq.heapify(self._groups)

    def take(self, now: float, *, least_tried: bool) -> Group:
        """The one that is due for the longest, or, of all that are due, the one that was tried least."""
        if not least_tried:
            return heapq.heappop(self._groups)
        due = [group for group in self._groups if group.due <= now]
        group = min(due, key=lambda group: (group.attempts, group))
        self._groups.remove(group)
        heapq.heapify(self._groups)
        return group


class Ready:
    """They take turns, each with a piece. What they hold was never tried.

    Attributes:
        since: when the first of these entries began to wait for company.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self.since = 0.0
        self._limits = limits
        self._lanes: deque[LaneQueue] = deque()
        self._count = 0
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def add(self, lane: LaneQueue, now: float, *, waited: bool = False) -> None:
        """This lane waits for its turn.

        Args:
            waited: some of it has waited for company once: it waits for none any more.
        """
        if waited:
            self.since = float("-inf")
        elif not self._lanes:
            self.since = now
        self._lanes.append(lane)
        self._count += lane.held.count
        self._size += lane.held.size

    def grow(self, piece: Piece) -> None:
        """One of these lanes has got this."""
        self._count += piece.count
        self._size += piece.size

    def ripe_at(self, now: float) -> float | None:
        """When a batch may go, at the latest; None: there is none."""
        if not self._lanes:
            return None
        full = self._count >= self._limits.count or self._size >= self._limits.max_bytes
        return now if full else max(now, self.since + self._limits.wait)

    def cut(self, now: float) -> list[Share]:
        """The batch that goes now; the sink has it from then on."""
        shares = list[Share]()
        count, size = self._limits.count, self._limits.max_bytes
        had_turn: deque[LaneQueue] = deque()
        while count > 0 and (lane := self._next(had_turn)) is not None:
            piece = lane.take(count, size, at_least=0 if shares else 1)
            if piece is None:
                if not lane.taken:
                    self._lanes.appendleft(lane)
                    self._count += lane.held.count
                    self._size += lane.held.size
                break
            shares.append((lane, piece))
            count, size = count - piece.count, size - piece.size
            if lane.held and lane.held.first.failure is None:
                had_turn.append(lane)
        self.since = now
        return shares

    def _next(self, had_turn: deque[LaneQueue]) -> LaneQueue | None:
        """The lane whose turn it is: those that had theirs come after all others."""
        if not self._lanes:
            return had_turn.popleft() if had_turn else None
        lane = self._lanes.popleft()
        self._count -= lane.held.count
        self._size -= lane.held.size
        return lane


class Turns:
    """What goes to the sink now, and when something goes next: one rule answers both.

    What was never tried and what waits for another attempt take turns: neither keeps the sink to itself. A
    sink that fails as a whole, as it seems, is probed with what was tried least, so that an entry that always
    fails does not stand for the sink.

    Attributes:
        in_flight: parcels that the sink has now.
    """

    def __init__(self, settings: CourierSettings, breaker: Breaker) -> None:
        self.ready = Ready(settings.batch)
        self.waiting = Waiting()
        self.in_flight: list[Parcel] = []
        self._breaker = breaker
        self._limits = settings.batch
        self._max_in_flight = settings.max_in_flight
        self._retried_last = False

    @property
    def free(self) -> bool:
        """Whether the sink may have one more parcel."""
        return len(self.in_flight) < (1 if self._breaker.open else self._max_in_flight)

    def next(self, now: float) -> Parcel | None:
        """The parcel that goes now; it is in flight from then on. None: nothing may go now."""
        untried, tried = [due is not None and due <= now for due in self._dues(now)]
        if untried and (not tried or self._retried_last or self._breaker.open):
            self._retried_last = False
            return self._send(self.ready.cut(now), now)
        if tried:
            self._retried_last = True
            return self._send(self._cut(self.waiting.take(now, least_tried=self._breaker.open)), now)
        return None

    def next_try(self, now: float) -> float | None:
        """When the sink gets something, if nothing else happens; None: it has it, or there is nothing."""
        return min([due for due in self._dues(now) if due is not None], default=None)

    def _dues(self, now: float) -> tuple[float | None, float | None]:
        """When what was never tried may go, and when what failed; None: not by time."""
        if not self.free:
            return None, None
        untried, tried = self.ready.ripe_at(now), self.waiting.next_due
        return (
            None if untried is None else max(untried, self._breaker.untried_hold_until),
            None if tried is None else max(tried, self._breaker.hold_until),
        )

    def _cut(self, group: Group) -> list[Share]:
        """What of a group goes together; the rest waits on."""
        shares = list[Share]()
        count, size = min(self._limits.count, group.lanes[0].failure.most), self._limits.max_bytes
        for index, queue in enumerate(group.lanes):
            pieces = queue.take_tried(count, size, at_least=0 if shares else 1) if count > 0 else []
            if not pieces:
                self.waiting.add(Group(group.due, group.lanes[index:]))
                break
            shares += [(queue, piece) for piece in pieces]
            count -= sum([one.count for one in pieces])
            size -= sum([one.size for one in pieces])
        return shares

    def _send(self, shares: list[Share], now: float) -> Parcel:
        parcel = Parcel(shares, shares[0][1].failure, now)
        for queue in parcel.lanes:
            queue.move()
        self.in_flight.append(parcel)
        return parcel
