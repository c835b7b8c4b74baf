"""Routes, ready to be asked. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tdbwatch.daemon.config.fields import compile_globs, scope_glob
from tdbwatch.daemon.config.models import RouteConfig


@dataclass(frozen=True, slots=True)
class Rule:
    """A route. A pattern that is None matches everything."""

    kinds: frozenset[str]
    scope: re.Pattern[str] | None
    room: re.Pattern[str] | None
    event: re.Pattern[str] | None
    to: frozenset[str]
    stop: bool

    @classmethod
    def of(cls, route: RouteConfig) -> "Rule":
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

    def admits(self, kind: str, scope: str, room: str) -> bool:
        """Whether it takes anything of this kind and room; `scope` as records have it."""
        return (
            kind in self.kinds
            and (self.scope is None or self.scope.match(scope) is not None)
            and (self.room is None or self.room.match(room) is not None)
        )

    def matches(self, kind: str, scope: str, room: str, event: str) -> bool:
        """Whether it takes what has all of these."""
        return self.admits(kind, scope, room) and (self.event is None or self.event.match(event) is not None)


def _pattern(globs: Sequence[str] | None) -> re.Pattern[str] | None:
    return None if globs is None else compile_globs(globs)
