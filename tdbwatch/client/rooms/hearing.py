"""From when to when a room was surely heard, by any link. Pure: it is told the time.

That a link heard nothing shows late: a frozen one is noticed after the heartbeat's timeout, and until then it
seemed to stand in for others that were lost meanwhile. So each link's time is only counted once its end is
known, and losses of the past are found then.
"""

from typing import Final, Protocol

IN_FLIGHT: Final = 1.0
"""Seconds that an emit may be under way. What was on its way to a link when it ended counts as lost, unless
another link joined so long before."""
TOGETHER: Final = 0.1
"""Seconds within which links that join first count as having joined at once."""
LIMIT: Final = 100
"""Ended links remembered at most."""


class Hearer(Protocol):
    """A link."""

    @property
    def heard_at(self) -> float:
        """When anything was heard from it last, in monotonic seconds."""
        ...


class Hearing:
    """The links that hear one room, and those that did."""

    __slots__ = ("_ended", "_links", "_told")

    def __init__(self) -> None:
        self._links: dict[Hearer, float] = {}
        self._ended: list[tuple[float, float]] = []
        self._told = float("-inf")

    def __bool__(self) -> bool:
        """Whether any link hears it now, as far as is known."""
        return bool(self._links)

    def begins(self, link: Hearer, now: float) -> None:
        """A link hears all of it from now on."""
        self._links.setdefault(link, now)

    def resumes(self, now: float) -> None:
        """All that was missed before is told."""
        self._told = now

    def ends(self, link: Hearer, until: float) -> float | None:
        """A link does not hear it any more, and surely did until then.

        Returns:
            Since when, in monotonic seconds, events may have been missed; None: the others heard them.
        """
        if (start := self._links.pop(link, None)) is None:
            return None
        since = self._first_hole(max(until, self._told))
        self._ended.append((start, until))
        oldest = min((each.heard_at for each in self._links), default=until)
        self._ended = [span for span in self._ended if span[1] >= oldest][-LIMIT:]
        return since

    def _first_hole(self, at: float) -> float | None:
        while True:
            joined_by = max(at - IN_FLIGHT, self._told + TOGETHER)
            if any(start <= joined_by for start in self._links.values()):
                return None
            further = max((end for start, end in self._ended if start <= joined_by), default=at)
            if further <= at:
                return at
            at = further
