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

    def take(self, now: float, *, least_tried: bool = False) -> Group | None:
        """The one that is due for the longest, or, of all that are due, the one that was tried least."""
        if not self._groups or self._groups[0].due > now:
            return None
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
        """The batch that goes now, if any does; the sink has it from then on."""
        if self.ripe_at(now) != now:
            return []
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
    """What was never tried and what waits for another attempt take turns: neither keeps the sink to itself.

    Attributes:
        in_flight: parcels that the sink has now.
    """

    def __init__(self, settings: CourierSettings) -> None:
        self.ready = Ready(settings.batch)
        self.waiting = Waiting()
        self.in_flight: list[Parcel] = []
        self._limits = settings.batch
        self._max_in_flight = settings.max_in_flight
        self._retried_last = False

    @property
    def free(self) -> bool:
        """Whether the sink may have one more parcel."""
        return len(self.in_flight) < self._max_in_flight

    def next(self, now: float, *, probe: bool = False, untried: bool = False) -> Parcel | None:
        """The parcel that goes now; it is in flight from then on. None: nothing may go now.

        Args:
            probe: the sink fails as a whole, as it seems: what was tried least goes first, so that an entry
                that always fails does not stand for the sink.
            untried: only what was never tried may go.
        """
        if not self.free:
            return None
        shares = self.ready.cut(now) if probe or untried or self._retried_last else []
        if not (shares or untried) and (group := self.waiting.take(now, least_tried=probe)) is not None:
            self._retried_last = True
            return self._send(self._cut(group), now)
        if shares or (shares := self.ready.cut(now)):
            self._retried_last = False
        return self._send(shares, now)

    def next_try(self, now: float, breaker: Breaker) -> float | None:
        """When the sink gets something; None: it has it, or there is nothing."""
        if not self.free or (breaker.open and self.in_flight):
            return None
        hold = breaker.hold_until if breaker.open else 0.0
        tried, untried = self.waiting.next_due, self.ready.ripe_at(now)
        dues = [
            *([] if tried is None else [max(tried, breaker.hold_until)]),
            *([] if untried is None else [max(untried, breaker.untried_hold_until, hold)]),
        ]
        return min(dues, default=None)

    def next_due(self, now: float, *, untried: bool = False) -> float | None:
        """When `next` may have something, if nothing else happens; None: not by time."""
        if not self.free:
            return None
        dues = [] if untried or self.waiting.next_due is None else [self.waiting.next_due]
        if (ripe_at := self.ready.ripe_at(now)) is not None and ripe_at > now:
            dues.append(ripe_at)
        return min(dues, default=None)

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

    def _send(self, shares: list[Share], now: float) -> Parcel | None:
        if not shares:
            return None
        parcel = Parcel(shares, shares[0][1].failure, now)
        for queue in parcel.lanes:
            queue.move()
        self.in_flight.append(parcel)
        return parcel
