"""From where to where the log goes, and how much of that is there: what damage took is missing in it.

Numbers follow each other, so the entries need no counting, but for what is missing: that is kept in the file.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

_QUERY: Final = """
SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events), (SELECT max(seq) FROM cursors),
       (SELECT value FROM meta WHERE key = 'last_seq'), (SELECT value FROM meta WHERE key = 'missing'),
       (SELECT value FROM meta WHERE key = 'holes')
"""
"""One statement, so that it is true of one moment. `holes` is what the first versions wrote."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The log in numbers.

    Attributes:
        first: the first entry; `last` + 1 where there is none.
        last: the last number that was ever used.
        missing: numbers between them without an entry.
    """

    first: int
    last: int
    missing: int

    @property
    def count(self) -> int:
        """How many entries there are."""
        return self.last - self.first + 1 - self.missing


def extent_of(connection: sqlite3.Connection) -> Extent:
    """The extent of this log; in no time, however long it is."""
    first, newest, *lasts, missing, holed = connection.execute(_QUERY).fetchone()
    last = max(newest or 0, *(number or 0 for number in lasts))
    if first is None:
        return Extent(last + 1, last, 0)
    if missing is None:
        missing = _missing_up_to(connection, first, holed or 0)
    return Extent(first, last, int(missing))


def _missing_up_to(connection: sqlite3.Connection, first: int, holed: int) -> int:
    if first > holed:
        return 0
    query = "SELECT count(*) FROM events WHERE seq <= ?"
    return holed - first + 1 - int(connection.execute(query, (holed,)).fetchone()[0])


def first_of(connection: sqlite3.Connection, last: int) -> int:
    """The first entry; `last` + 1 where there is none."""
    first: int | None = connection.execute("SELECT min(seq) FROM events").fetchone()[0]
    return last + 1 if first is None else first


def count_missing(connection: sqlite3.Connection, last: int, count: int) -> int:
    """How many numbers up to `last` have no entry in a log of `count`."""
    return last - first_of(connection, last) + 1 - count
