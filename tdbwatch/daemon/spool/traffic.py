"""How many events come in and how many the disk takes, so that a loss can be explained. Pure."""

from collections.abc import Callable
from typing import Final

_SPAN: Final = 1.0
"""Seconds over which rates are measured, at least."""
_LEAST: Final = 1e-3
Point = tuple[float, int, int]
"""A time (monotonic seconds), and what had come and was written until then."""


class Traffic:
    """Counts both over the last second or two.

    Args:
        now: monotonic seconds.

    Attributes:
        at_loss: the rates when events were lost last; None: never.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.at_loss: tuple[int, int] | None = None
        self._now = now
        self._came = self._written = 0
        self._before = self._latest = (now(), 0, 0)

    def came(self, count: int) -> None:
        self._look()
        self._came += count

    def written(self, count: int) -> None:
        self._look()
        self._written += count

    def lost(self) -> None:
        """Events are lost: later nobody would know how many came now."""
        self.at_loss = self.rates()

    def rates(self) -> tuple[int, int]:
        """Events that came and that were written, each second."""
        self._look()
        now, (since, came, written) = self._now(), self._before
        seconds = max(now - since, _LEAST)
        return round((self._came - came) / seconds), round((self._written - written) / seconds)

    def _look(self) -> None:
        """Begin a new span; after a time of which nothing is known the one before does not count."""
        now = self._now()
        if now >= self._latest[0] + _SPAN:
            here: Point = (now, self._came, self._written)
            self._before, self._latest = (here if now >= self._latest[0] + 2 * _SPAN else self._latest), here
