"""Taking from a damaged file whatever can still be read, piece by piece: it may be larger than memory."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from tdbwatch.daemon.spool import marks
from tdbwatch.daemon.spool.api import DeadLetter, Entry
from tdbwatch.daemon.spool.damage import NONSENSE
from tdbwatch.daemon.spool.drops import Tally, unsettled
from tdbwatch.daemon.spool.requests import Request, waiting
from tdbwatch.daemon.spool.rows import (
    SELECT_EVENTS,
    SELECT_LETTERS,
    SELECT_STREAMS,
    Key,
    Streams,
    entry_of,
    letter_of,
)

_STEP: Final = 512
_MOST_IN_VAIN: Final = 2_000
"""Steps in vain after which nothing more is expected."""
_MOST_BLIND: Final = 20
"""The same where nobody knows how far the numbers go."""
_MOST_STREAMS: Final = 1 << 14
"""Streams looked for where nobody knows how many there are."""
_MOST_IDS: Final = 1 << 20
"""No daemon hears of so many; a spoilt number may be any."""
_UNREADABLE: Final = (sqlite3.Error, *NONSENSE)
_PASSING: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM}
_T = TypeVar("_T")


class Rescue:
    """Reads as far as it goes, and never raises for what it cannot read.

    Args:
        connection: to the damaged file; None: nothing of it can be understood.
        last_seq: the last number in the log, where memory knows it.
    """

    def __init__(self, connection: sqlite3.Connection | None, last_seq: int | None = None) -> None:
        self._connection = connection
        self._last_seq = last_seq
        self._streams: Streams | None = None
        if connection is not None:
            with suppress(*_UNREADABLE):
                streams = _ReadableStreams(connection)
                self._streams = streams if streams.any else None  # without one no event says what it is

    def cursors(self) -> dict[str, int]:
        """How far the sinks are; one whose place cannot be read begins anew."""
        rows: list[Any] = self._ask(lambda c: c.execute("SELECT sink, seq FROM cursors").fetchall(), [])
        return {sink: seq if isinstance(seq, int) else 0 for sink, seq in rows if isinstance(sink, str)}

    def drops(self) -> list[Tally]:
        return self._ask(unsettled, [])

    def requests(self) -> list[Request]:
        return self._ask(waiting, [])

    def finished(self) -> list[marks.Mark]:
        """What sinks are finished with beyond their cursors, and no dead letter says so."""
        return self._ask(marks.all_of, [])

    def last_seq(self) -> int:
        """The last number that was ever used, as far as the file tells."""
        query = "SELECT value FROM meta WHERE key = 'last_seq'"
        kept = self._ask(lambda c: c.execute(query).fetchone(), None)
        return kept[0] if kept and isinstance(kept[0], int) else 0

    def entries(self, after: int) -> Iterator[list[Entry]]:
        """The entries beyond `after`, in order."""
        yield from self._pieces("events", "seq", after, self._last_seq, self._entries)

    def letters(self) -> Iterator[list[DeadLetter]]:
        """The dead letters, in order."""
        yield from self._pieces("dead_letters", "number", 0, None, self._letters)

    def _entries(self, after: int, through: int) -> list[Entry]:
        found = self._rows(SELECT_EVENTS, (after, through, 2 * _STEP), entry_of)
        # A spoilt tree may show rows twice, and out of their places.
        return [entry for seq, entry in sorted({e.seq: e for e in found}.items()) if after < seq <= through]

    def _letters(self, after: int, through: int) -> list[DeadLetter]:
        return self._rows(SELECT_LETTERS, (after, through), letter_of)

    def _rows(self, query: str, values: tuple[int, ...], make: Callable[[Any, Streams], _T]) -> list[_T]:
        assert self._connection is not None
        assert self._streams is not None
        return [make(row, self._streams) for row in self._connection.execute(query, values).fetchall()]

    def _pieces(
        self, table: str, key: str, after: int, last: int | None, read: Callable[[int, int], list[_T]]
    ) -> Iterator[list[_T]]:
        if self._streams is None:
            return
        end = self._bound("max", table, key) or last
        after = max(after, (self._following(table, key, after, end) or 1) - 1)
        vain, most = 0, _MOST_BLIND if end is None else _MOST_IN_VAIN
        while vain < most and (end is None or after < end):
            piece = _halving(read, after, after + _STEP)
            after += _STEP
            if piece:
                vain = 0
                yield piece
            else:
                vain += 1
                following = self._following(table, key, after, end)
                after = max(after, (following or 0) - 1)  # numbers may have wide gaps

    def _following(self, table: str, key: str, after: int, end: int | None) -> int | None:
        """The first number beyond `after`; where it cannot be read, about the first one that can.

        Numbers may have wide gaps before the bad place, so it is left in growing steps.
        """
        found, low, high, step = self._bound("min", table, key, after), after, after, 1
        while found is None and end is not None and high < end - 1:
            low, high, step = high, min(high + step, end - 1), 2 * step
            found = self._bound("min", table, key, high)
        while found is not None and high - low > 1:  # too far, by less than the last step
            middle = (low + high) // 2
            nearer = self._bound("min", table, key, middle)
            low, high, found = (middle, high, found) if nearer is None else (low, middle, nearer)
        return found

    def _bound(self, which: str, table: str, key: str, after: int = -1) -> int | None:
        """None: the file does not tell. An empty table has no bound either, and costs a few steps in vain."""
        query = f"SELECT {which}({key}) FROM {table} WHERE {key} > {after}"  # noqa: S608 - our own names
        row = self._ask(lambda c: c.execute(query).fetchone(), None)
        return row[0] if row and isinstance(row[0], int) else None

    def _ask(self, question: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        if self._connection is not None:
            with suppress(*_UNREADABLE):
                return question(self._connection)
        return otherwise


class _ReadableStreams(Streams):
    """Those that can be read: what is spoilt of them costs its own events only."""

    @property
    def any(self) -> bool:
        """Whether one could be read."""
        return bool(self._keys)

    def key(self, number: int) -> Key:
        return self._keys[number]  # all were read at the start

    def _load(self) -> None:
        last = _MOST_STREAMS
        with suppress(*_UNREADABLE):
            last = min(self._connection.execute("SELECT max(id) FROM streams").fetchone()[0] or 0, _MOST_IDS)
        for row in _halving(self._read, 0, last):
            with suppress(*NONSENSE):
                self._take(row)

    def _read(self, after: int, through: int) -> list[tuple[Any, ...]]:
        return self._connection.execute(SELECT_STREAMS, (after, through)).fetchall()


def _halving(read: Callable[[int, int], list[_T]], after: int, through: int) -> list[_T]:
    """What can be read of these numbers: what is around the bad ones, too."""
    try:
        return read(after, through)
    except _UNREADABLE:
        if through - after <= 1:
            return []
        middle = (after + through) // 2
        return [*_halving(read, after, middle), *_halving(read, middle, through)]


@contextmanager
def rescuing(damaged: Path, last_seq: int | None = None) -> Iterator[Rescue]:
    """Whatever can be read of this file.

    Raises:
        sqlite3.OperationalError: it cannot be read now, which says nothing of what is in it.
    """
    try:
        connection = sqlite3.connect(f"file:{quote(str(damaged.absolute()))}?mode=ro", uri=True)
    except sqlite3.Error as error:
        _raise_passing(error, damaged)
        yield Rescue(None)
        return
    with closing(connection):
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            _raise_passing(error, damaged)
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA writable_schema = ON")  # else a file cut short is refused as a whole
        yield Rescue(connection, last_seq)


def _raise_passing(error: sqlite3.Error, damaged: Path) -> None:
    """Another process's lock, or want of memory or of descriptors, is no reason to give a file up."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _PASSING or (code == sqlite3.SQLITE_CANTOPEN and damaged.is_file()):
        raise error
