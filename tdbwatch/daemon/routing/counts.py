"""What became of records at the routes, in numbers. Pure."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from tdbwatch.plugin import Event


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


NO_FAILURE: Final = Failure(0, "", "")


class RouteCounts:
    """Counts since the start, by the route's path, such as `routes[1]`.

    Attributes:
        failures: for how many events the route's expressions had no value.
        held: how many events it has held back.
        matched: how many records it has matched, as sinks came to them.
    """

    def __init__(self) -> None:
        self.failures: dict[str, Failure] = {}
        self.held: Counter[str] = Counter()
        self.matched: Counter[str] = Counter()

    def failed(self, path: str, event: Event, reason: str) -> None:
        """An expression of this route had no value for an event."""
        before = self.failures.get(path, NO_FAILURE)
        self.failures[path] = Failure(before.count + 1, event.id, reason)

    def go_on(self, former: "RouteCounts", paths: Collection[str]) -> None:
        """Count on where those before ended, for these routes."""
        self.failures = {path: one for path, one in former.failures.items() if path in paths}
        self.held = Counter({path: count for path, count in former.held.items() if path in paths})
        self.matched = Counter({path: count for path, count in former.matched.items() if path in paths})
