"""What an expression may name, and what that is for an event."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from tdbwatch.plugin import Event

Fields = Mapping[str, Any]
"""What routes set for an event, by name."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
OF_EVENT: Final[Mapping[str, Callable[[Event], Any]]] = {
    "event": attrgetter("event"),
    "room": attrgetter("room"),
    "scope": attrgetter("scope"),
    "kind": lambda event: str(event.kind),
    "id": attrgetter("id"),
    "time": lambda event: EPOCH + timedelta(microseconds=event.received_us),
    "args": attrgetter("args"),
    "data": lambda event: event.data or {},
    "details": attrgetter("details"),
}
"""What an event says itself."""
COMPOUND: Final = frozenset({"args", "data", "details", "fields"})
NAMES: Final = (*OF_EVENT, "fields")
"""What an expression may name."""
NEVER_TWICE: Final = frozenset({"id", "time"})
"""Names of what is another for each event."""


def named_in(source: str) -> frozenset[str]:
    """The names that an expression may ask for."""
    return frozenset(name for name in NAMES if re.search(rf"\b{name}\b", source))
