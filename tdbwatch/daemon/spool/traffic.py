"""How many events come in and how many the disk takes, so that a loss can be explained. Pure."""

from collections.abc import Callable
from typing import Final

_SPAN: Final = 1.0
"""Seconds over which rates are measured, at least."""


class Traffic:
    """Counts both over the last second or two.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._came = self._written = 0
        self._before = self._latest = (now(), 0, 0)

    def came(self, count: int) -> None:
        self._came += count
        self._look()

    def written(self, count: int) -> None:
        self._written += count
        self._look()

    def rates(self) -> tuple[int, int]:
        """Events that came and that were written, each second."""
        now, (since, came, written) = self._now(), self._before
        seconds = max(now - since, 1e-3)
        return round((self._came - came) / seconds), round((self._written - written) / seconds)

    def _look(self) -> None:
        now = self._now()
        if now >= self._latest[0] + _SPAN:
            self._before, self._latest = self._latest, (now, self._came, self._written)
