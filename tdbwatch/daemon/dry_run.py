"""What routes would do with the events that a log holds: counts by sink and by route. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tdbwatch.daemon.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.plugin import Event


@dataclass(slots=True)
class Outcome:
    """What came of the events.

    Attributes:
        events: how many were asked about; records of tdbwatch itself among them.
        sinks: how many each sink would get.
        routes: how many each route matches, by its path.
        nowhere: how many no sink would get.
        more: by sink, how many it would get that the other routes do not send there.
        fewer: by sink, how many it would not get that the other routes send there.
        example: by sink, the id of one of these.
    """

    events: int = 0
    sinks: Counter[str] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)
    nowhere: int = 0
    more: Counter[str] = field(default_factory=Counter)
    fewer: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)


def dry_run(
    blocks: Iterable[Block],
    wanted: Callable[[Event], bool] | None,
    router: Router,
    other: Router | None,
    progress: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Ask the routes about all events of these blocks that were heard.

    Args:
        wanted: which events; None: all.
        other: routes to compare with.
        progress: told now and then how many events were asked about.
    """
    outcome = Outcome()
    for block in blocks:
        if block.target is None:
            for event, times in _heard(block, wanted, router, other):
                _count(outcome, event, times, router, other)
            progress(outcome.events)
    return outcome


def _heard(
    block: Block, wanted: Callable[[Event], bool] | None, router: Router, other: Router | None
) -> Iterator[tuple[Event, int]]:
    """Each event; of those that routes know by name, one and how often its name comes."""
    routers = [one for one in (router, other) if one is not None]
    for run in block.runs:
        events = run.unpacked(block.lane)
        by_name = {
            name
            for name in set(run.events)
            if wanted is None and not any(one.plan(run.kind, *block.lane, name).rules for one in routers)
        }
        times = Counter(name for name in run.events if name in by_name)
        for event in events:
            if event.event not in by_name:
                if wanted is None or wanted(event):
                    yield event, 1
            elif count := times.pop(event.event, 0):
                yield event, count


def _count(outcome: Outcome, event: Event, times: int, router: Router, other: Router | None) -> None:
    decision, matched = router.explain(event)
    sinks = frozenset(decision)
    outcome.events += times
    outcome.nowhere += 0 if sinks else times
    for sink in sinks:
        outcome.sinks[sink] += times
    for path in matched:
        outcome.routes[path] += times
    if other is None:
        return
    before = other.sinks_for(event)
    for changed, counter in ((sinks - before, outcome.more), (before - sinks, outcome.fewer)):
        for sink in changed:
            counter[sink] += times
            outcome.example.setdefault(sink, event.id)
