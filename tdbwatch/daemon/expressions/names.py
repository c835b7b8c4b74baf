"""What an expression may name, and what that is for an event."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tdbwatch.plugin import Event

Fields = Mapping[str, Any]
"""What routes set for an event, by name."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
VALUES: Final[Mapping[str, Callable[[Event, Fields], Any]]] = {
    "event": lambda event, _: event.event,
    "room": lambda event, _: event.room,
    "scope": lambda event, _: event.scope,
    "kind": lambda event, _: str(event.kind),
    "id": lambda event, _: event.id,
    "time": lambda event, _: EPOCH + timedelta(microseconds=event.received_us),
    "args": lambda event, _: event.args,
    "data": lambda event, _: event.data or {},
    "details": lambda event, _: event.details,
    "fields": lambda _, fields: dict(fields),
}
COMPOUND: Final = frozenset({"args", "data", "details", "fields"})
NAMES: Final = tuple(VALUES)
"""What an expression may name."""
NEVER_TWICE: Final = frozenset({"id", "time"})
"""Names of what is another for each event."""


def named_in(source: str) -> frozenset[str]:
    """The names that an expression may ask for."""
    return frozenset(name for name in NAMES if re.search(rf"\b{name}\b", source))
