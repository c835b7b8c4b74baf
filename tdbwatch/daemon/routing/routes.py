"""Which sinks get an event, and with which fields. Pure: events in, names of sinks out.

Every courier asks for every event, so an answer is kept for each (kind, scope, room, event), as many as
fit in a bounded memory: a daemon hears few different names, many times each. Where it depends on more than
these, the events of a block are asked about together for all sinks, and each sink takes its answer.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from tdbwatch.daemon.config.models.routes import AbsenceConfig, RouteConfig
from tdbwatch.daemon.config.models.rules import Rule
from tdbwatch.daemon.routing.answers import Given, said_of
from tdbwatch.daemon.routing.plan import NO_FIELDS, Asking, Decision, Failure, LetsThrough, Plan, plan
from tdbwatch.daemon.spool.stored.blocks import Block, Lane
from tdbwatch.plugin import Event, Kind
from tdbwatch.wire.scopes import short

_MEMORY: Final = 4096
"""Answers that are kept; the one that was not asked for the longest goes first."""
_MOST_NAME: Final = 256
"""Letters of a name for which an answer is kept: emitters choose them."""
_NOTHING: Final[Given] = {}
_MADE: Final = frozenset({Kind.GROUP, Kind.ABSENCE})
"""Records that go to sinks of their own, whatever their names."""
_WITHOUT_ROUTES: Final = frozenset({Kind.EVENT, Kind.GAP})
"""What every sink gets when there are no routes."""


class Routes(Protocol):
    """Who knows the router in use: one that may change, or a router, which is always the same."""

    @property
    def now(self) -> "Router":
        """The router for what is heard now."""

    def at(self, seq: int, sink: str) -> "Router":
        """The router for an entry of the log, as far as it is about this sink."""


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
        self.failures: dict[str, Failure] = {}
        """By the route's path, such as `routes[1]`: how often its expressions had no value for an event."""
        self.held: Counter[str] = Counter()
        """By the route's path, how many events it has held back since the start."""
        self.matched: Counter[str] = Counter()
        """By the route's path, how many records it has matched since the start, as sinks came to them."""
        self._counted_to = 0
        self._asked_to: dict[str, int] = {}
        """By sink, up to where what the routes must be asked about for it is counted."""
        self.rules = Rule.all_of(routes)
        """All of them, in order."""
        self.awaiting = Rule.awaiting(absences)
        """What is asked for each absence."""
        self._kinds = {name: hears or _WITHOUT_ROUTES for name, hears in sinks.items()}
        self._hooked = {name: hears - {Kind.EVENT} for name, hears in sinks.items()}
        self._plans = lru_cache(maxsize=_MEMORY)(self._plan_for)
        self._said = WeakKeyDictionary[Block, dict[str, Given]]()
        """What sinks are still to ask for."""
        self._awaitings = lru_cache(maxsize=_MEMORY)(self._awaited)
        self._takings = lru_cache(maxsize=_MEMORY)(self._is_taken)
        self._taken_whole = lru_cache(maxsize=_MEMORY)(self._is_taken_whole)

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
        self.failures = {path: count for path, count in former.failures.items() if path in same}
        self.held = Counter({path: count for path, count in former.held.items() if path in same})
        self.matched = Counter({path: count for path, count in former.matched.items() if path in same})

    def forget(self) -> None:
        """Keep no answers: it is hardly asked any more."""
        for answers in (self._plans, self._takings, self._taken_whole):
            answers.cache_clear()
        self._said.clear()

    def decide(self, event: Event) -> Decision:
        """The sinks that get `event`, each with the fields that routes have set for it."""
        return Asking(self._failed).decide(event, self._plan_of(event))

    def explain(self, event: Event) -> tuple[Decision, tuple[str, ...]]:
        """As `decide`, with the paths of the routes that match, up to the one that stops."""
        plan, asking = self._plan_of(event), Asking(self._failed)
        return asking.decide(event, plan), (*plan.matched, *asking.matched)

    def count(self, block: Block) -> None:
        """Count what routes match by names alone of a block that no sink has come to before."""
        if block.last_seq <= self._counted_to or block.target is not None:
            return
        self._counted_to = block.last_seq
        names = block.distinct_names
        counts = Counter(block.names) if len(names) > 1 else dict.fromkeys(names, block.count)
        for (kind, name), count in counts.items():
            for path in self._plan(kind, *block.lane, name).matched:
                self.matched[path] += count

    def given(self, block: Block, sink: str) -> Given:
        """What a sink gets of a block, where routes must be asked about it for this sink.

        The first sink asks for all. What matches and what fails counts then, unless the block is a replay's
        copy: then only what fails does.
        """
        left = self._said.get(block, {})
        given = left.pop(sink, None)
        if given is None:
            given = self._ask_for_all(block, sink)
        elif not left:
            del self._said[block]
        self._asked_to[sink] = max(self._asked_to.get(sink, 0), block.last_seq)
        return given

    def _ask_for_all(self, block: Block, sink: str) -> Given:
        """What one sink gets of a block; what others are still to ask for is kept while the block is."""
        pairs = block.distinct_names
        plans = {pair: self._plan(pair[0], *block.lane, pair[1]) for pair in pairs}
        sinks = {one for plan in plans.values() for one in plan.perhaps}
        if not _MADE.isdisjoint(kind for kind, _ in pairs):
            sinks |= self._kinds.keys()
        ahead = {one for one in sinks if self._asked_to.get(one, 0) >= block.last_seq}
        is_copy = block.target is not None
        is_new = not (is_copy or ahead)
        asking = Asking(self._failed if is_new or is_copy else _ignore)
        said, is_small = said_of(block, plans, asking)
        if is_new:
            self.matched.update(asking.matched)
        left = sinks - ahead - {sink}
        if left and is_small and not is_copy:
            self._said[block] = {one: said.get(one, _NOTHING) for one in left}
        return said.get(sink, _NOTHING)

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
        ask = self._awaitings if len(event) <= _MOST_NAME else self._awaited
        return ask(kind, scope, room, event)

    def holds(self, rule: Rule, event: Event) -> bool:
        """Whether the condition of an absence's rule is true of an event that its names match."""
        return Asking(self._failed).is_true(rule, event)

    def hear(self, event: Event, lets_through: LetsThrough) -> tuple[str, ...]:
        """The routes that hold back an event that was heard just now, by their keys."""
        asking = Asking(self._failed, lets_through)
        asking.decide(event, self._plan_of(event))
        return tuple(asking.held)

    def _failed(self, path: str, event: Event, reason: str) -> None:
        """An expression of this route had no value for an event."""
        count = self.failures[path].count if path in self.failures else 0
        self.failures[path] = Failure(count + 1, event.id, reason)

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
        return self._plans.cache_info().currsize + len(self._said)

    def matcher(self, sink_name: str) -> "Matcher":
        """What tells whether the sink `sink_name` gets an event."""
        return Matcher(sink_name, self)

    def plan(self, kind: str, scope: str, room: str, event: str) -> Plan:
        """What routes say of records that have these in common."""
        return self._plan(kind, scope, room, event)

    def _plan_of(self, event: Event) -> Plan:
        return self._plan(event.kind, event.scope, event.room, event.event)

    def _plan(self, kind: str, scope: str, room: str, event: str) -> Plan:
        ask = self._plans if len(event) <= _MOST_NAME else self._plan_for
        return ask(kind, scope, room, event)

    def _taken(self, kind: str, scope: str, room: str, event: str) -> bool:
        ask = self._takings if len(event) <= _MOST_NAME else self._is_taken
        return ask(kind, scope, room, event)

    def _plan_for(self, kind: str, scope: str, room: str, event: str) -> Plan:
        if not self.rules:
            return Plan({name: NO_FIELDS for name, kinds in self._kinds.items() if kind in kinds})
        hooked = {name: NO_FIELDS for name, kinds in self._hooked.items() if kind in kinds}
        return plan(self.rules, (kind, short(scope), room, event), hooked)

    def _awaited(self, kind: str, scope: str, room: str, event: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.awaiting if rule.matches(kind, short(scope), room, event))

    def _is_taken(self, kind: str, scope: str, room: str, event: str) -> bool:
        rules = (*self.rules, *self.awaiting)
        return not self.rules or any(rule.takes(kind, short(scope), room, event) for rule in rules)

    def _is_taken_whole(self, scope: str, room: str) -> bool:
        rules = (*(rule for rule in self.rules if rule.to or rule.stop), *self.awaiting)
        whole = (rule for rule in rules if rule.event is None)
        return not self.rules or any(rule.admits(Kind.EVENT, short(scope), room) for rule in whole)


def _ignore(*_: object) -> None:
    """What failed was counted when the event was asked about first."""


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
        """As the router's."""
        self._router.count(block)

    def given(self, block: Block) -> Given:
        """As the router's."""
        return self._router.given(block, self._sink_name)

    def by_name(self, kind: str, scope: str, room: str, event: str) -> bool | None:
        """Whether it gets those that have these in common; None: that depends on each, or their fields do."""
        if kind in _MADE:
            return None
        plan = self._router.plan(kind, scope, room, event)
        return None if self._sink_name in plan.perhaps else self._sink_name in plan.decision

    def with_fields(self, event: Event) -> Event | None:
        """The event as the sink gets it; None: it does not."""
        fields = self._router.decide(event).get(self._sink_name)
        if fields is None:
            return None
        return event.with_fields(fields) if fields else event
