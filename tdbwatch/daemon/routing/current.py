"""Which routes are in use: those of now, and those that are still asked about what was heard before.

Routes change by a reload, and sinks are at different places of the log. So an entry is always asked about by
the routes that were in use when it was heard: however far each sink is, no change of routes takes an entry
from all of them. After a restart only the routes of then are known.
"""

from dataclasses import dataclass
from typing import Final

from tdbwatch.daemon.routing.routes import Matcher, Router

_MOST: Final = 256
"""Former routers that are kept; what only older ones know is asked about by the oldest of these."""


@dataclass(frozen=True, slots=True)
class _Former:
    """A router that was in use up to this entry."""

    through: int
    router: Router


class Routing:
    """The one who knows the router in use.

    Attributes:
        now: it; what is heard from now on is its.
    """

    def __init__(self, router: Router) -> None:
        self.now = router
        self._former: list[_Former] = []
        self._leaving: dict[str, Router] = {}
        """Of each sink that is being closed for good, the last router that knew it."""

    def change(self, router: Router, through: int) -> None:
        """From now on this one is in use.

        Args:
            through: the newest entry of the log: up to it the routers of before are asked.
        """
        for sink in self.now.sinks:
            self._leaving[sink] = self.now
        self._leaving = {sink: known for sink, known in self._leaving.items() if sink not in router.sinks}
        router.go_on(self.now)
        self.now.forget()
        self._former = [*self._former, _Former(through, self.now)][-_MOST:]
        self.now = router

    def finished(self, through: int) -> None:
        """Every sink is finished with all up to this entry."""
        self._former = [one for one in self._former if one.through > through]

    def gone(self, sink: str) -> None:
        """This one was closed: it asks no more."""
        self._leaving.pop(sink, None)

    @property
    def former(self) -> int:
        """How many routers of before are still asked."""
        return len(self._former)

    def at(self, seq: int, sink: str) -> Router:
        """The router for an entry of the log: of that time, or the first since then that knows the sink.

        A sink that is being closed is asked about by the last that knew it: what was still on its way to the
        disk when the routes changed was heard before.
        """
        for one in self._former:
            if seq <= one.through and sink in one.router.sinks:
                return one.router
        return self._leaving.get(sink, self.now)

    def matcher(self, sink: str) -> Matcher:
        """What tells whether the sink gets an event."""
        return Matcher(sink, self)
