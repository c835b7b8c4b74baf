"""A wall clock that leaps ahead is not believed at once: no event goes for a mistake of minutes."""

from typing import Final

from tdbwatch.clock import Clock

_LEAP: Final = 60.0
"""Seconds that the wall clock may gain on the monotonic one and be believed: it is set right now and then."""
_BELIEVED_AFTER: Final = 600.0


class SteadyTime:
    """The time by which entries are too old.

    At the start the wall clock is right. If it leaps ahead after that, time goes on as if it had not, until
    it has been ahead for ten minutes. If it goes back, that counts at once: it makes everything younger.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()
        self._ahead_since: float | None = None

    def now(self) -> float:
        """Seconds since the Unix epoch. To be asked often, for a leap shows only when it is."""
        monotonic = self._clock.monotonic()
        offset = self._clock.time() - monotonic
        if offset <= self._offset + _LEAP:
            self._offset, self._ahead_since = offset, None
        elif self._ahead_since is None:
            self._ahead_since = monotonic
        elif monotonic >= self._ahead_since + _BELIEVED_AFTER:
            self._offset, self._ahead_since = offset, None
        return monotonic + self._offset
