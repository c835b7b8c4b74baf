"""Finding the numbers of the rows that a damaged table still has.

Every way through the table ends where it is spoilt, or leads astray there; so several are taken.
"""

import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from heapq import merge
from itertools import pairwise
from typing import Final, TypeVar

from tdbwatch.daemon.spool.errors import NONSENSE
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ

UNREADABLE: Final = (sqlite3.Error, *NONSENSE)
_STEP: Final = 512
_MOST_IN_VAIN: Final = 2_000
"""Steps in vain after which nothing more is expected."""
_MOST_BLIND: Final = 20
"""The same where nobody knows how far the numbers go."""
_T = TypeVar("_T")


class Table:
    """A table whose rows have numbers.

    Args:
        key: the column of the numbers, an alias of SQLite's rowid.
        index: the name of an index that has them, too.
    """

    def __init__(self, connection: sqlite3.Connection, name: str, key: str, index: str | None = None) -> None:
        self._connection = connection
        self._name = name
        self._key = key
        self._index = index

    def numbers(self, last: int | None = None) -> Iterator[int]:
        """All that can be found, in order; perhaps of rows that cannot be read.

        Args:
            last: about how far they go, where that is known.
        """
        if not self._is_there():
            return
        rows = f"SELECT {self._key} FROM {self._name}"  # noqa: S608 - our own names, here and below
        found = array("q")
        whole = self._walk(f"{rows} NOT INDEXED", found.append)
        if any(before > after for before, after in pairwise(found)):
            found = array("q", sorted(found))
        more = set[int]()
        self._walk(f"{rows} NOT INDEXED ORDER BY {self._key} DESC", more.add, besides=found)
        if self._index is not None:
            self._walk(f"{rows} INDEXED BY {self._index}", more.add, besides=found)
        if not whole:
            more.update(_besides(self._leaping(last), found))
        yield from _once(merge(found, sorted(more)))

    def _is_there(self) -> bool:
        """Whether anybody knows where the table is."""
        query = f"SELECT 1 FROM {self._name} WHERE 0"  # noqa: S608
        return self._ask(lambda c: c.execute(query) is not None, otherwise=False)

    def _walk(self, query: str, take: Callable[[int], object], besides: "array[int] | None" = None) -> bool:
        """Take what one way leads to; whether it goes to the end."""
        with suppress(*UNREADABLE):
            rows = (number for (number,) in self._connection.execute(query) if _is_number(number))
            for number in rows if besides is None else _besides(rows, besides):
                take(number)
            return True
        return False

    def _leaping(self, last: int | None) -> Iterator[int]:
        """The numbers on both sides of every bad place."""
        end = self._bound("max") or last
        after = (self._following(0, end) or 1) - 1
        vain, most = 0, _MOST_BLIND if end is None else _MOST_IN_VAIN
        while vain < most and (end is None or after < end):
            piece = _halving(self._between, after, after + _STEP)
            yield from piece
            after += _STEP
            if piece:
                vain = 0
            else:
                vain += 1
                after = max(after, (self._following(after, end) or 0) - 1)  # there may be wide gaps

    def _between(self, after: int, through: int) -> list[int]:
        query = f"SELECT {self._key} FROM {self._name} NOT INDEXED WHERE {self._key} > ? AND {self._key} <= ?"  # noqa: S608
        rows = self._connection.execute(f"{query} LIMIT {2 * _STEP}", (after, through))
        return [number for (number,) in rows if _is_number(number)]

    def _following(self, after: int, end: int | None) -> int | None:
        """The first number beyond `after`; where it cannot be read, about the first one that can.

        Numbers may have wide gaps before the bad place, so it is left in growing steps.
        """
        found, low, high, step = self._bound("min", after), after, after, 1
        while found is None and end is not None and high < end - 1:
            low, high, step = high, min(high + step, end - 1), 2 * step
            found = self._bound("min", high)
        while found is not None and high - low > 1:  # too far, by less than the last step
            middle = (low + high) // 2
            nearer = self._bound("min", middle)
            low, high, found = (middle, high, found) if nearer is None else (low, middle, nearer)
        return found

    def _bound(self, which: str, after: int = -1) -> int | None:
        """None: the table does not tell, or is empty."""
        query = f"SELECT {which}({self._key}) FROM {self._name} NOT INDEXED WHERE {self._key} > {after}"  # noqa: S608
        row = self._ask(lambda c: c.execute(query).fetchone(), None)
        return row[0] if row and _is_number(row[0]) else None

    def _ask(self, question: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        with suppress(*UNREADABLE):
            return question(self._connection)
        return otherwise


def _is_number(value: object) -> bool:
    """Whether a spool can have come so far."""
    return type(value) is int and 0 < value < MOST_SEQ


def _besides(numbers: Iterable[int], known: "array[int]") -> Iterator[int]:
    """Those that are not among the known, which are in order."""
    for number in numbers:
        place = bisect_left(known, number)
        if place == len(known) or known[place] != number:
            yield number


def _once(numbers: Iterable[int]) -> Iterator[int]:
    """The same without repetitions."""
    last = None
    for number in numbers:
        if number != last:
            yield number
        last = number


def _halving(read: Callable[[int, int], list[int]], after: int, through: int) -> list[int]:
    """What can be read of these numbers: what is around the bad ones, too."""
    try:
        return read(after, through)
    except UNREADABLE:
        if through - after <= 1:
            return []
        middle = (after + through) // 2
        return [*_halving(read, after, middle), *_halving(read, middle, through)]
