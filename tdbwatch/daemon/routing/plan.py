"""What routes say of events that have one name, and of each of them. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tdbwatch.daemon.config.models.holds import Hold
from tdbwatch.daemon.config.models.rules import Rule, text_of
from tdbwatch.daemon.expressions import Fields, Names
from tdbwatch.daemon.expressions.bounds import EvaluationError
from tdbwatch.plugin import Event

Decision = Mapping[str, Fields]
"""The sinks that get an event, each with the fields that routes have set for it."""
NO_FIELDS: Final[Fields] = {}
_FEW: Final = 2
"""Expressions that each read an event for themselves in less time than it takes to keep what was read."""
LetsThrough = Callable[[Event, Rule, str, Fields], bool]
"""Whether a route lets an event through, by its key and with the fields that routes have set."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the routes say of all records that have one name.

    Attributes:
        decision: who gets them, whatever else they hold.
        rules: the routes that must be asked about each of them; none: that is all.
        matched: else the paths of the routes that match.
    """

    decision: Decision
    rules: tuple[Rule, ...] = ()
    matched: tuple[str, ...] = ()
    needs: frozenset[str] = field(init=False, default=frozenset())
    """What the rules' expressions may name."""
    several: frozenset[str] = field(init=False, default=frozenset())
    """What the expressions may name, if more than a few may be asked about one event."""
    holds: bool = field(init=False, default=False)
    """Whether one of the rules holds events back."""
    perhaps: frozenset[str] = field(init=False, default=frozenset())
    """The sinks that may get one of the events, or get it with fields."""

    def __post_init__(self) -> None:
        every = [one for rule in self.rules for one in rule.every]
        expressions = [one for rule in every for one in rule.expressions]
        needs = frozenset(name for expression in expressions for name in expression.needs)
        object.__setattr__(self, "needs", needs)
        object.__setattr__(self, "several", needs if len(expressions) > _FEW else frozenset())
        object.__setattr__(self, "holds", any(rule.hold is not None for rule in every))
        object.__setattr__(self, "perhaps", frozenset(sink for rule in every for sink in rule.to))


def plan(rules: Iterable[Rule], names: tuple[str, str, str, str], others: Decision) -> Plan:
    """What these routes say of all records that have these names: kind, scope, room and event.

    Args:
        others: the sinks that get them without any route.
    """
    asked = tuple(_asked(rules, names))
    if any(rule.depends for one in asked for rule in one.every):
        return Plan(others, asked)
    asking = Asking(lambda *_: None)
    return Plan(asking.decide(_ANY, Plan(others, asked)), (), tuple(asking.matched))


def _asked(rules: Iterable[Rule], names: tuple[str, str, str, str]) -> Iterator[Rule]:
    """What is left of these rules, up to the one that certainly stops."""
    for rule in rules:
        if (left := rule.narrowed(*names)) is not None:
            yield left
            if left.stop and not (left.is_conditional or left.default):
                return


_NO_PLAN: Final = Plan({})
_ANY: Final = Event("", "", 0, "", "", None, "", b"\x90")
"""What stands for every event, where all depends on names only."""


class Asking:
    """Asks the routes about events, one after the other.

    Args:
        failed: told of an expression that has no value for one: the route's path, the event, and why.
        lets_through: decides whether a route that holds events back lets one through; None: that was
            decided when it was heard.
    """

    __slots__ = (
        "_event",
        "_failed",
        "_fields",
        "_found",
        "_lets_through",
        "_names",
        "_plan",
        "held",
        "matched",
    )

    def __init__(
        self, failed: Callable[[str, Event, str], None], lets_through: "LetsThrough | None" = None
    ) -> None:
        self._failed = failed
        self._lets_through = lets_through
        self.held: list[str] = []
        """The routes that hold them back, as `Rule.key` says them."""
        self.matched: list[str] = []
        """The paths of the routes that match, once for each event."""

    def decide(self, event: Event, plan: Plan) -> Decision:
        """What the plan for its name says of an event.

        Fields add up from route to route. A sink gets those set up to the first route that names it.
        """
        self._see(event, plan)
        if event.to:
            self._found |= dict.fromkeys(event.to, NO_FIELDS)
        self._ask(plan.rules)
        return self._found

    def is_true(self, rule: Rule, event: Event) -> bool:
        """Whether what a rule asks beyond names is true of an event."""
        self._see(event, _NO_PLAN)
        return self._holds(rule)

    def _see(self, event: Event, plan: Plan) -> None:
        self._event = event
        self._plan = plan
        self._found = dict(plan.decision)
        self._fields = event.fields
        self._names = Names(event, self._fields, plan.several)

    def _holds(self, rule: Rule) -> bool:
        if rule.where is None:
            return True
        try:
            return bool(rule.where.value_in(self._names))
        except EvaluationError as error:
            self._fail(rule, f"where: {error}")
            return rule.on_error

    def _ask(self, rules: Iterable[Rule]) -> tuple[bool, bool]:
        """Whether one of them took the event, and whether later ones are not to be asked."""
        taken = False
        for rule in rules:
            if rule.default and taken:
                continue
            if (rule.fields and not rule.matches_fields(self._fields)) or not self._holds(rule):
                continue
            self.matched.append(rule.path)
            if rule.set:
                self._set(rule)
            if rule.hold is not None and self._is_held(rule, rule.hold):
                if rule.stop:
                    return True, True
                taken = True
                continue
            fields = dict(self._fields) if self._fields else NO_FIELDS
            for sink in rule.to:
                self._found.setdefault(sink, fields)
            taken_within, stopped = self._ask(rule.inner) if rule.inner else (False, False)
            taken = taken or taken_within or rule.stop or bool(rule.to)
            if stopped or rule.stop:
                return taken, True
        return taken, False

    def _is_held(self, rule: Rule, hold: Hold) -> bool:
        if self._lets_through is None:
            return rule.key in self._event.held
        try:
            key = "" if hold.key is None else text_of(hold.key.value_in(self._names))
        except EvaluationError as error:  # rather once too often than not at all
            self._failed(rule.path, self._event, f"key: {error}")
            return False
        if self._lets_through(self._event, rule, key, dict(self._fields)):
            return False
        self.held.append(rule.key)
        return True

    def _set(self, rule: Rule) -> None:
        for name, expression in rule.set.items():
            try:
                self._fields[name] = expression.value_in(self._names)
            except EvaluationError as error:
                self._fail(rule, f"set.{name}: {error}")
                self._fields.pop(name, None)
            if "fields" in self._plan.needs:
                self._names = Names(self._event, self._fields, self._plan.several)

    def _fail(self, rule: Rule, reason: str) -> None:
        if self._lets_through is None:  # else it is told when sinks come to the event
            self._failed(rule.path, self._event, reason)
