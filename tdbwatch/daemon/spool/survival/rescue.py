"""Taking from a damaged file whatever can still be read, row by row: it may be larger than memory."""

import sqlite3
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

from tdbwatch.daemon.spool.api import DeadLetter, Progress
from tdbwatch.daemon.spool.errors import UNREADABLE, trusting_nothing
from tdbwatch.daemon.spool.stored import progress
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Block
from tdbwatch.daemon.spool.stored.history import letter_at
from tdbwatch.daemon.spool.stored.log import block_of
from tdbwatch.daemon.spool.stored.tables import connect_to, fits
from tdbwatch.daemon.spool.survival.salvage import opened, salvaged

_HEAD: Final = "SELECT first_seq, count, scope, room, target, x'' FROM blocks WHERE first_seq = ?"
_LAST_SEQ: Final = "SELECT value FROM meta WHERE key = 'last_seq'"
_PAGE: Final = 4096
_PRECISION: Final = 256
"""Behind a bad place so many numbers are tried one by one, then each that is one part in so many further:
some 8,000 tries to the end of all numbers."""
_PASSING: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM}
_T = TypeVar("_T")


class Rescue:
    """Reads as far as it goes, and never raises for what it cannot read.

    Args:
        connection: to the damaged file; None: nothing of it can be understood.

    Attributes:
        last_seq: the highest number of an entry that it has come upon.
    """

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection
        kept = self.rows(_LAST_SEQ, [int])
        self.last_seq: int = max([seq for (seq,) in kept if seq < MOST_SEQ], default=0)

    def rows(self, query: str, kinds: Sequence[type]) -> list[tuple[Any, ...]]:
        """What a query finds before a place that is spoilt, as far as its fields are of these kinds."""
        found: list[tuple[Any, ...]] = []
        self._ask(lambda c: found.extend(c.execute(query)), None)
        return [row for row in found if fits(row, kinds)]

    def progress(self) -> tuple[dict[str, Progress], bool]:
        """What the sinks have finished: nothing, where that cannot be read; and whether none is missing.

        If one may be, what is said of the others is not trusted: a page that is spoilt may have fewer rows.
        """
        whole = [self.rows(f"PRAGMA integrity_check({table})", [str]) for table in ("progress", "behind")]
        trusted = whole == [[("ok",)]] * 2 and self._ask(progress.sinks, None) is not None
        found = {sink: Progress(0) for (sink,) in self.rows("SELECT sink FROM progress", [str])}
        if trusted:
            found = {sink: self._ask(partial(progress.of, sink=sink), none) for sink, none in found.items()}
        return found, trusted

    def blocks(self) -> Iterator[Block]:
        """What decodes of each block, in order."""
        for first_seq, following in pairwise(chain(self._numbers("blocks", "first_seq"), [MOST_SEQ])):
            head = self._ask(partial(_head, first_seq=first_seq), None)
            if head is not None:
                body = opened(b"".join(self._body(first_seq)))
                count = min(head.count, following - first_seq)
                for block in salvaged(Block(first_seq, count, head.lane, head.target, body)):
                    self.last_seq = max(self.last_seq, block.last_seq)
                    yield block

    def _body(self, first_seq: int) -> list[bytes]:
        """The body of a block, up to the first page that cannot be read."""
        found: list[bytes] = []

        def read(connection: sqlite3.Connection) -> None:
            with connection.blobopen("blocks", "body", first_seq, readonly=True) as blob:
                while piece := blob.read(_PAGE):
                    found.append(piece)

        self._ask(read, None)
        return found

    def letters(self) -> Iterator[tuple[int, DeadLetter]]:
        """The dead letters with their numbers, in order."""
        for number in self._numbers("dead_letters", "number"):
            letter = self._ask(partial(letter_at, number=number), None)
            if letter is not None:
                self.last_seq = max(self.last_seq, letter.entry.seq)
                yield number, letter

    def _numbers(self, table: str, key: str) -> "array[int]":
        """The numbers of a table's rows, in order; perhaps also of rows that cannot be read.

        The way through a table ends where it is spoilt, or leads astray there: so it is gone from both ends,
        and begun anew behind each bad place.
        """
        found, upper = array("q"), array("q")
        rows = f"SELECT {key} FROM {table} NOT INDEXED WHERE {key} >= ? ORDER BY {key}"  # noqa: S608 - our names
        if self._walk(f"{rows} LIMIT 0", 0, found):  # else nobody knows where the table is
            whole, after = self._walk(rows, 1, found), 0
            if not whole:
                self._walk(f"{rows} DESC", 1, upper)
            while not whole and after < MOST_SEQ:
                after = self._beyond(f"{rows} LIMIT 1", max([after, *found[-1:]]), found)
                whole = self._walk(rows, after + 1, found)
        found += upper
        if any(before >= number for before, number in pairwise(found)):
            found = array("q", sorted(set(found)))
        return found

    def _beyond(self, first: str, after: int, found: "array[int]") -> int:
        """Take the first number behind a bad place, and say up to which all is done then.

        Of a row that is asked for alone SQLite tells whatever becomes of the next one.
        """
        low, high, numbers = after, after + 1, array("q")
        while not self._walk(first, high, numbers):
            low, high = high, high + 1 + (high - after) // _PRECISION
            if high >= MOST_SEQ:
                return high
        while high - low > 1:
            middle = (low + high) // 2
            if self._walk(first, middle, numbers):
                high = middle
            else:
                low = middle
        found += numbers[-1:]
        return max(high, *numbers[-1:])

    def _walk(self, query: str, start: int, found: "array[int]") -> bool:
        """Take what one way leads to; whether it goes to the end."""

        def take(connection: sqlite3.Connection) -> bool:
            rows = connection.execute(query, (start,))
            found.extend(number for (number,) in rows if _is_number(number))
            return True

        return self._ask(take, otherwise=False)

    def _ask(self, question: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        if self._connection is not None:
            with suppress(*UNREADABLE):
                return question(self._connection)
        return otherwise


def _is_number(value: object) -> bool:
    """Whether a spool can have come so far."""
    return type(value) is int and 0 < value < MOST_SEQ


def _head(connection: sqlite3.Connection, first_seq: int) -> Block:
    """A block without its body, which may be large, or spoilt."""
    return block_of(connection.execute(_HEAD, (first_seq,)).fetchone())


@contextmanager
def rescuing(damaged: Path) -> Iterator[Rescue]:
    """Whatever can be read of this file.

    Raises:
        sqlite3.OperationalError: it cannot be read now, which says nothing of what is in it.
    """
    try:
        connection = connect_to(damaged, "mode=ro")
    except sqlite3.Error as error:
        _raise_passing(error, damaged)
        yield Rescue(None)
        return
    with closing(connection):
        try:
            with trusting_nothing():
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            _raise_passing(error, damaged)
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA writable_schema = ON")  # else a file cut short is refused as a whole
        yield Rescue(connection)


def _raise_passing(error: sqlite3.Error, damaged: Path) -> None:
    """Another process's lock, or want of memory or of descriptors, is no reason to give a file up."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _PASSING or (code == sqlite3.SQLITE_CANTOPEN and damaged.is_file()):
        raise error
