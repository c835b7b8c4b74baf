"""Taking from a damaged file whatever can still be read, piece by piece: it may be larger than memory."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from tdbwatch.daemon.spool.api import DeadLetter, Order, Progress
from tdbwatch.daemon.spool.file.damage import NONSENSE
from tdbwatch.daemon.spool.stored import orders, progress
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.daemon.spool.stored.drops import Tally, unsettled
from tdbwatch.daemon.spool.stored.history import letters_after
from tdbwatch.daemon.spool.stored.rows import block_of
from tdbwatch.daemon.spool.survival.salvage import salvaged

_HEADS: Final = (
    "SELECT first_seq, count, scope, room, target, x'' FROM blocks NOT INDEXED"
    " WHERE first_seq > ? AND first_seq <= ? ORDER BY first_seq LIMIT ?"
)
_BODY: Final = "SELECT CAST(body AS BLOB) FROM blocks WHERE first_seq = ?"
_PAGE: Final = 4096
_STEP: Final = 512
_MOST_IN_VAIN: Final = 2_000
"""Steps in vain after which nothing more is expected."""
_MOST_BLIND: Final = 20
"""The same where nobody knows how far the numbers go."""
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

    def progress(self) -> dict[str, Progress]:
        """What the sinks have finished: nothing, where that cannot be read or trusted.

        A sink may be missing, unless all of it is `trusted`.
        """
        if self.trusted:
            names = self._ask(progress.sinks, list[str]())
            return {sink: self._ask(partial(progress.of, sink=sink), Progress(0)) for sink in names}
        rows: list[Any] = self._ask(lambda c: c.execute("SELECT sink FROM progress").fetchall(), [])
        return {sink: Progress(0) for (sink,) in rows if isinstance(sink, str)}

    @cached_property
    def trusted(self) -> bool:
        """Whether no sink's progress is missing: a page that is spoilt may just have fewer rows."""
        return all(self._is_whole(table) for table in ("progress", "behind")) and self._ask(
            lambda c: progress.sinks(c) is not None, otherwise=False
        )

    def _is_whole(self, table: str) -> bool:
        found: list[Any] = self._ask(lambda c: c.execute(f"PRAGMA integrity_check({table})").fetchall(), [])
        return found == [("ok",)]

    def drops(self) -> list[Tally]:
        return self._ask(unsettled, [])

    def orders(self) -> list[Order]:
        return self._ask(orders.waiting, [])

    def last_seq(self) -> int:
        """The last number that was ever used, as far as the file tells."""
        query = "SELECT value FROM meta WHERE key = 'last_seq'"
        kept = self._ask(lambda c: c.execute(query).fetchone(), None)
        return kept[0] if kept and isinstance(kept[0], int) else 0

    def blocks(self) -> Iterator[list[Block]]:
        """The blocks that decode, in order."""
        for heads in self._pieces("blocks", "first_seq", 0, self._last_seq, self._heads):
            for head in heads:
                if found := salvaged(self._with_body(head)):
                    yield found

    def letters(self) -> Iterator[list[tuple[int, DeadLetter]]]:
        """The dead letters with their numbers, in order."""
        yield from self._pieces("dead_letters", "number", 0, None, self._letters)

    def _heads(self, after: int, through: int) -> list[Block]:
        """The blocks without their bodies, each of which may be large."""
        assert self._connection is not None
        rows = self._connection.execute(_HEADS, (after, through, 2 * _STEP))
        # A spoilt tree may show rows twice, and out of their places.
        heads = {head.first_seq: head for head in map(block_of, rows) if after < head.first_seq <= through}
        found = [heads[seq] for seq in sorted(heads)]
        for head, following in pairwise(found):
            head.count = min(head.count, following.first_seq - head.first_seq)
        return found

    def _with_body(self, head: Block) -> Block:
        body = self._ask(lambda c: bytes(c.execute(_BODY, (head.first_seq,)).fetchone()[0]), None)
        if body is None:
            body = b"".join(self._ask(lambda c: list(_as_far_as_it_goes(c, head.first_seq)), []))
        return Block(head.first_seq, head.count, head.lane, head.target, body)

    def _letters(self, after: int, through: int) -> list[tuple[int, DeadLetter]]:
        assert self._connection is not None
        return list(letters_after(self._connection, after, through))

    def _pieces(
        self, table: str, key: str, after: int, last: int | None, read: Callable[[int, int], list[_T]]
    ) -> Iterator[list[_T]]:
        if not self._is_there(table):
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

    def _is_there(self, table: str) -> bool:
        """Whether anybody knows where the table is."""
        query = f"SELECT 1 FROM {table} WHERE 0"  # noqa: S608 - our own names
        return self._ask(lambda c: c.execute(query) is not None, otherwise=False)

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


def _as_far_as_it_goes(connection: sqlite3.Connection, first_seq: int) -> Iterator[bytes]:
    """The beginning of a block's body, up to the first page that cannot be read."""
    with connection.blobopen("blocks", "body", first_seq, readonly=True) as blob, suppress(sqlite3.Error):
        while piece := blob.read(_PAGE):
            yield piece


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
