"""Routes, ready to be asked. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from tdbwatch.daemon.config.models.fields import compile_globs, scope_glob
from tdbwatch.daemon.config.models.holds import Absence, Hold, hold_of
from tdbwatch.daemon.config.models.routes import AbsenceConfig, MatchConfig, RouteConfig
from tdbwatch.daemon.expressions import Expression
from tdbwatch.plugin.jsonable import to_json


@dataclass(frozen=True, slots=True)
class Rule:
    """A route. A pattern that is None matches everything.

    Attributes:
        path: where it is in the configuration, such as `routes[1].routes[0]`.
        fields: what fields that routes have set must match.
        where: what else must hold for the event.
        set: the fields that it sets, in order.
        on_error: whether an event for which `where` has no value is taken.
        hold: what it remembers of the events.
        key: names it where it is remembered; changes with what it matches, not with its place or its bounds.
        default: whether it takes only what no route before it took.
        inner: routes that are asked about what this one matched.
    """

    path: str
    kinds: frozenset[str]
    scope: re.Pattern[str] | None
    room: re.Pattern[str] | None
    event: re.Pattern[str] | None
    to: frozenset[str]
    stop: bool
    fields: Mapping[str, re.Pattern[str]]
    where: Expression | None
    set: Mapping[str, Expression]
    on_error: bool
    hold: Hold | None
    key: str
    default: bool
    inner: tuple["Rule", ...]

    @classmethod
    def all_of(cls, routes: Iterable[RouteConfig], above: str = "", within: str = "") -> tuple["Rule", ...]:
        """The rules of a list of routes.

        Args:
            above: the path of the route that they are in, with a dot.
            within: that route's key.
        """
        rules, seen = [], Counter[str]()
        for index, route in enumerate(routes):
            key = _key_of(route, hold_of(route), within)
            seen[key] += 1
            key += f"-{seen[key]}" if seen[key] > 1 else ""
            rules.append(cls.of(route, f"{above}routes[{index}]", key))
        return tuple(rules)

    @classmethod
    def awaiting(cls, absences: Iterable[AbsenceConfig]) -> tuple["Rule", ...]:
        """A rule for each absence: asked about every event whatever routes say, and holding none back."""
        return tuple(cls._awaiting(absence, f"absences[{n}]") for n, absence in enumerate(absences))

    @classmethod
    def _awaiting(cls, absence: AbsenceConfig, path: str) -> "Rule":
        match = MatchConfig.model_construct(**dict(absence.match))
        route = RouteConfig.model_construct(match=match, where=absence.where, on_error=absence.on_error)
        hold = hold_of(absence)
        rule = cls.of(route, path, _key_of(route, hold, absence.name))
        return replace(rule, to=frozenset(absence.to), hold=hold)

    @classmethod
    def of(cls, route: RouteConfig, path: str, key: str = "") -> "Rule":
        match = route.match
        scopes = None if match.scope is None else [scope_glob(glob) for glob in match.scope]
        return cls(
            path=path,
            kinds=frozenset(match.kind),
            scope=_pattern(scopes),
            room=_pattern(match.room),
            event=_pattern(match.event),
            to=frozenset(route.to),
            stop=route.stop,
            fields={name: compile_globs(globs) for name, globs in match.fields.items()},
            where=route.where,
            set=route.set,
            on_error=route.on_error == "match",
            hold=hold_of(route),
            key=key,
            default=route.default,
            inner=cls.all_of(route.routes, f"{path}.", key),
        )

    @property
    def is_conditional(self) -> bool:
        """Whether what it takes depends on more than names."""
        return self.where is not None or bool(self.fields)

    @property
    def depends(self) -> bool:
        """Whether what sinks get by it depends on more than names."""
        return self.is_conditional or bool(self.set) or self.hold is not None

    @property
    def every(self) -> Iterator["Rule"]:
        """This rule and all within it."""
        yield self
        for rule in self.inner:
            yield from rule.every

    @property
    def expressions(self) -> list[Expression]:
        """All that it has itself."""
        key = None if self.hold is None else self.hold.key
        return [one for one in (self.where, *self.set.values(), key) if one is not None]

    @property
    def sinks(self) -> frozenset[str]:
        """The sinks that get something by it."""
        return frozenset(sink for rule in self.every for sink in rule.to)

    def takes(self, kind: str, scope: str, room: str, event: str) -> bool:
        """Whether it, or one within it, sends, drops or waits for what has these names, conditions aside."""
        if not self.matches(kind, scope, room, event):
            return False
        return (
            bool(self.to)
            or self.stop
            or isinstance(self.hold, Absence)
            or any(rule.takes(kind, scope, room, event) for rule in self.inner)
        )

    def narrowed(self, kind: str, scope: str, room: str, event: str) -> "Rule | None":
        """What is left of it for records that have these names; None: nothing."""
        if not self.matches(kind, scope, room, event):
            return None
        inner = (rule.narrowed(kind, scope, room, event) for rule in self.inner)
        return replace(self, inner=tuple(rule for rule in inner if rule is not None))

    def admits(self, kind: str, scope: str, room: str) -> bool:
        """Whether it takes anything of this kind and room; `scope` as records have it."""
        return (
            kind in self.kinds
            and (self.scope is None or self.scope.match(scope) is not None)
            and (self.room is None or self.room.match(room) is not None)
        )

    def matches(self, kind: str, scope: str, room: str, event: str) -> bool:
        """Whether it takes what has all of these, its conditions aside."""
        return self.admits(kind, scope, room) and (self.event is None or self.event.match(event) is not None)

    def matches_fields(self, fields: Mapping[str, Any]) -> bool:
        """Whether the fields that routes have set are those that it is about."""
        return not self.fields or all(
            name in fields and pattern.match(text_of(fields[name])) is not None
            for name, pattern in self.fields.items()
        )


def _key_of(route: RouteConfig, hold: Hold | None, within: str) -> str:
    where = "" if route.where is None else route.where.source
    key = "" if hold is None or hold.key is None else hold.key.source
    said = (within, route.match.model_dump_json(), where, key)
    form = "plain" if hold is None else hold.form
    return f"{form}:{sha256(repr(said).encode()).hexdigest()[:16]}"


def text_of(value: Any) -> str:
    """A field's value, as a glob sees it: as JSON has it, and text without quotes."""
    return value if isinstance(value, str) else to_json(value).decode()


def _pattern(globs: Sequence[str] | None) -> re.Pattern[str] | None:
    return None if globs is None else compile_globs(globs)
