"""What was passed on of late, and when: the merge's short memory. Pure: it is told the time."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Final

from tdbwatch.client.merging.debts import Key

LIMIT: Final = 50_000
"""Emits remembered at most."""


class History:
    """The keys passed on during the last `span` seconds, numbered from 1, with times as fine as a `tick`."""

    __slots__ = ("_marks", "_span", "_tick", "keys")

    def __init__(self, span: float, tick: float) -> None:
        self.keys: deque[Key] = deque(maxlen=LIMIT)
        """The keys in order; the merge appends to them."""
        self._marks: deque[tuple[float, int]] = deque()
        self._span = span
        self._tick = tick

    def mark(self, now: float, number: int) -> None:
        """Remember how many were passed on by now, and forget what is too old. Once a tick while any come."""
        self._marks.append((now, number))
        while self._marks[0][0] < now - self._span - 2 * self._tick:
            self._marks.popleft()
        kept = number - self.number_at(now - self._span)
        while len(self.keys) > kept:
            self.keys.popleft()

    def number_at(self, time: float) -> int:
        """The number of the last emit passed on before this time; too low by a tick's emits at most."""
        at = bisect_left(self._marks, (time - self._tick, -1))
        return self._marks[min(at, len(self._marks) - 1)][1]

    def time_of(self, number: int) -> float:
        """When the emit with this number was passed on; too early by a tick at most."""
        at = bisect_left(self._marks, number, key=itemgetter(1))
        return self._marks[at - 1][0] if at > 0 else 0.0

    def since(self, time: float, number: int) -> Iterator[tuple[int, Key]]:
        """Number and key of what was passed on since then. `number`: that of the last emit passed on."""
        forgotten = number - len(self.keys)
        first = max(forgotten, self.number_at(time))
        return enumerate(islice(self.keys, first - forgotten, None), start=first + 1)
