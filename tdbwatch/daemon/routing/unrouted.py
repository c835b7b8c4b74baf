"""What no route takes is counted, by room."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from tdbwatch.daemon.routing.routes import Routes
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane
from tdbwatch.plugin import Kind

_EVENT: Final = str(Kind.EVENT.value)


class Unrouted:
    """Counts the events that were heard and that no route takes by its names, by room.

    What only a condition leaves out is not counted: that would ask each event.
    """

    def __init__(self, routes: Routes) -> None:
        self.rooms = Counter[Lane]()
        self._routes = routes

    @property
    def total(self) -> int:
        """All of them since the start."""
        return self.rooms.total()

    def count(self, heard: Iterable[Heard]) -> None:
        """Count those among what was heard in one turn."""
        router = self._routes.now
        for lane, run in heard:
            if run.kind == _EVENT and (unrouted := router.unrouted(lane, run.events)):
                self.rooms[lane] += unrouted
