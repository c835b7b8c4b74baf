"""What every sink has, though some cursor is still before it, goes before anything that a sink waits for.

A room keeps its order, so what a sink has not finished of it begins with one entry. All before that is
finished, however long another room keeps the cursor from moving.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Final

from tdbwatch.daemon.spool.pending import Pending
from tdbwatch.daemon.spool.pruning import oldest
from tdbwatch.daemon.spool.requests import missing
from tdbwatch.daemon.spool.rows import Key, Streams

ALL_AGAIN: Final = 10.0
"""Seconds between rounds through all of the log."""

_MAKE: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS unfinished(stream INTEGER PRIMARY KEY, first INTEGER NOT NULL)"
)
_DELETE: Final = (
    "DELETE FROM events WHERE seq > ? AND seq <= ?"
    " AND seq < (SELECT first FROM unfinished WHERE unfinished.stream = events.stream)"
)
_FORGET: Final = "DELETE FROM finished WHERE seq > ? AND seq <= ? AND seq NOT IN (SELECT seq FROM events)"
_LARGEST: Final = (1 << 63) - 1


Sinks = Mapping[str, Pending]


def firsts(streams: Mapping[int, Key], sinks: Sinks) -> list[tuple[int, int]]:
    """By stream, the first entry that a sink may still want of it."""
    return [(number, _first(key, sinks)) for number, key in streams.items()]


def _first(key: Key, sinks: Sinks) -> int:
    _, scope, room, _, _, target = key
    wanting = sinks.values() if target is None else [sinks[target]] if target in sinks else []
    return min(
        (min(one.position + 1, one.rooms.get((scope, room), _LARGEST)) for one in wanting), default=_LARGEST
    )


class Sweeper:
    """Goes through the log in rounds: through what came since the last one, now and then through all."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(_MAKE)
        self._swept = self._position = 0
        self._end: int | None = None
        self._all_again_at = 0.0

    def begin_anew(self) -> None:
        """What was done last was undone: nothing is known of what is left."""
        self._end, self._all_again_at = None, 0.0

    def step(
        self, start: int, through: int, aim: int, streams: Streams, pending: Callable[[], Sinks]
    ) -> int | None:
        """Delete what every sink has, of some entries. Within a transaction.

        Args:
            start: entries up to this one are left to others.
            through: those beyond this one stay.
            aim: bytes; no more is looked at.

        Returns:
            how many went; None: the round is over, and the next call begins another.
        """
        if self._end is None:
            self._end = self._begin(start, streams, pending())
        end = min(oldest(self._connection, self._position + 1, aim), self._end, through)
        if self._position >= end:
            self._swept, self._end = max(self._swept, self._position), None
            return None
        with missing(self._connection, self._position, end):
            deleted = self._connection.execute(_DELETE, (self._position, end)).rowcount
        if deleted:
            self._connection.execute(_FORGET, (self._position, end))
        self._position = end
        return deleted

    def _begin(self, start: int, streams: Streams, sinks: Sinks) -> int:
        """Where a new round ends."""
        now = time.monotonic()
        if now >= self._all_again_at:  # a room may have gone on that was sick
            self._all_again_at, self._swept = now + ALL_AGAIN, 0
        self._position = max(start, self._swept)
        if max((one.position for one in sinks.values()), default=_LARGEST) <= self._position:
            return self._position
        found = firsts(streams.known(), sinks)
        self._connection.execute("DELETE FROM unfinished")
        self._connection.executemany("INSERT INTO unfinished VALUES (?, ?)", found)
        return max((first for _, first in found), default=0) - 1
