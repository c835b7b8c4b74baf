"""Whose turn it is: lanes with what was never tried, lanes that wait for another attempt. Pure."""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable

from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.lane import LaneQueue, Parcel, Share
from tdbwatch.daemon.couriers.settings import CourierSettings

Group = deque[LaneQueue]
"""Lanes whose entries failed together, and go together again."""


def _due(group: Group) -> float:
    return group[0].failure.due


class Turns:
    """What goes to the sink now, and when something goes next: one rule answers both.

    What was never tried and what waits for another attempt take turns: neither keeps the sink to itself. A
    sink that fails as a whole, as it seems, is probed with what was tried least, so that an entry that always
    fails does not stand for the sink.

    Attributes:
        ready: lanes of which the next entries were never tried.
        waiting: the others, by when they are due.
        in_flight: parcels that the sink has now.
    """

    def __init__(self, settings: CourierSettings, breaker: Breaker) -> None:
        self.ready: deque[LaneQueue] = deque()
        self.waiting: list[Group] = []
        self.in_flight: list[Parcel] = []
        self._breaker = breaker
        self._limits = settings.batch
        self._max_in_flight = settings.max_in_flight
        self._ready_since = 0.0
        self._retried_last = False

    def add(self, lane: LaneQueue, now: float, *, waited: bool = False) -> None:
        """The next entries of this lane were never tried.

        Args:
            waited: some of them have waited for company once: they wait for none any more.
        """
        if waited:
            self._ready_since = float("-inf")
        elif not self.ready:
            self._ready_since = now
        self.ready.append(lane)

    def wait(self, lanes: Iterable[LaneQueue]) -> None:
        """The next entries of these lanes failed: those that share it go together."""
        groups: dict[object, Group] = {}
        for lane in lanes:
            failure = lane.failure
            key = lane if failure.most == 1 else failure
            groups.setdefault(key, deque()).append(lane)
        for group in groups.values():
            insort(self.waiting, group, key=_due)

    def hasten(self, now: float) -> None:
        """People want the sink to be tried at once: nothing waits any longer."""
        self._breaker.wake(now)
        for group in self.waiting:
            group[0].failure.due = min(group[0].failure.due, now)

    @property
    def free(self) -> bool:
        """Whether the sink may have one more parcel."""
        return len(self.in_flight) < (1 if self._breaker.open else self._max_in_flight)

    def next(self, now: float) -> Parcel | None:
        """The parcel that goes now; it is in flight from then on. None: nothing may go now."""
        untried, tried = [due is not None and due <= now for due in self._dues(now)]
        if untried and (not tried or self._retried_last or self._breaker.open):
            self._retried_last, self._ready_since = False, now
            return self._send(self.ready, self._limits.count, now)
        if not tried:
            return None
        self._retried_last = True
        group = self._take(now)
        parcel = self._send(group, min(self._limits.count, group[0].failure.most), now)
        if group:
            insort(self.waiting, group, key=_due)
        return parcel

    def next_try(self, now: float) -> float | None:
        """When the sink gets something, if nothing else happens; None: it has it, or there is nothing."""
        return min([due for due in self._dues(now) if due is not None], default=None)

    def _dues(self, now: float) -> tuple[float | None, float | None]:
        """When what was never tried may go, and when what failed; None: not by time."""
        if not self.free:
            return None, None
        untried = max(self._ripe_at(now), self._breaker.untried_hold_until) if self.ready else None
        tried = max(_due(self.waiting[0]), self._breaker.hold_until) if self.waiting else None
        return untried, tried

    def _ripe_at(self, now: float) -> float:
        """When what is ready goes: it has waited for company long enough, or fills a batch."""
        limits, ripe_at = self._limits, self._ready_since + self._limits.wait
        if ripe_at <= now:
            return now
        full = sum([lane.count for lane in self.ready]) >= limits.count
        return now if full or sum([lane.size for lane in self.ready]) >= limits.max_bytes else ripe_at

    def _take(self, now: float) -> Group:
        """The group that is due for the longest; to probe, of all that are due, the least tried one."""
        if not self._breaker.open:
            return self.waiting.pop(0)
        due = range(bisect_right(self.waiting, now, key=_due))
        return self.waiting.pop(min(due, key=lambda index: self.waiting[index][0].failure.attempts))

    def _send(self, lanes: deque[LaneQueue], count: int, now: float) -> Parcel:
        """As much as goes together: lanes take turns, each with a piece; those that had none are left."""
        shares, failure, size = list[Share](), lanes[0].held[0].failure, self._limits.max_bytes
        had_turn: deque[LaneQueue] = deque()
        while count > 0 and (lanes or had_turn):
            lane = (lanes or had_turn).popleft()
            if (piece := lane.take(count, size, at_least=0 if shares else 1)) is None:
                if not lane.taken:
                    lanes.appendleft(lane)
                break
            shares.append((lane, piece))
            count, size = count - piece.count, size - piece.size
            if lane.held and lane.held[0].failure is failure:
                had_turn.append(lane)
        parcel = Parcel(shares, failure, now, self._breaker.asked)
        for lane in parcel.lanes:
            lane.move()
        self.in_flight.append(parcel)
        return parcel
