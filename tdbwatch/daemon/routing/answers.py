"""What routes say of the events of a block: what each sink gets of it. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from tdbwatch.daemon.delivery.bounds import is_too_large
from tdbwatch.daemon.routing.plan import NO_FIELDS, Asking, Plan
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.plugin import Event

Given = Mapping[int, Event]
"""What a sink gets of a block: by its number, each event with its fields."""
_MOST_TEXT: Final = 256
"""Letters of a field that is small: emitters choose them."""


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
