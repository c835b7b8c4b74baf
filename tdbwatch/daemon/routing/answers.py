"""What routes say of the events of a block: what each sink gets of it. Pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from tdbwatch.daemon.delivery.bounds import is_too_large
from tdbwatch.daemon.routing.counts import RouteCounts
from tdbwatch.daemon.routing.plan import NO_FIELDS, Asking, Plan
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.plugin import Event, Kind

Given = Mapping[int, Event]
"""What a sink gets of a block: by its number, each event with its fields."""
_MOST_TEXT: Final = 256
"""Letters of a field that is small: emitters choose them."""
_NOTHING: Final[Given] = {}
MADE: Final = frozenset({Kind.GROUP, Kind.ABSENCE})
"""Records that go to sinks of their own, whatever their names."""


class BlockAnswers:
    """What sinks get of blocks. The first that comes to one asks for all, and each takes its answer.

    Args:
        plan: what routes say of records by kind, scope, room and event.
        sinks: the names of all.
        counts: told of what matches and what fails: once, however many sinks come to it.
    """

    def __init__(
        self, plan: Callable[[str, str, str, str], Plan], sinks: Collection[str], counts: RouteCounts
    ) -> None:
        self._plan = plan
        self._sinks = sinks
        self._counts = counts
        self._counted_to = 0
        self._asked_to: dict[str, int] = {}
        """By sink, up to where what the routes must be asked about for it is counted."""
        self._left = WeakKeyDictionary[Block, dict[str, Given]]()
        """What sinks are still to take, as long as the block is in memory."""

    def count(self, block: Block) -> None:
        """Count what routes match by names alone of a block that no sink has come to before."""
        if block.last_seq <= self._counted_to or block.target is not None:
            return
        self._counted_to = block.last_seq
        names = block.distinct_names
        counts = Counter(block.names) if len(names) > 1 else dict.fromkeys(names, block.count)
        for (kind, name), count in counts.items():
            for path in self._plan(kind, *block.lane, name).matched:
                self._counts.matched[path] += count

    def given(self, block: Block, sink: str) -> Given:
        """What a sink gets of a block, where routes must be asked about it for this sink.

        What matches and what fails counts for the first sink, unless the block is a replay's copy: then only
        what fails does.
        """
        left = self._left.get(block, {})
        given = left.pop(sink, None)
        if given is None:
            given = self._ask_for_all(block, sink)
        elif not left:
            del self._left[block]
        self._asked_to[sink] = max(self._asked_to.get(sink, 0), block.last_seq)
        return given

    def _ask_for_all(self, block: Block, sink: str) -> Given:
        pairs = block.distinct_names
        plans = {pair: self._plan(pair[0], *block.lane, pair[1]) for pair in pairs}
        sinks = {one for plan in plans.values() for one in plan.perhaps}
        if not MADE.isdisjoint(kind for kind, _ in pairs):
            sinks |= set(self._sinks)
        ahead = {one for one in sinks if self._asked_to.get(one, 0) >= block.last_seq}
        is_copy = block.target is not None
        is_new = not (is_copy or ahead)
        asking = Asking(self._counts.failed if is_new or is_copy else _ignore)
        said, is_small = said_of(block, plans, asking)
        if is_new:
            self._counts.matched.update(asking.matched)
        left = sinks - ahead - {sink}
        if left and is_small and not is_copy:
            self._left[block] = {one: said.get(one, _NOTHING) for one in left}
        return said.get(sink, _NOTHING)

    def forget(self) -> None:
        """Keep nothing for sinks that are still to come."""
        self._left.clear()

    def __len__(self) -> int:
        """Of how many blocks there are answers to take."""
        return len(self._left)


def _ignore(*_: object) -> None:
    """What failed was counted when the event was asked about first."""


def said_of(
    block: Block, plans: Mapping[tuple[str, str], Plan], asking: Asking
) -> tuple[Mapping[str, Given], bool]:
    """What each sink gets of a block; and whether all fields are small: what becomes large is not to be kept.

    Args:
        plans: by the kind and the name of events.
        asking: asks the routes; it has then what matched.
    """
    said, is_small = defaultdict[str, dict[int, Event]](dict), True
    for seq, event in block.numbered():
        plan = plans[event.kind, event.event]
        if is_too_large(event):  # to ask, it would have to be decoded
            for sink in {*plan.decision, *plan.perhaps, *event.to}:
                said[sink][seq] = event
            continue
        found = asking.decide(event, plan) if plan.rules or event.to else plan.decision
        shown, shown_for = event, NO_FIELDS
        for sink, fields in found.items():
            if fields is not shown_for:
                shown, shown_for = event.with_fields(fields) if fields else event, fields
                is_small = is_small and all(map(_is_small_field, fields.values()))
            said[sink][seq] = shown
    return said, is_small


def _is_small_field(value: Any) -> bool:
    return len(value) <= _MOST_TEXT if isinstance(value, str) else not isinstance(value, list | dict)
