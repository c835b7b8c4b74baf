"""Counts of durations by how long they were, as Prometheus wants them. Pure."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

CALLS: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds, for calls of a sink: from a line in a file to the longest time that a receiver may take."""
WAITS: Final = (
    0.01,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    15.0,
    60.0,
    300.0,
    900.0,
    3_600.0,
    21_600.0,
    86_400.0,
)
"""Seconds, for events on their way: from a batch to a receiver that was gone for a day."""


class Distribution(NamedTuple):
    """What a histogram holds at one moment.

    Attributes:
        bounds: upper bounds of the buckets but the last, which has none; seconds.
        counts: by bucket, this one's alone.
        total: seconds of all together.
    """

    bounds: Sequence[float] = ()
    counts: Sequence[int] = (0,)
    total: float = 0.0

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many were no longer than that), as the exposition format has them."""
        names = [*map(repr, self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=False))


NOTHING_YET: Final = Distribution()


class Histogram:
    """Durations since the start.

    Args:
        bounds: upper bounds of the buckets in seconds, rising.
        counts: by bucket, from where it counts on.
        total: seconds of these.
    """

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float], counts: Sequence[int] = (), total: float = 0.0) -> None:
        self._bounds = bounds
        self._counts = [*counts] or [0] * (len(bounds) + 1)
        self._total = total

    def observe(self, seconds: float, count: int = 1) -> None:
        """So many took so long; less than no time, as where the wall clock was set back, is none."""
        seconds = max(seconds, 0.0)
        self._counts[bisect_left(self._bounds, seconds)] += count
        self._total += seconds * count

    @property
    def now(self) -> Distribution:
        return Distribution(self._bounds, tuple(self._counts), self._total)
