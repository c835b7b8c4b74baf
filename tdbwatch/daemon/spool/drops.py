"""Counting what had to be given up, so that one gap record tells of many events.

The counts are in the file as well until their gap record is, so that a crash in between hides nothing.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tdbwatch.daemon.spool.api import DropReport
from tdbwatch.plugin.event import Event, Kind

_ADD: Final = (
    "INSERT INTO drops VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(reason, scope, room) DO UPDATE SET"
    " count = count + excluded.count, since_us = min(since_us, excluded.since_us),"
    " until_us = max(until_us, excluded.until_us)"
)
_EVENT: Final = str(Kind.EVENT.value)
_GAP: Final = str(Kind.GAP.value)
NOT_TAKEN: Final = "the disk did not take them"
"""Why events were dropped that never were in the file; gap records say so."""


@dataclass(slots=True)
class Tally:
    """A drop report in the making.

    Attributes:
        again: how many of `count` were in a report before, whose gap record was given up, too.
    """

    reason: str
    count: int = 0
    again: int = 0
    since_us: int = 0
    until_us: int = 0
    rooms: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, scope: str, room: str, count: int, since_us: int, until_us: int) -> None:
        self.since_us = min(self.since_us, since_us) if self.count else since_us
        self.until_us = max(self.until_us, until_us)
        self.count += count
        self.rooms[scope, room] = self.rooms.get((scope, room), 0) + count

    def add_events(self, events: Iterable[Event]) -> "Tally":
        """Count what was heard. Records of nodes and rooms are our own words: no events that are lost."""
        for event in events:
            if event.kind == _GAP:
                self.add_gap(event)
            elif event.kind == _EVENT:
                self.add(event.scope, event.room, 1, event.received_us, event.received_us)
        return self

    def add_gap(self, gap: Event) -> None:
        """A gap record that is given up leaves what it tells of to the next one."""
        details = gap.details
        told = details.get("dropped")
        since_us = gap.received_us
        with suppress(TypeError, ValueError):
            since_us = int(datetime.fromisoformat(details["since"]).timestamp() * 1e6)
        if isinstance(told, int):
            self.again += told
        self.add(gap.scope, gap.room, told if isinstance(told, int) else 1, since_us, gap.received_us)

    def merge(self, other: "Tally") -> None:
        self.again += other.again
        for (scope, room), count in other.rooms.items():
            self.add(scope, room, count, other.since_us, other.until_us)

    def report(self) -> DropReport:
        return DropReport(self.reason, self.count, self.since_us, self.until_us, dict(self.rooms), self.again)


def save(connection: sqlite3.Connection, tallies: Iterable[Tally]) -> None:
    """Keep these counts until they are settled. Within a transaction."""
    for tally in tallies:
        rows = [
            (tally.reason, scope, room, count, tally.since_us, tally.until_us)
            for (scope, room), count in tally.rooms.items()
        ]
        connection.executemany(_ADD, rows)


def settle(connection: sqlite3.Connection, reports: Iterable[DropReport]) -> None:
    """The gap records of these reports are in the log. Within a transaction."""
    for report in reports:
        rows = [(count, report.reason, scope, room) for (scope, room), count in report.rooms.items()]
        connection.executemany(
            "UPDATE drops SET count = count - ? WHERE reason = ? AND scope = ? AND room = ?", rows
        )
    connection.execute("DELETE FROM drops WHERE count <= 0")


def unsettled(connection: sqlite3.Connection) -> list[Tally]:
    """What was counted and not yet told of.

    Raises:
        TypeError: a row makes no sense.
    """
    tallies: dict[str, Tally] = {}
    for reason, *row in connection.execute(
        "SELECT reason, scope, room, count, since_us, until_us FROM drops"
    ):
        if [type(value) for value in (reason, *row)] != [str, str, str, int, int, int]:
            raise TypeError("a count of what was dropped has fields of wrong types")
        tallies.setdefault(reason, Tally(reason)).add(*row)
    return list(tallies.values())
