"""How many dead letters are kept: those of one sick sink must not take the place of everyone's events.

Reads only; `Store.trim_dead_letters` deletes.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tdbwatch.daemon.spool.api import DeadLetter
from tdbwatch.daemon.spool.pruning import Limits
from tdbwatch.daemon.spool.rows import texts_kept

_SHARE: Final = 2
"""Dead letters may take one part in so many of `max_size`."""
_SLACK: Final = 16
"""One part in so many goes beyond what must: rather a few at once than some with each that comes."""
_STEP: Final = 1_000
"""Deleted at once: few enough that no commit of new events waits long for it."""
_PAGE: Final = 4096
_ROW_BYTES: Final = 110
"""What a dead letter takes beside what varies, roughly."""
_OCTETS: Final = "octet_length({})" if sqlite3.sqlite_version_info >= (3, 43) else "length(CAST({} AS BLOB))"
"""Bytes of a text; only newer versions of SQLite have them without reading it."""
_VARIES: Final = " + ".join(map(_OCTETS.format, ("event", "reason", "first_error", "last_error")))
_LENGTH: Final = f"ifnull(length(payload) + {_VARIES}, 0)"
_ALL: Final = f"SELECT {_LENGTH} FROM dead_letters"  # noqa: S608 - our own words
_OLDEST: Final = f"SELECT number, {_LENGTH} FROM dead_letters ORDER BY number LIMIT {_STEP}"  # noqa: S608


def weigh(letters: Iterable[DeadLetter]) -> int:
    """Bytes that these will take in the file."""
    return sum(_row_bytes(_length(letter)) for letter in letters)


def _length(letter: DeadLetter) -> int:
    event = letter.entry.event
    return len(event.payload) + sum(len(text.encode()) for text in (event.event, *texts_kept(letter)))


def _row_bytes(length: int) -> int:
    """About as SQLite lays a row out: pages of its own, and the rest in one that others fit into, or not."""
    pages, rest = divmod(length + _ROW_BYTES, _PAGE)
    return pages * _PAGE + _PAGE // (_PAGE // max(rest, _ROW_BYTES))


@dataclass(frozen=True, slots=True)
class Doomed:
    """The oldest up to this `number`, which must go."""

    number: int
    count: int
    size: int


class LetterBound:
    """Counts and bytes of the dead letters, and what of them must go."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._trimming = False
        self._recount()

    def added(self, count: int, size: int) -> None:
        """So many were written, which `weigh` so much."""
        self._count += count
        self._bytes += size

    def gone(self, doomed: Doomed, limits: Limits) -> None:
        """These were deleted."""
        self._count -= doomed.count
        self._bytes -= doomed.size
        self._trimming = self._exceeds(limits, _SLACK)

    def doubt(self) -> None:
        """Some were deleted that nobody counted."""
        self._version = -1

    def too_many(self, limits: Limits) -> bool:
        """Whether a step is needed.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        if not self._trimming and self._exceeds(limits):
            if self._version != self._others():
                self._recount()
            self._trimming = self._exceeds(limits)
        return self._trimming

    def oldest(self, limits: Limits) -> Doomed | None:
        """What must go in one step; None: there are none.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        number, count, size = None, 0, 0
        for found, length in self._connection.execute(_OLDEST).fetchall():
            if not self._exceeds(limits, _SLACK, count, size):
                break
            number, count, size = found, count + 1, size + _row_bytes(length)
        if number is None:
            self._count = self._bytes = 0
            self._trimming = False
            return None
        return Doomed(number, count, size)

    def _exceeds(self, limits: Limits, slack: int = 0, fewer: int = 0, less: int = 0) -> bool:
        most, most_bytes = limits.max_dead_letters, limits.max_size // _SHARE
        if slack:
            most, most_bytes = most - most // slack, most_bytes - most_bytes // slack
        return self._count - fewer > most or self._bytes - less > most_bytes

    def _others(self) -> int:
        """Another number whenever commands have changed the file: they may have deleted some."""
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _recount(self) -> None:
        self._version = self._others()
        lengths = [length for (length,) in self._connection.execute(_ALL)]
        self._count, self._bytes = len(lengths), sum(map(_row_bytes, lengths))
