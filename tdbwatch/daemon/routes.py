"""Which sinks get an event. Pure: events in, names of sinks out.

Every courier asks for every event, so an answer is kept for each (kind, scope, room, event), as many as
fit in a bounded memory: a daemon hears few different names, many times each.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tdbwatch.daemon.config import RouteConfig
from tdbwatch.daemon.config.fields import compile_globs, scope_glob
from tdbwatch.plugin import Event, Kind
from tdbwatch.wire.scopes import short

_MEMORY: Final = 4096
"""Answers that are kept; the one that was not asked for the longest goes first."""
_UNROUTED: Final = frozenset({Kind.EVENT, Kind.GAP})
"""What every sink gets when there are no routes."""


class Router:
    """Asks the routes in their order; one with `stop` that matches is the last to be asked.

    Without routes every sink gets every event and every gap. Records of rooms and nodes go only where a
    route asks for their kind, and to plugins with a hook for it: such hooks hear all of their kind.

    Args:
        sinks: their names, each with the kinds of records that it has hooks for, if it is a plugin.
    """

    def __init__(self, routes: Iterable[RouteConfig], sinks: Mapping[str, frozenset[str]]) -> None:
        self._rules = tuple(_Rule.of(route) for route in routes)
        self._kinds = {name: hears or _UNROUTED for name, hears in sinks.items()}
        self._hooked = {name: hears - {Kind.EVENT} for name, hears in sinks.items()}
        self._sinks = lru_cache(maxsize=_MEMORY)(self._ask)

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


@dataclass(frozen=True, slots=True)
class _Rule:
    """A route, ready to be asked. A pattern that is None matches everything."""

    kinds: frozenset[str]
    scope: re.Pattern[str] | None
    room: re.Pattern[str] | None
    event: re.Pattern[str] | None
    to: frozenset[str]
    stop: bool

    @classmethod
    def of(cls, route: RouteConfig) -> "_Rule":
        match = route.match
        scopes = None if match.scope is None else [scope_glob(glob) for glob in match.scope]
        return cls(
            kinds=frozenset(match.kind),
            scope=_pattern(scopes),
            room=_pattern(match.room),
            event=_pattern(match.event),
            to=frozenset(route.to),
            stop=route.stop,
        )

    def matches(self, kind: str, scope: str, room: str, event: str) -> bool:
        return (
            kind in self.kinds
            and (self.scope is None or self.scope.match(scope) is not None)
            and (self.room is None or self.room.match(room) is not None)
            and (self.event is None or self.event.match(event) is not None)
        )


def _pattern(globs: Sequence[str] | None) -> re.Pattern[str] | None:
    return None if globs is None else compile_globs(globs)
