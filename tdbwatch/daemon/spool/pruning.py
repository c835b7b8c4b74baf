"""What a spool that is too large or too old gives up first. Reads only; `Store.prune` deletes."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tdbwatch.daemon.spool import copies
from tdbwatch.daemon.spool.api import WhenFull
from tdbwatch.daemon.spool.drops import Tally
from tdbwatch.plugin.event import Event

STEP: Final = 2_000
"""Entries deleted at once: few enough that no commit of new events waits long for it."""
_ROW_BYTES: Final = 80
"""What a row takes beside its payload and its name, roughly."""
_GAP_BYTES: Final = 400
"""What a gap record takes, roughly."""
_TIGHT: Final = 16
"""With less than one part in so many of `max_size` left there is no room: what a step frees is less."""
_MOST_HEADROOM: Final = 64 << 20
_SIZE: Final = (
    "SELECT max(seq), sum(size) FROM"
    " (SELECT seq, length(payload) + length(event) AS size FROM events"
    " WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT ?)"
)
_SINCE: Final = f"""
SELECT seq, CASE WHEN target IS NULL THEN received_us ELSE max(received_us, ifnull({copies.MADE_US}, 0)) END
FROM events LEFT JOIN streams ON streams.id = stream WHERE seq >= ? ORDER BY seq LIMIT ?
"""  # noqa: S608 - our own words
"""From when on an entry grows old."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the spool keeps.

    Attributes:
        max_size: bytes of the file.
        max_age: seconds since an event was received, or the copy of one made.
        when_full: what is given up when even the undelivered is too much.
        max_dead_letters: the oldest beyond this many are given up.
    """

    max_size: int = 1 << 30
    max_age: float = 7 * 86_400.0
    when_full: WhenFull = "drop_oldest"
    max_dead_letters: int = 100_000

    @property
    def headroom(self) -> int:
        """Bytes that what people ask for leaves to what comes in."""
        return min(self.max_size // 16, _MOST_HEADROOM)


def size_of(events: Sequence[Event]) -> int:
    """What these take in the file, roughly."""
    return sum([len(event.payload) + len(event.event) for event in events]) + _ROW_BYTES * len(events)


def holds(connection: sqlite3.Connection, first_seq: int, through: int, count: int, size: int) -> bool:
    """Whether the entries up to `through`, at least so many, take `size` bytes."""
    size -= max(0, count) * _ROW_BYTES
    while size > 0:
        last, found = connection.execute(_SIZE, (first_seq, through, STEP)).fetchone()
        if last is None:
            return False
        first_seq, size = last + 1, size - found
    return True


def room_for(limits: Limits, used: int, delivered: float) -> int:
    """How many gap records, and then as many again, push out nothing undelivered.

    Args:
        used: bytes of the file that hold something.
        delivered: the share of it that may go, since every sink has it.
    """
    left = limits.max_size - used + int(used * delivered)
    return left // 2 // _GAP_BYTES if left > limits.max_size // _TIGHT else 0


def oldest(connection: sqlite3.Connection, first_seq: int, size: int) -> int:
    """The last of the oldest entries that take about `size` bytes, within one step; 0: there are none."""
    rows = connection.execute(
        "SELECT seq, length(payload) + length(event) FROM events WHERE seq >= ? ORDER BY seq LIMIT ?",
        (first_seq, STEP),
    )
    through = 0
    for seq, length in rows:
        through, size = seq, size - length - _ROW_BYTES
        if size <= 0:
            break
    return through


def older_than(connection: sqlite3.Connection, first_seq: int, limit_us: int) -> int:
    """The last of the oldest entries that are all of before `limit_us`, within one step; 0: none."""
    through = 0
    for seq, since_us in connection.execute(_SINCE, (first_seq, STEP)):
        if since_us >= limit_us:
            break
        through = seq
    return through


def undelivered(connection: sqlite3.Connection, reason: str, floor: int, through: int) -> Tally:
    """Counts the events beyond `floor` up to `through`."""
    tally = Tally(reason)
    rows = connection.execute(
        "SELECT scope, room, count(*), min(received_us), max(received_us) FROM events"
        " JOIN streams ON streams.id = stream WHERE seq > ? AND seq <= ? AND kind = 'event'"
        " GROUP BY scope, room",
        (floor, through),
    )
    for row in rows.fetchall():
        tally.add(*row)
    gaps = connection.execute(
        "SELECT events.id, kind, received_us, scope, room, room_id, event, payload FROM events"
        " JOIN streams ON streams.id = stream WHERE seq > ? AND seq <= ? AND kind = 'gap'",
        (floor, through),
    )
    return tally.add_events(Event(*row) for row in gaps.fetchall())
