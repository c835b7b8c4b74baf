"""Which sinks get an event, and with which fields. Pure: events in, names of sinks out.

Every courier asks for every event, so an answer is kept for each (kind, scope, room, event), as many as
fit in a bounded memory: a daemon hears few different names, many times each. Where it depends on more than
these, the events of a block are asked about together for all sinks (`answers`).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Generic, Protocol, TypeVar

from tdbwatch.daemon.config.models.routes import AbsenceConfig, RouteConfig
from tdbwatch.daemon.config.models.rules import Rule
from tdbwatch.daemon.routing.answers import MADE, BlockAnswers, Given
from tdbwatch.daemon.routing.counts import RouteCounts
from tdbwatch.daemon.routing.plan import NO_FIELDS, Asking, Decision, LetsThrough, Plan, plan
from tdbwatch.daemon.spool.stored.blocks import Block, Lane
from tdbwatch.plugin import Event, Kind
from tdbwatch.wire.scopes import short

_MEMORY: Final = 4096
"""Answers that are kept; the one that was not asked for the longest goes first."""
_MOST_NAME: Final = 256
"""Letters of a name for which an answer is kept: emitters choose them."""
_WITHOUT_ROUTES: Final = frozenset({Kind.EVENT, Kind.GAP})
"""What every sink gets when there are no routes."""


class Routes(Protocol):
    """Who knows the router in use: one that may change, or a router, which is always the same."""

    @property
    def now(self) -> "Router":
        """The router for what is heard now."""

    def at(self, seq: int, sink: str) -> "Router":
        """The router for an entry of the log, as far as it is about this sink."""


_T = TypeVar("_T")


class _ByNames(Generic[_T]):
    """Answers that depend on names alone, the last of which emitters choose.

    Args:
        answer: makes one that is not kept.
    """

    def __init__(self, answer: Callable[..., _T]) -> None:
        self._answer = answer
        self._kept = lru_cache(maxsize=_MEMORY)(answer)

    def __call__(self, *names: str) -> _T:
        return (self._kept if len(names[-1]) <= _MOST_NAME else self._answer)(*names)

    def forget(self) -> None:
        self._kept.cache_clear()

    def __len__(self) -> int:
        return self._kept.cache_info().currsize


class Router:
    """Asks the routes in their order; one with `stop` that matches is the last to be asked.

    Without routes every sink gets every event and every gap. Records of rooms and nodes go only where a
    route asks for their kind, and to plugins with a hook for it: such hooks hear all of their kind.

    Args:
        sinks: their names, each with the kinds of records that it has hooks for, if it is a plugin.
        absences: what should come, whatever routes say.
    """

    def __init__(
        self,
        routes: Iterable[RouteConfig],
        sinks: Mapping[str, frozenset[str]],
        absences: Iterable[AbsenceConfig] = (),
    ) -> None:
        self.counts = RouteCounts()
        self.rules = Rule.all_of(routes)
        """All of them, in order."""
        self.awaiting = Rule.awaiting(absences)
        """What is asked for each absence."""
        self._kinds = {name: hears or _WITHOUT_ROUTES for name, hears in sinks.items()}
        self._hooked = {name: hears - {Kind.EVENT} for name, hears in sinks.items()}
        self._plans = _ByNames(self._plan_for)
        self._awaited = _ByNames(self._awaited_for)
        self._taken = _ByNames(self._is_taken)
        self._taken_whole = _ByNames(self._is_taken_whole)
        self.answers = BlockAnswers(self.plan, self._kinds.keys(), self.counts)
        """What sinks get of blocks."""

    @classmethod
    def of_names(
        cls, routes: Iterable[RouteConfig], names: Iterable[str], absences: Iterable[AbsenceConfig] = ()
    ) -> "Router":
        """With sinks of which nothing is known but their names."""
        return cls(routes, dict.fromkeys(names, frozenset()), absences)

    def sinks_for(self, event: Event) -> frozenset[str]:
        """The names of the sinks that get `event`."""
        return frozenset(self.decide(event))

    @property
    def now(self) -> "Router":
        """It is the same at all times."""
        return self

    def at(self, seq: int, sink: str) -> "Router":  # noqa: ARG002
        """It is the same for all entries."""
        return self

    @property
    def sinks(self) -> Collection[str]:
        """Those that it knows."""
        return self._kinds.keys()

    def go_on(self, former: "Router") -> None:
        """Count on where the router before this one ended, for the routes that are the same."""
        before = {one.path: one for rule in former.rules for one in rule.every}
        same = {one.path for rule in self.rules for one in rule.every if before.get(one.path) == one}
        self.counts.go_on(former.counts, same)

    def forget(self) -> None:
        """Keep no answers: it is hardly asked any more."""
        for answers in (self._plans, self._awaited, self._taken, self._taken_whole, self.answers):
            answers.forget()

    def decide(self, event: Event) -> Decision:
        """The sinks that get `event`, each with the fields that routes have set for it."""
        return Asking(self.counts.failed).decide(event, self._plan_of(event))

    def explain(self, event: Event) -> tuple[Decision, tuple[str, ...]]:
        """As `decide`, with the paths of the routes that match, up to the one that stops."""
        plan, asking = self._plan_of(event), Asking(self.counts.failed)
        return asking.decide(event, plan), (*plan.matched, *asking.matched)

    @property
    def paths(self) -> list[str]:
        """Of all routes, in their order."""
        return [rule.path for one in self.rules for rule in one.every]

    @property
    def holding(self) -> dict[str, Rule]:
        """The routes that hold events back, by their keys."""
        return {rule.key: rule for one in self.rules for rule in one.every if rule.hold is not None}

    def awaited(self, kind: str, scope: str, room: str, event: str) -> tuple[Rule, ...]:
        """The rules of absences that are about what has these in common, conditions aside."""
        return self._awaited(kind, scope, room, event)

    def holds(self, rule: Rule, event: Event) -> bool:
        """Whether the condition of an absence's rule is true of an event that its names match."""
        return Asking(self.counts.failed).is_true(rule, event)

    def hear(self, event: Event, lets_through: LetsThrough) -> tuple[str, ...]:
        """The routes that hold back an event that was heard just now, by their keys."""
        asking = Asking(self.counts.failed, lets_through)
        asking.decide(event, self._plan_of(event))
        return tuple(asking.held)

    def asks_for(self, kind: str) -> bool:
        """Whether any route, or any hook, is about records of this kind."""
        hooked = any(kind in hears for hears in self._hooked.values())
        return hooked or any(kind in rule.kinds for one in self.rules for rule in one.every)

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
        return len(self._plans) + len(self.answers)

    def matcher(self, sink_name: str) -> "Matcher":
        """What tells whether the sink `sink_name` gets an event."""
        return Matcher(sink_name, self)

    def plan(self, kind: str, scope: str, room: str, event: str) -> Plan:
        """What routes say of records that have these in common."""
        return self._plans(kind, scope, room, event)

    def _plan_of(self, event: Event) -> Plan:
        return self._plans(event.kind, event.scope, event.room, event.event)

    def _plan_for(self, kind: str, scope: str, room: str, event: str) -> Plan:
        if not self.rules:
            return Plan({name: NO_FIELDS for name, kinds in self._kinds.items() if kind in kinds})
        hooked = {name: NO_FIELDS for name, kinds in self._hooked.items() if kind in kinds}
        return plan(self.rules, (kind, short(scope), room, event), hooked)

    def _awaited_for(self, kind: str, scope: str, room: str, event: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.awaiting if rule.matches(kind, short(scope), room, event))

    def _is_taken(self, kind: str, scope: str, room: str, event: str) -> bool:
        rules = (*self.rules, *self.awaiting)
        return not self.rules or any(rule.takes(kind, short(scope), room, event) for rule in rules)

    def _is_taken_whole(self, scope: str, room: str) -> bool:
        rules = (*(rule for rule in self.rules if rule.to or rule.stop), *self.awaiting)
        whole = (rule for rule in rules if rule.event is None)
        return not self.rules or any(rule.admits(Kind.EVENT, short(scope), room) for rule in whole)


class Matcher:
    """Tells whether a sink gets an event: the event itself, or all that have this name in this room."""

    def __init__(self, sink_name: str, routes: Routes) -> None:
        self._sink_name = sink_name
        self._routes = routes

    def as_of(self, seq: int) -> "Matcher":
        """By the routes that were in use when this entry of the log was heard."""
        return Matcher(self._sink_name, self._routes.at(seq, self._sink_name))

    @property
    def _router(self) -> Router:
        return self._routes.now

    def __call__(self, event: Event) -> bool:
        return self._sink_name in self._router.decide(event)

    def count(self, block: Block) -> None:
        """As of `BlockAnswers`."""
        self._router.answers.count(block)

    def given(self, block: Block) -> Given:
        """As of `BlockAnswers`."""
        return self._router.answers.given(block, self._sink_name)

    def by_name(self, kind: str, scope: str, room: str, event: str) -> bool | None:
        """Whether it gets those that have these in common; None: that depends on each, or their fields do."""
        if kind in MADE:
            return None
        plan = self._router.plan(kind, scope, room, event)
        return None if self._sink_name in plan.perhaps else self._sink_name in plan.decision

    def with_fields(self, event: Event) -> Event | None:
        """The event as the sink gets it; None: it does not."""
        fields = self._router.decide(event).get(self._sink_name)
        if fields is None:
            return None
        return event.with_fields(fields) if fields else event
