"""What routes say of events that have one name, and of each of them. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tdbwatch.daemon.config.rules import Rule
from tdbwatch.daemon.expressions import EvaluationError, Expression, Fields, Names, names_of
from tdbwatch.plugin import Event

Decision = Mapping[str, Fields]
"""The sinks that get an event, each with the fields that routes have set for it."""
NO_FIELDS: Final[Fields] = {}


@dataclass(frozen=True, slots=True)
class Failure:
    """That a route's expressions had no value for events.

    Attributes:
        count: for how many.
        event_id: the last of them.
        reason: why, of that one.
    """

    count: int
    event_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the routes say of all records that have one name.

    Attributes:
        decision: who gets them, whatever else they hold.
        rules: the routes that must be asked about each of them, by number; none: that is all.
        matched: else the numbers of the routes that match.
    """

    decision: Decision
    rules: tuple[tuple[int, Rule], ...] = ()
    matched: tuple[int, ...] = ()
    needs: frozenset[str] = field(init=False, default=frozenset())
    """What the rules' expressions may name."""
    perhaps: frozenset[str] = field(init=False, default=frozenset())
    """The sinks that may get one of the events, or get it with fields."""

    def __post_init__(self) -> None:
        expressions = [one for _, rule in self.rules for one in (rule.where, *rule.set.values()) if one]
        needs = frozenset(name for expression in expressions for name in expression.needs)
        object.__setattr__(self, "needs", needs)
        sinks = frozenset(sink for _, rule in self.rules for sink in rule.to)
        object.__setattr__(self, "perhaps", sinks)


class Asking:
    """Asks the routes about one event.

    Args:
        failed: told of an expression that has no value for it: the route's number, the event, and why.
    """

    def __init__(self, event: Event, failed: Callable[[int, Event, str], None]) -> None:
        self.matched: list[int] = []
        """The numbers of the routes that match."""
        self._event = event
        self._failed = failed
        self._fields: dict[str, Any] = {}
        self._needs: frozenset[str] = frozenset()
        self._names: Names = None

    def decide(self, plan: Plan) -> Decision:
        """What a plan says of the event.

        Fields add up from route to route. A sink gets those set up to the first route that names it.
        """
        self.matched, self._needs = list(plan.matched), plan.needs
        found = dict(plan.decision)
        for number, rule in plan.rules:
            if not (rule.matches_fields(self._fields) and self._holds(number, rule)):
                continue
            self.matched.append(number)
            self._set(number, rule)
            for sink in rule.to:
                found.setdefault(sink, dict(self._fields))
            if rule.stop:
                break
        return found

    def _holds(self, number: int, rule: Rule) -> bool:
        if rule.where is None:
            return True
        try:
            return bool(self._value(rule.where))
        except EvaluationError as error:
            self._failed(number, self._event, f"where: {error}")
            return rule.on_error

    def _set(self, number: int, rule: Rule) -> None:
        for name, expression in rule.set.items():
            try:
                self._fields[name] = self._value(expression)
            except EvaluationError as error:
                self._failed(number, self._event, f"set.{name}: {error}")
                self._fields.pop(name, None)
            if "fields" in self._needs:
                self._names = None

    def _value(self, expression: Expression) -> Any:
        if self._names is None:
            self._names = names_of(self._event, self._fields, self._needs)
        return expression.value_in(self._names)
