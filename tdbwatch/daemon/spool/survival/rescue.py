"""Taking from a damaged file whatever can still be read, piece by piece: it may be larger than memory.

Of a block that is spoilt within, these are the runs that can still be read, as blocks again.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property, partial
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgpack
import msgspec

from tdbwatch.daemon.spool.api import DeadLetter, Progress
from tdbwatch.daemon.spool.errors import trusting_nothing
from tdbwatch.daemon.spool.stored import beats, marks, orders, progress, values
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Block, Run, encode_run, pack, sound
from tdbwatch.daemon.spool.stored.drops import Tally, unsettled
from tdbwatch.daemon.spool.stored.history import letters_after
from tdbwatch.daemon.spool.stored.log import block_of
from tdbwatch.daemon.spool.stored.marks import Mark
from tdbwatch.daemon.spool.stored.orders import Order
from tdbwatch.daemon.spool.survival.numbers import UNREADABLE, Table

_HEAD: Final = "SELECT first_seq, count, scope, room, target, x'' FROM blocks WHERE first_seq = ?"
_BODY: Final = "SELECT CAST(body AS BLOB) FROM blocks WHERE first_seq = ?"
_PAGE: Final = 4096
_PASSING: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM}
_T = TypeVar("_T")
_UNREADABLE: Final = (ValueError, TypeError, RecursionError, msgpack.UnpackException)
_decode_run: Final = msgspec.msgpack.Decoder(Run).decode


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

    def beat(self) -> Beat | None:
        return self._ask(beats.load, None)

    def drops(self) -> list[Tally]:
        return self._ask(unsettled, [])

    def orders(self) -> list[Order]:
        return self._ask(orders.waiting, [])

    def marks(self) -> list[Mark]:
        return self._ask(marks.load, [])

    def values(self) -> dict[str, dict[str, bytes]]:
        return self._ask(values.load, {})

    def last_seq(self) -> int:
        """The last number that was ever used, as far as the file tells."""
        query = "SELECT value FROM meta WHERE key = 'last_seq'"
        kept = self._ask(lambda c: c.execute(query).fetchone(), None)
        return kept[0] if kept and type(kept[0]) is int and kept[0] < MOST_SEQ else 0

    def blocks(self) -> Iterator[list[Block]]:
        """What decodes of each block, in order."""
        numbers = chain(self._numbers("blocks", "first_seq", "blocks_by_lane", self._last_seq), [MOST_SEQ])
        for first_seq, following in pairwise(numbers):
            head = self._ask(partial(_head, first_seq=first_seq), None)
            if head is not None:
                head.count = min(head.count, following - first_seq)
                if found := salvaged(self._with_body(head)):
                    yield found

    def letters(self) -> Iterator[tuple[int, DeadLetter]]:
        """The dead letters with their numbers, in order."""
        for number in self._numbers("dead_letters", "number"):
            nothing: list[tuple[int, DeadLetter]] = []
            yield from self._ask(partial(_letter, number=number), nothing)

    def _numbers(
        self, table: str, key: str, index: str | None = None, last: int | None = None
    ) -> Iterator[int]:
        if self._connection is not None:
            yield from Table(self._connection, table, key, index).numbers(last)

    def _with_body(self, head: Block) -> Block:
        body = self._ask(lambda c: bytes(c.execute(_BODY, (head.first_seq,)).fetchone()[0]), None)
        if body is None:
            body = b"".join(self._ask(lambda c: list(_as_far_as_it_goes(c, head.first_seq)), []))
        return Block(head.first_seq, head.count, head.lane, head.target, body)

    def _ask(self, question: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        if self._connection is not None:
            with suppress(*UNREADABLE):
                return question(self._connection)
        return otherwise


def _as_far_as_it_goes(connection: sqlite3.Connection, first_seq: int) -> Iterator[bytes]:
    """The beginning of a block's body, up to the first page that cannot be read."""
    with connection.blobopen("blocks", "body", first_seq, readonly=True) as blob, suppress(sqlite3.Error):
        while piece := blob.read(_PAGE):
            yield piece


def _head(connection: sqlite3.Connection, first_seq: int) -> Block:
    """A block without its body, which may be large, or spoilt."""
    return block_of(connection.execute(_HEAD, (first_seq,)).fetchone())


def _letter(connection: sqlite3.Connection, number: int) -> list[tuple[int, DeadLetter]]:
    return list(letters_after(connection, number - 1, number))


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
            with trusting_nothing():
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


def salvaged(block: Block) -> list[Block]:
    """A block's sound runs, neighbours together; the block itself, if nothing is wrong with it.

    What is behind the first spoilt run ends where the block does: with a number that is too high a sink may
    get an event twice, with one that is too low perhaps never.
    """
    try:
        block.runs  # noqa: B018 - raises, if they are spoilt
        return [block]
    except ValueError:
        runs = list(_runs(block.body))
    groups = [[run for run in group if run] for spoilt, group in groupby(runs, key=_is_spoilt) if not spoilt]
    if None not in runs:
        return [_part(block, block.first_seq, group) for group in groups]  # only their count was wrong
    return _numbered(block, groups, first_is_sound=runs[0] is not None)


def _runs(body: bytes) -> Iterator[Run | None]:
    """The runs as far as their bounds can be told; None for a spoilt one, and once for what is cut off."""
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=0)
    unpacker.feed(body)
    try:
        for _ in range(unpacker.read_array_header()):
            at = unpacker.tell()
            unpacker.skip()
            yield _run(body[at : unpacker.tell()])
    except _UNREADABLE:
        yield None


def _run(packed: bytes) -> Run | None:
    try:
        run = _decode_run(packed)
    except (ValueError, RecursionError):
        return None
    return run if sound(run) else None


def _is_spoilt(run: Run | None) -> bool:
    return run is None


def _numbered(block: Block, groups: Sequence[list[Run]], *, first_is_sound: bool) -> list[Block]:
    lost = max(0, block.count - sum(map(_size, groups)))
    found, at = [], block.first_seq
    for number, group in enumerate(groups):
        if number == (1 if first_is_sound else 0):
            at += lost
        found.append(_part(block, at, group))
        at += _size(group)
    return found


def _part(block: Block, first_seq: int, runs: Sequence[Run]) -> Block:
    return Block(first_seq, _size(runs), block.lane, block.target, pack(list(map(encode_run, runs))))


def _size(runs: Sequence[Run]) -> int:
    return sum(len(run.events) for run in runs)
