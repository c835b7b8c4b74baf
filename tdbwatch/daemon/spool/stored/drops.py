"""Undelivered events that were given up: counted in the file until gap records tell of them."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from tdbwatch.daemon.spool.stored.blocks import Lane, Run
from tdbwatch.daemon.spool.stored.notes import Note, Write
from tdbwatch.daemon.spool.stored.tables import fits
from tdbwatch.plugin.event import Event, Kind

MAX_SIZE: Final = "max_size"
MAX_AGE: Final = "max_age"
DISK_REFUSED: Final = "the disk did not take them"
TOO_FAST: Final = "they came faster than the disk takes them"
TOO_LARGE: Final = "too large for the spool"
"""Why events were given up; gap records say so."""
_ADD: Final = (
    "INSERT INTO drops VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(reason, scope, room) DO UPDATE SET"
    " count = count + excluded.count, since_us = min(since_us, excluded.since_us),"
    " until_us = max(until_us, excluded.until_us)"
)
_SETTLE: Final = "UPDATE drops SET count = count - ? WHERE reason = ? AND scope = ? AND room = ?"
_EVENT: Final = str(Kind.EVENT.value)
_GAP: Final = str(Kind.GAP.value)


@dataclass(frozen=True, slots=True)
class Loss:
    """What one room lost: so many, received between these times (microseconds since the Unix epoch).

    Attributes:
        again: how many of `count` were told of before, by a gap record that was given up, too.
    """

    count: int
    since_us: int
    until_us: int
    again: int = 0

    def __add__(self, other: "Loss") -> "Loss":
        since_us, until_us = min(self.since_us, other.since_us), max(self.until_us, other.until_us)
        return Loss(self.count + other.count, since_us, until_us, self.again + other.again)


@dataclass(slots=True)
class Tally(Note):
    """Undelivered events that were given up for one reason, by room: each gap record tells of its own.

    As a note: they are counted in the file until they are `Settled`.

    Attributes:
        reason: one of those above.
        note: what else there is to say about the reason.
    """

    reason: str
    rooms: dict[Lane, Loss] = field(default_factory=dict)
    note: str = ""
    apart = True

    @property
    def about(self) -> str:
        return self.reason

    @property
    def count(self) -> int:
        return sum(loss.count for loss in self.rooms.values())

    @property
    def again(self) -> int:
        """How many of `count` were told of before."""
        return sum(loss.again for loss in self.rooms.values())

    def add(self, lane: Lane, loss: Loss) -> None:
        known = self.rooms.get(lane)
        self.rooms[lane] = loss if known is None else known + loss

    def merge(self, later: Self) -> Self:
        for lane, loss in later.rooms.items():
            self.add(lane, loss)
        return self

    def take(self, most: int) -> "Tally":
        """Split off so many rooms at most."""
        taken = list(self.rooms)[:most]
        return Tally(self.reason, {lane: self.rooms.pop(lane) for lane in taken})

    def add_events(self, events: Iterable[Event]) -> "Tally":
        """Count what was heard. Records of nodes and rooms are our own words: no events that are lost."""
        for event in events:
            if event.kind == _GAP:
                self._add_gap(event)
            elif event.kind == _EVENT:
                self.add(Lane(event.scope, event.room), Loss(1, event.received_us, event.received_us))
        return self

    def add_runs(self, lane: Lane, runs: Iterable[Run]) -> "Tally":
        """The same for runs of a lane, which need not be taken apart."""
        for run in runs:
            if run.kind == _EVENT:
                self.add(lane, Loss(len(run.events), run.received_us, run.received_us))
            else:
                self.add_events(run.unpacked(lane))
        return self

    def _add_gap(self, gap: Event) -> None:
        """A gap record that is given up leaves what it tells of to the next one."""
        details = gap.details
        told = details.get("dropped")
        since_us, until_us = (_time(details.get(key), gap.received_us) for key in ("since", "until"))
        count, again = (told, told) if isinstance(told, int) else (1, 0)
        self.add(Lane(gap.scope, gap.room), Loss(count, since_us, until_us, again))

    def writes(self) -> Iterable[Write]:
        rooms = self.rooms.items()
        rows = [(self.reason, *lane, loss.count, loss.since_us, loss.until_us) for lane, loss in rooms]
        return [Write(_ADD, rows)]


@dataclass(slots=True)
class Settled(Note):
    """The gap records of these were put before."""

    told: list[Tally]

    def merge(self, later: Self) -> Self:
        self.told += later.told
        return self

    def writes(self) -> Iterable[Write]:
        rows = [(loss.count, one.reason, *lane) for one in self.told for lane, loss in one.rooms.items()]
        return [Write(_SETTLE, rows), Write("DELETE FROM drops WHERE count <= 0", [()])]


def _time(text: Any, otherwise: int) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e6)
    except (TypeError, ValueError):
        return otherwise


def unsettled(connection: sqlite3.Connection) -> list[Tally]:
    """What was counted and not yet told of.

    Raises:
        TypeError: a row makes no sense.
    """
    tallies: dict[str, Tally] = {}
    for row in connection.execute("SELECT reason, scope, room, count, since_us, until_us FROM drops"):
        if not fits(row, (str, str, str, int, int, int)):
            raise TypeError("a count of what was dropped has fields of wrong types")
        reason, scope, room, *numbers = row
        tallies.setdefault(reason, Tally(reason)).add(Lane(scope, room), Loss(*numbers))
    return list(tallies.values())
