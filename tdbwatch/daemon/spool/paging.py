"""Reading tables page by page, so that nobody stays in one transaction while the daemon goes on writing."""

# ruff: noqa: S608 - the SQL is put together of words of our own; values are bound

import sqlite3
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

from tdbwatch.daemon.spool.rows import Streams

_PAGE: Final = 1_000
_NO_END: Final = 1 << 62
_T = TypeVar("_T")


def paged(
    connection: sqlite3.Connection,
    source: str,
    columns: str,
    terms: str,
    values: list[Any],
    last: int,
    make: Callable[[Any, Streams], _T],
    keep: Callable[[_T], bool] = lambda _: True,
) -> Iterator[_T]:
    """Rows as what `make` makes of them, in order, as far as `keep` keeps them.

    Args:
        source: has a column `number`, in whose order they come; it is the first of `columns`.
        terms: what holds of each row, with its `values`.
        last: only so many, the newest; -1: all.
    """
    streams, through = Streams(connection), _NO_END
    after = 0
    if last >= 0:
        backwards = _rows(connection, source, columns, terms, values, through, backwards=True)
        newest = [row[0] for row in islice((row for row in backwards if keep(make(row, streams))), last)]
        after, through = (newest[-1] - 1, newest[0]) if newest else (through, 0)
    for row in _rows(connection, source, columns, terms, values, after):
        if row[0] > through:
            return
        if keep(made := make(row, streams)):
            yield made


def _rows(
    connection: sqlite3.Connection,
    source: str,
    columns: str,
    terms: str,
    values: list[Any],
    position: int,
    *,
    backwards: bool = False,
) -> Iterator[Any]:
    """All rows after the one at `position`, or before it, a page at a time."""
    beyond, order = ("<", "DESC") if backwards else (">", "ASC")
    while True:
        rows = connection.execute(
            f"SELECT {columns} FROM {source} WHERE number {beyond} ? AND {terms}"
            f" ORDER BY number {order} LIMIT ?",
            (position, *values, _PAGE),
        ).fetchall()
        yield from rows
        if len(rows) < _PAGE:
            return
        position = rows[-1][0]
