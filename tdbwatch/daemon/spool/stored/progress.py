"""What the sinks have finished, and what they keep: as it is in the file, and what follows from it."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from msgspec import convert, msgpack

from tdbwatch.daemon.spool.api import Behind, DeadLetter, Gone, Past, Progress
from tdbwatch.daemon.spool.spans import Span, joined
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Block, Lane
from tdbwatch.daemon.spool.stored.history import write_letters
from tdbwatch.daemon.spool.stored.notes import Note, Waiter, Write

if TYPE_CHECKING:
    from tdbwatch.daemon.spool.stored.store import Store

_SET_FLOOR: Final = (
    "INSERT INTO progress VALUES (?, ?, ?) ON CONFLICT(sink) DO UPDATE SET floor = excluded.floor"
)
_SET_BEHIND: Final = "INSERT OR REPLACE INTO behind VALUES (?, ?, ?, ?, ?, ?)"
_UNSET_BEHIND: Final = "DELETE FROM behind WHERE sink = ? AND scope = ? AND room = ?"
_COME_BACK: Final = "UPDATE progress SET left_at = NULL WHERE left_at IS NOT NULL AND sink IN"
_LEAVE: Final = (
    "UPDATE progress SET left_at = max(ifnull((SELECT value FROM meta WHERE key = 'last_seq'), 0), ifnull("
    "(SELECT first_seq + count - 1 FROM blocks ORDER BY first_seq DESC LIMIT 1), 0))"
    " WHERE left_at IS NULL AND sink NOT IN"
)
_KEEP: Final = "INSERT OR REPLACE INTO sink_values VALUES (?, ?, ?)"
_UNKEEP: Final = "DELETE FROM sink_values WHERE sink = ? AND key = ?"
_VALUE_BYTES: Final = 100
"""What a value takes in the file beside its bytes, roughly."""
_TABLES: Final = ("behind", "progress", "sink_values")
_NAMES: Final = list[tuple[str]]
_encode: Final = msgpack.Encoder().encode
_decode_spans: Final = msgpack.Decoder(tuple[Span, ...]).decode
_decode_tried: Final = msgpack.Decoder(tuple[Past, ...]).decode


@dataclass(slots=True)
class Change(Note):
    """What a sink has finished since that was saved last, what of it became dead letters, and what it keeps.

    All in one commit: so a value is durable no later than what is finished after it was kept.

    Attributes:
        floor: None: as before.
        values: by key, the value as MessagePack; None: it is deleted.
        left_at: as in `Progress`, of a sink that there was none of.
    """

    sink: str
    floor: int | None = None
    behind: dict[Lane, Behind | None] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    values: dict[str, bytes | None] = field(default_factory=dict)
    waiters: list[Waiter] = field(default_factory=list)
    left_at: int | None = None
    apart = True

    @property
    def about(self) -> str:
        return self.sink

    def merge(self, later: Self) -> Self:
        self.floor = self.floor if later.floor is None else later.floor
        self.behind |= later.behind
        self.letters += later.letters
        self.values |= later.values
        self.waiters += later.waiters
        return self

    def writes(self) -> Iterable[Write]:
        if self.floor is not None:
            yield Write(_SET_FLOOR, [(self.sink, self.floor, self.left_at)])
        if self.behind:
            yield from self._write_behind()
        if self.values:
            kept = [(self.sink, key, packed) for key, packed in self.values.items() if packed is not None]
            yield Write(_KEEP, kept, sum([len(packed) + _VALUE_BYTES for _, _, packed in kept]))
            yield Write(_UNKEEP, [(self.sink, key) for key, packed in self.values.items() if packed is None])
        if self.letters:
            yield write_letters(self.letters)

    def _write_behind(self) -> Iterable[Write]:
        sink, behind = self.sink, self.behind.items()
        yield Write(_UNSET_BEHIND, [(sink, *lane) for lane, one in behind if one is None])
        yield Write(
            _SET_BEHIND,
            [
                (sink, *lane, one.first_seq, _encode(one.beyond), _encode(one.tried))
                for lane, one in behind
                if one is not None
            ],
        )

    def written(self, store: "Store") -> None:
        for lane, span in self.apply(store.progress):
            store.free(lane, span)

    def apply(self, progress: dict[str, Progress]) -> list[tuple[Lane, Span]]:
        """Make it in memory; where lanes that were behind got further: there more may go than before."""
        if self.floor is None:
            return []
        freed: list[tuple[Lane, Span]] = []
        one = progress.setdefault(self.sink, Progress(0))
        one.floor = self.floor
        for lane, behind in self.behind.items():
            before = one.behind.pop(lane, None)
            if behind is not None:
                one.behind[lane] = behind
            if before is not None and (span := _freed(before, behind, one.floor)) is not None:
                freed.append((lane, span))
        return freed


@dataclass(frozen=True, slots=True)
class Configured(Note):
    """From now on these are the sinks of the configuration; others are none any more."""

    names: Collection[str]
    apart = True

    def writes(self) -> Iterable[Write]:
        names = f"({', '.join('?' * len(self.names))})"
        return [Write(f"{update} {names}", [tuple(self.names)]) for update in (_COME_BACK, _LEAVE)]

    def written(self, store: "Store") -> None:
        store.sinks = self.names
        for sink, one in store.progress.items():
            if (sink in self.names) != (one.left_at is None):
                one.left_at = None if sink in self.names else store.last_seq


def load(connection: sqlite3.Connection) -> dict[str, Progress]:
    """By sink, what it has finished.

    Raises:
        KeyError, TypeError, ValueError: a row makes no sense.
    """
    return {sink: of(connection, sink) for sink in sinks(connection)}


def sinks(connection: sqlite3.Connection) -> list[str]:
    """Those with progress.

    Raises:
        KeyError, ValueError: a row makes no sense.
    """
    names = [sink for (sink,) in convert(connection.execute("SELECT sink FROM progress").fetchall(), _NAMES)]
    for (sink,) in connection.execute("SELECT DISTINCT sink FROM behind"):
        if sink not in names:
            raise KeyError(sink)
    return names


def of(connection: sqlite3.Connection, sink: str) -> Progress:
    """What one of them has finished.

    Raises:
        ValueError: a row makes no sense.
    """
    query = "SELECT floor, left_at FROM progress WHERE sink = ?"
    floor, left_at = convert(connection.execute(query, (sink,)).fetchone(), tuple[int, int | None])
    if floor >= MOST_SEQ:
        raise ValueError(f"{sink} cannot have finished {floor} entries")
    found = Progress(floor, left_at=left_at)
    query = "SELECT scope, room, first_seq, beyond, tried FROM behind WHERE sink = ?"
    for row in connection.execute(query, (sink,)):
        scope, room, first_seq, beyond, tried = convert(row, tuple[str, str, int, bytes, bytes])
        found.behind[Lane(scope, room)] = Behind(first_seq, _spans(beyond), _decode_tried(tried))
    return found


def left(connection: sqlite3.Connection, sink: str) -> Progress | None:
    """What a sink had finished that may be gone; None: nothing is known of it."""
    return of(connection, sink) if sink in sinks(connection) else None


def rename(connection: sqlite3.Connection, old: str, new: str) -> None:
    """What `old` has finished is what `new` has, of which there is none yet. Within a transaction."""
    connection.execute("UPDATE progress SET sink = ?, left_at = NULL WHERE sink = ?", (new, old))
    connection.execute("UPDATE behind SET sink = ? WHERE sink = ?", (new, old))


def forgotten(sink: str) -> list[Write]:
    """How to forget what a sink has finished, and what it keeps."""
    return [Write(f"DELETE FROM {table} WHERE sink = ?", [(sink,)]) for table in _TABLES]  # noqa: S608


def whole(progress: Mapping[str, Progress]) -> list[Change]:
    """All of it, as changes to an empty file."""
    known = progress.items()
    return [Change(sink, one.floor, dict(one.behind), left_at=one.left_at) for sink, one in known]


def values(connection: sqlite3.Connection) -> dict[str, dict[str, bytes]]:
    """What sinks keep for themselves (`context.store`), by sink and key."""
    found: dict[str, dict[str, bytes]] = {}
    for sink, key, packed in connection.execute("SELECT sink, key, value FROM sink_values"):
        if isinstance(sink, str) and isinstance(key, str) and isinstance(packed, bytes):
            found.setdefault(sink, {})[key] = packed
    return found


def _freed(before: Behind, behind: Behind | None, floor: int) -> Span | None:
    """Between which entries a lane that was behind got further."""
    first, beyond = (floor + 1, ()) if behind is None else (behind.first_seq, behind.beyond)
    spans = [(before.first_seq, first - 1), *set(beyond).difference(before.beyond)]
    if not (spans := [span for span in spans if span[0] <= min(span[1], floor)]):
        return None
    return min(spans)[0], min(floor, max(last for _, last in spans))


class Reach:
    """What every one of some sinks has finished.

    Args:
        names: the sinks of the configuration; None: all that there are. Others hold nothing back.
    """

    def __init__(self, progress: Mapping[str, Progress], names: Collection[str] | None) -> None:
        self._progress = {sink: one for sink, one in progress.items() if names is None or sink in names}

    def floor_of(self, sink: str) -> int | None:
        """Beyond it this one has finished nothing; None: it is none of these sinks."""
        return self._progress[sink].floor if sink in self._progress else None

    @property
    def floor(self) -> int | None:
        """Beyond it some sink has finished nothing; None: there is no sink."""
        return min((one.floor for one in self._progress.values()), default=None)

    def finished(self, block: Gone | Block) -> bool:
        """Whether all entries of a block are finished for whom they are for."""
        first, last, lane = block.first_seq, block.last_seq, block.lane
        return all(one.all_finished(first, last, lane) for one in self._concerned(block.target))

    def unfinished(self, seqs: Iterable[int], lane: Lane, target: str | None) -> set[int]:
        """Which of these a sink is still to get."""
        concerned = self._concerned(target)
        return {seq for seq in seqs if not all(one.finished(seq, lane) for one in concerned)}

    def _concerned(self, target: str | None) -> list[Progress]:
        if target is None:
            return list(self._progress.values())
        return [self._progress[target]] if target in self._progress else []


def _spans(packed: bytes) -> tuple[Span, ...]:
    spans = _decode_spans(packed)
    if joined(spans) != spans or any(first > last for first, last in spans):
        raise ValueError(f"{spans!r:.40} are no spans")
    return spans
