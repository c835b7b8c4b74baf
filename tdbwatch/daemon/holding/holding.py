"""Asks the routes that remember, when events are heard and when time passes.

What they decide goes into the log with the event, and what they remember of it into the same commit. So
neither a restart nor a kill lets more through, loses what was collected, or tells it twice; and sinks that
read the log later see the same.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from tdbwatch.daemon.config.models.holds import Group, Throttle
from tdbwatch.daemon.config.models.rules import Rule
from tdbwatch.daemon.holding.awaited import Awaited
from tdbwatch.daemon.holding.grouped import Grouped
from tdbwatch.daemon.holding.state import Route, State, Told, us_of
from tdbwatch.daemon.holding.states import MOST_BYTES, MOST_KEYS, Key, States
from tdbwatch.daemon.holding.throttled import Throttled
from tdbwatch.daemon.intake.causes import Cause, Silence
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, Run, part_of
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.plugin import Event, Kind

MOST_AT_ONCE: Final = 500
"""States that are told or forgotten in one turn, which takes milliseconds; the others have the next."""
INTERVAL: Final = 1.0
"""Seconds between two looks for what is to be told: so much later than it is due, at most."""
_LONGEST_KEY: Final = 200
_SET_BACK_US: Final = 1_000_000
"""A clock that goes back by less was only corrected."""
_HEARD_ALL_THE_SAME: Final = frozenset({Cause.SPOOL.value, Cause.DAMAGE.value})
"""Causes of gaps in the log, not in what was heard."""
_GAP: Final = str(Kind.GAP.value)


class Due(NamedTuple):
    """What has come of time that has passed.

    Attributes:
        heard: records, for the log.
        marks: what is to be remembered beside them.
    """

    heard: Sequence[Heard] = ()
    marks: Sequence[Mark] = ()


class Holding:
    """All that the routes of one configuration remember.

    Args:
        make: makes a record, at this time in microseconds.
        rooms: the rooms of the configuration, each with why it is not heard now; None: it is.
        most_bytes, most_keys: as `MOST_BYTES` and `MOST_KEYS`; the first may change.
    """

    def __init__(
        self,
        router: Router,
        make: Callable[[Told, int], Heard],
        rooms: Callable[[], Mapping[Lane, Silence | None]] = dict,
        most_bytes: Callable[[], int] = lambda: MOST_BYTES,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._router = router
        self._make = make
        self._rooms = rooms
        self._rules = _rules_of(router)
        self._routes: dict[str, Route] = {}
        self._states = States(most_bytes, most_keys)
        self._awaited: dict[str, Awaited] = {}
        self._changed: dict[State, Key] = {}
        self._loose: list[Mark] = []
        self._next_part = 0
        self._now_us = 0

    @property
    def absences(self) -> Sequence[Awaited]:
        """What is waited for, in the order of the configuration."""
        return tuple(self._awaited.values())

    @property
    def next_us(self) -> int | None:
        """There is nothing to do before this time; None: not as long as nothing is heard."""
        return self._states.next_us

    @property
    def open(self) -> Counter[str]:
        """By the route's path, how many groups are open."""
        return self._states.open

    # -- what was remembered before ----------------------------------------------------------------------

    def load(self, marks: Iterable[Mark], now_us: int) -> None:
        """Go on with what was remembered before; what routes that are gone have to tell is told soon.

        Without this nothing is waited for.
        """
        for key, rows in groupby(marks, key=lambda mark: (mark.route, mark.key)):
            parts = [(mark.part, mark.state) for mark in rows]
            self._next_part = max(self._next_part, parts[-1][0] + 1)
            try:
                state = self._restored(*key, parts, now_us)
            except msgspec.MsgspecError:
                state = None
            if state is None:
                self._loose.append(Mark(*key, parts[-1][0], b""))
            else:
                state.set_back(now_us)
                self._states.keep(key, state)
        self._await_all(now_us)

    def change(self, router: Router, now_us: int) -> Due:
        """From now on ask these routes; of those that stay, what they remember stays.

        `due` was called just before. What others had to tell is told from now on.
        """
        self._router, self._rules = router, _rules_of(router)
        otherwise = set()
        for key, route in self._routes.items():
            before, route.rule = route.rule, self._rules.get(key)
            if before is None or route.rule is None or before.hold != route.rule.hold:
                otherwise.add(key)
        for name in self._awaited.keys() - self._rules.keys():
            self._changed.pop(state := self._awaited[name], None)
            self._loose += self._forget((name, ""), state)
        self._states.follow(otherwise)
        self._await_all(now_us)
        return self.due(now_us)

    def marks(self) -> list[Mark]:
        """All that is remembered."""
        return [mark for key, state in self._states.by_key.items() for mark in _marks(key, state.whole())]

    def _restored(
        self, route: str, key: str, parts: Sequence[tuple[int, bytes]], now_us: int
    ) -> State | None:
        form = route.partition(":")[0]
        if form == Throttle.form:
            return Throttled(self._route(route), key, parts[-1][1])
        if form == Group.form:
            return Grouped(self._route(route), key, 0, parts)
        return (
            Awaited(self._route(route), self._rooms, now_us, parts[-1][1]) if route in self._rules else None
        )

    def _route(self, key: str) -> Route:
        found = self._routes.get(key)
        if found is None:
            found = self._routes[key] = Route(self._rules.get(key))
        return found

    def _await_all(self, now_us: int) -> None:
        """Wait for all that is to be waited for, in the order of the configuration."""
        self._awaited = {}
        for rule in self._router.awaiting:
            key = (rule.key, "")
            state = self._states.by_key.get(key)
            if state is None:
                state = self._states.keep(key, Awaited(self._route(rule.key), self._rooms, now_us))
                self._changed[state] = key
            assert isinstance(state, Awaited), "the key says so"
            self._awaited[rule.key] = state

    # -- what comes --------------------------------------------------------------------------------------

    def heard(self, heard: Sequence[Heard]) -> Sequence[Heard]:
        """The same, with what is held back, what is to be told by now, and what is to be remembered."""
        if not (heard and self._rules):
            return heard
        decided = [(lane, part) for lane, run in heard for part in self._decided(lane, run)]
        return decided + self._tell_all(max(run.received_us for _, run in heard))

    def due(self, now_us: int) -> Due:
        """Let time pass: what is to be told now is told, and what is over forgotten; of very much a part."""
        if now_us < self._now_us - _SET_BACK_US:
            self._states.set_back(now_us)
        heard = self._tell_all(now_us)
        return Due(heard, self._take_marks())

    def unheard(self, cause: str, reason: str, until_us: int, lane: Lane | None = None) -> None:
        """Until then events may have been missed: in one room, or in all."""
        for key, state in self._awaited.items():
            if lane is None or state.is_about(lane):
                state.missed(cause, reason, until_us)
                self._changed[state] = (key, "")

    def _decided(self, lane: Lane, run: Run) -> Iterator[Run]:
        """The run in parts that the same routes hold back. What changed before goes with the first."""
        if self._awaited:
            self._notice(lane, run)
        plans = {name for name in set(run.events) if self._router.plan(run.kind, *lane, name).holds}
        if not plans:
            yield self._marked(run)
            return
        events = run.unpacked(lane)
        decisions = [self._router.hear(event, self._ask) if event.event in plans else () for event in events]
        start = 0
        for held, same in groupby(decisions):
            stop = start + sum(1 for _ in same)
            yield self._marked(part_of(run, start, stop, held=held))
            start = stop

    def _notice(self, lane: Lane, run: Run) -> None:
        """See whether it is what an absence waits for, or says that this may have been missed."""
        if run.kind == _GAP:
            for event in run.unpacked(lane):
                details, until_us = event.details, event.received_us
                with suppress(TypeError, ValueError):  # a test may give another one
                    until_us = us_of(details["until"]) if "until" in details else until_us
                if (cause := str(details.get("cause"))) not in _HEARD_ALL_THE_SAME:
                    self.unheard(cause, str(details.get("reason", "")), until_us, lane)
        for name in set(run.events):
            for rule in self._router.awaited(run.kind, *lane, name):
                if rule.where is None or any(
                    event.event == name and self._router.holds(rule, event) for event in run.unpacked(lane)
                ):
                    self._came(rule, run.received_us)

    def _came(self, rule: Rule, us: int) -> None:
        state, key = self._awaited[rule.key], (rule.key, "")
        if state.came(us):
            self._changed[state] = key
        if state.due_us <= us:
            self._states.ready.append((key, state))

    def _ask(self, event: Event, rule: Rule, text: str, fields: Mapping[str, Any]) -> bool:
        """Whether a route lets an event with this key through."""
        key = (rule.key, text if len(text) <= _LONGEST_KEY else sha256(text.encode()).hexdigest())
        known = self._states.by_key.pop(key, None)
        if isinstance(known, Grouped) and known.due_us <= event.received_us:
            self._states.set_aside(key, known)
            known = None
        state = known if isinstance(known, Throttled | Grouped) else self._begun(rule, key[1])
        before = state.size
        passes = state.hear(event, fields)
        if not passes:
            self._router.counts.held[rule.path] += 1
        if state.is_over:  # it does not take so large an event
            return passes
        self._changed[state] = key
        if known is None:
            self._states.keep(key, state)
        else:
            self._states.seen(key, state, state.size - before)
        if isinstance(state, Grouped):
            self._next_part = max(self._next_part, state.last_part + 1)
            if state.due_us <= event.received_us:
                self._states.set_aside(key, state)
        self._states.bound()
        return passes

    def _begun(self, rule: Rule, key: str) -> Throttled | Grouped:
        route = self._route(rule.key)
        return Grouped(route, key, self._next_part) if isinstance(rule.hold, Group) else Throttled(route, key)

    # -- what is told ------------------------------------------------------------------------------------

    def _tell_all(self, now_us: int) -> list[Heard]:
        self._now_us, told = now_us, list[Heard]()
        self._states.time_some(MOST_AT_ONCE * 10)
        for _ in range(MOST_AT_ONCE):
            if (one := self._states.next_due(now_us)) is None:
                break
            told += self._tell(*one, now_us)
        return told

    def _tell(self, key: Key, state: State, now_us: int) -> Iterator[Heard]:
        if isinstance(state, Awaited) and state.due_us > now_us:  # it came twice in a turn
            return
        told = state.tell(now_us)
        if self._states.holds(key, state) and state.path and not state.is_over:
            self._states.time(key, state)
            marks = _marks(key, state.parts())
        else:
            marks = self._forget(key, state)
        if told is None:
            self._loose += marks
            return
        lane, run = self._make(told, now_us)
        self._changed.pop(state, None)  # goes with the record
        for part in self._decided(lane, replace(run, marks=tuple(marks))):
            yield lane, part

    def _forget(self, key: Key, state: State) -> list[Mark]:
        if self._states.holds(key, state):
            self._states.drop(key, state)
        if key in self._states.by_key and not isinstance(
            state, Grouped
        ):  # it began anew, under the same number
            return []
        return [Mark(*key, state.last_part, b"")]

    # -- what is remembered ------------------------------------------------------------------------------

    def _marked(self, run: Run) -> Run:
        if not (self._changed or self._loose):
            return run
        return replace(run, marks=(*run.marks, *self._take_marks()))

    def _take_marks(self) -> list[Mark]:
        loose, self._loose = self._loose, []
        changed, self._changed = self._changed, {}
        return loose + [mark for state, key in changed.items() for mark in _marks(key, state.parts())]


def _rules_of(router: Router) -> dict[str, Rule]:
    """What remembers, by its key."""
    return router.holding | {rule.key: rule for rule in router.awaiting}


def _marks(key: Key, parts: Mapping[int, bytes]) -> list[Mark]:
    return [Mark(*key, part, packed) for part, packed in parts.items()]
