"""Counting what had to be given up, so that one gap record tells of many events."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tdbwatch.daemon.spool.api import DropReport
from tdbwatch.plugin.event import Event


@dataclass(slots=True)
class Tally:
    """A drop report in the making."""

    reason: str
    count: int = 0
    since_us: int = 0
    until_us: int = 0
    rooms: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, scope: str, room: str, count: int, since_us: int, until_us: int) -> None:
        self.since_us = min(self.since_us, since_us) if self.count else since_us
        self.until_us = max(self.until_us, until_us)
        self.count += count
        self.rooms[scope, room] = self.rooms.get((scope, room), 0) + count

    def add_events(self, events: Iterable[Event]) -> "Tally":
        for event in events:
            self.add(event.scope, event.room, 1, event.received_us, event.received_us)
        return self

    def merge(self, other: "Tally") -> None:
        for (scope, room), count in other.rooms.items():
            self.add(scope, room, count, other.since_us, other.until_us)

    def report(self) -> DropReport:
        return DropReport(self.reason, self.count, self.since_us, self.until_us, dict(self.rooms))
