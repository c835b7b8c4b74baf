"""Which sinks get an event. Pure: events in, names of sinks out.

Every courier asks for every event, so an answer is kept for each (kind, scope, room, event), as many as
fit in a bounded memory: a daemon hears few different names, many times each.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from tdbwatch.daemon.config import RouteConfig
from tdbwatch.daemon.config.rules import Rule
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane
from tdbwatch.plugin import Event, Kind
from tdbwatch.wire.scopes import short

_MEMORY: Final = 4096
"""Answers that are kept; the one that was not asked for the longest goes first."""
_EVENT: Final = str(Kind.EVENT.value)
_WITHOUT_ROUTES: Final = frozenset({Kind.EVENT, Kind.GAP})
"""What every sink gets when there are no routes."""


class Router:
    """Asks the routes in their order; one with `stop` that matches is the last to be asked.

    Without routes every sink gets every event and every gap. Records of rooms and nodes go only where a
    route asks for their kind, and to plugins with a hook for it: such hooks hear all of their kind.

    Args:
        sinks: their names, each with the kinds of records that it has hooks for, if it is a plugin.
    """

    def __init__(self, routes: Iterable[RouteConfig], sinks: Mapping[str, frozenset[str]]) -> None:
        self._rules = tuple(Rule.of(route) for route in routes)
        self._kinds = {name: hears or _WITHOUT_ROUTES for name, hears in sinks.items()}
        self._hooked = {name: hears - {Kind.EVENT} for name, hears in sinks.items()}
        self._sinks = lru_cache(maxsize=_MEMORY)(self._ask)
        self._taken = lru_cache(maxsize=_MEMORY)(self._is_taken)
        self._taken_whole = lru_cache(maxsize=_MEMORY)(self._is_taken_whole)

    @classmethod
    def of_names(cls, routes: Iterable[RouteConfig], names: Iterable[str]) -> "Router":
        """With sinks of which nothing is known but their names."""
        return cls(routes, dict.fromkeys(names, frozenset()))

    def sinks_for(self, event: Event) -> frozenset[str]:
        """The names of the sinks that get `event`."""
        return self._sinks(event.kind, event.scope, event.room, event.event)

    def matching(self, event: Event) -> list[int]:
        """The numbers, from 1, of the routes that match `event`, up to the one that stops."""
        found: list[int] = []
        for number, rule in enumerate(self._rules, 1):
            if rule.matches(event.kind, short(event.scope), event.room, event.event):
                found.append(number)
                if rule.stop:
                    break
        return found

    def takes(self, kind: str, scope: str, room: str, event: str) -> bool:
        """Whether any route takes what has these in common, if only to drop it."""
        return self._taken(kind, scope, room, event)

    def takes_all(self, lane: Lane) -> bool:
        """Whether a route takes whatever event comes from this room."""
        return self._taken_whole(*lane)

    def unrouted(self, lane: Lane, events: Sequence[str]) -> int:
        """How many of these events of one room no route takes.

        Asks once for each name, and for none where a route takes all of the room.
        """
        if self.takes_all(lane):
            return 0
        names = {name for name in set(events) if not self._taken(Kind.EVENT, *lane, name)}
        return sum(map(names.__contains__, events)) if names else 0

    @property
    def remembered(self) -> int:
        """How many answers are kept."""
        return self._sinks.cache_info().currsize

    def matcher(self, sink_name: str) -> "Matcher":
        """What tells whether the sink `sink_name` gets an event."""
        return Matcher(sink_name, self._sinks)

    def _ask(self, kind: str, scope: str, room: str, event: str) -> frozenset[str]:
        if not self._rules:
            return frozenset(name for name, kinds in self._kinds.items() if kind in kinds)
        found = {name for name, kinds in self._hooked.items() if kind in kinds}
        for rule in self._rules:
            if rule.matches(kind, short(scope), room, event):
                found |= rule.to
                if rule.stop:
                    break
        return frozenset(found & self._kinds.keys())

    def _is_taken(self, kind: str, scope: str, room: str, event: str) -> bool:
        return not self._rules or any(rule.matches(kind, short(scope), room, event) for rule in self._rules)

    def _is_taken_whole(self, scope: str, room: str) -> bool:
        whole = (rule for rule in self._rules if rule.event is None)
        return not self._rules or any(rule.admits(Kind.EVENT, short(scope), room) for rule in whole)


class Unrouted:
    """Counts the events that were heard and that no route takes, by room."""

    def __init__(self, router: Router) -> None:
        self.rooms = Counter[Lane]()
        self._router = router

    @property
    def total(self) -> int:
        """All of them since the start."""
        return self.rooms.total()

    def count(self, heard: Iterable[Heard]) -> None:
        """Count those among what was heard in one turn."""
        for lane, run in heard:
            if run.kind == _EVENT and (unrouted := self._router.unrouted(lane, run.events)):
                self.rooms[lane] += unrouted


class Matcher:
    """Tells whether a sink gets an event: the event itself, or all that have this name in this room."""

    def __init__(self, sink_name: str, sinks_for: Callable[[str, str, str, str], frozenset[str]]) -> None:
        self._sink_name = sink_name
        self._sinks_for = sinks_for

    def __call__(self, event: Event) -> bool:
        return self.by_name(event.kind, event.scope, event.room, event.event)

    def by_name(self, kind: str, scope: str, room: str, event: str) -> bool:
        """Whether it gets those that have these in common."""
        return self._sink_name in self._sinks_for(kind, scope, room, event)
