"""What routes would do with the events that a log holds: counts by sink and by route. Pure."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from msgspec.structs import replace

from tdbwatch.daemon.holding import Trial
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Block, Lane, Run, run_of
from tdbwatch.plugin import Event, Kind
from tdbwatch.wire.codec import encode

_MADE: Final = frozenset(map(str, (Kind.SUPPRESSED, Kind.GROUP, Kind.ABSENCE)))
"""Kinds of records that routes make of what they remember."""


@dataclass(slots=True)
class Outcome:
    """What came of the events.

    Attributes:
        events: how many were asked about; records of tdbwatch itself among them.
        made: how many records the routes would make of them: groups, absences, what was held back.
        sinks: how many each sink would get.
        routes: how many each route matches, by its path.
        nowhere: how many no sink would get.
        more: by sink, how many it would get that the other routes do not send there.
        fewer: by sink, how many it would not get that the other routes send there.
        example: by sink, the id of one of these.
    """

    events: int = 0
    made: int = 0
    sinks: Counter[str] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)
    nowhere: int = 0
    more: Counter[str] = field(default_factory=Counter)
    fewer: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)


class _Tried:
    """One configuration's routes, and what came of a run by them: the same events, and what they tell."""

    def __init__(self, router: Router, begin_us: int) -> None:
        self.router = router
        self._trial = Trial(router, (), begin_us)

    def hear(self, lane: Lane, run: Run, events: Sequence[Event]) -> tuple[Sequence[Event], list[Event]]:
        heard = self._trial.hear([(lane, run)])
        if len(heard) == 1 and heard[0][1] is run:
            return events, []
        own = [event for where, part in heard if part.kind not in _MADE for event in part.unpacked(where)]
        return own, [event for where, part in heard if part.kind in _MADE for event in part.unpacked(where)]


def dry_run(
    blocks: Iterable[Block],
    wanted: Callable[[Event], bool] | None,
    router: Router,
    other: Router | None,
    progress: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Ask the routes about all events of these blocks that were heard.

    What routes made of them in the log is left out: these routes make their own.

    Args:
        wanted: which events; None: all.
        other: routes to compare with.
        progress: told now and then how many events were asked about.
    """
    outcome, tried = Outcome(), list[_Tried]()
    routers = [router] if other is None else [router, other]
    for block in blocks:
        if block.target is not None:
            continue
        for run in _runs(block, wanted):
            tried = tried or [_Tried(one, run.received_us) for one in routers]
            _count_run(outcome, block.lane, run, tried)
        progress(outcome.events)
    return outcome


def _runs(block: Block, wanted: Callable[[Event], bool] | None) -> Iterator[Run]:
    """What was heard of it, as it was before routes held any of it back."""
    for run in block.runs:
        if run.kind in _MADE:
            continue
        fresh = replace(run, held=()) if run.held else run
        if wanted is None:
            yield fresh
        else:
            yield from (run_of(event) for event in fresh.unpacked(block.lane) if wanted(event))


def _count_run(outcome: Outcome, lane: Lane, run: Run, tried: Sequence[_Tried]) -> None:
    events = run.unpacked(lane)
    heard = [one.hear(lane, run, events) for one in tried]
    routers = [one.router for one in tried]
    by_name = {
        name
        for name in set(run.events)
        if not any(router.plan(run.kind, *lane, name).rules for router in routers)
    }
    times = Counter(name for name in run.events if name in by_name)
    for same in zip(*(own for own, _ in heard), strict=True):
        name = same[0].event
        if count := 1 if name not in by_name else times.pop(name, 0):
            outcome.events += count
            _count(outcome, list(zip(routers, same, strict=True)), count)
    for alike in _side_by_side([told for _, told in heard]):
        outcome.made += alike[0] is not None
        _count(outcome, list(zip(routers, alike, strict=True)), 1)


def _side_by_side(told: Sequence[Sequence[Event]]) -> Iterator[tuple[Event | None, ...]]:
    """What each configuration tells, next to the same of the others: each has ids of its own."""
    by_content: dict[Hashable, list[list[Event]]] = {}
    for index, events in enumerate(told):
        for event in events:
            alike = by_content.setdefault(_content(event), [[] for _ in told])
            alike[index].append(event)
    for alike in by_content.values():
        yield from zip_longest(*alike)


def _content(event: Event) -> Hashable:
    """What it says; not of which route, since one that only moved tells the same."""
    details = {name: value for name, value in event.details.items() if name != "route"}
    return event.kind, event.scope, event.room, event.event, encode(details), event.packed_fields


def _count(outcome: Outcome, asked: Sequence[tuple[Router, Event | None]], times: int) -> None:
    """Count an event, by what each configuration has of it: the first, and the one to compare with."""
    (router, event), *others = asked
    sinks = frozenset[str]()
    if event is not None:
        decision, matched = router.explain(event)
        sinks = frozenset(decision)
        outcome.nowhere += 0 if sinks or event.held else times
        for sink in sinks:
            outcome.sinks[sink] += times
        for path in matched:
            outcome.routes[path] += times
    for other, same in others:
        before = frozenset[str]() if same is None else other.sinks_for(same)
        example = event or same
        assert example is not None, "one of them has it"
        for changed, counter in ((sinks - before, outcome.more), (before - sinks, outcome.fewer)):
            for sink in changed:
                counter[sink] += times
                outcome.example.setdefault(sink, example.id)
