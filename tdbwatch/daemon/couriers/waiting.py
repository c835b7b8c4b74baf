"""Lanes that wait for another attempt: thousands, when each room has an event that the sink refuses. Pure."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from tdbwatch.daemon.couriers.lane import LaneQueue

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
            key = lane if failure.alone else (due, failure)
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
