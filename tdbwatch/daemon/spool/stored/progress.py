"""The progress of the sinks: what is in the file, and what follows from it."""

import asyncio
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tdbwatch.daemon.spool.api import Behind, DeadLetter, Gone, Past, Progress
from tdbwatch.daemon.spool.spans import Span, joined
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Block, Lane
from tdbwatch.wire.codec import decode, encode

_SET_FLOOR: Final = (
    "INSERT INTO progress(sink, floor) VALUES (?, ?) ON CONFLICT(sink) DO UPDATE SET floor = excluded.floor"
)
_SET_BEHIND: Final = "INSERT OR REPLACE INTO behind VALUES (?, ?, ?, ?, ?, ?)"
_UNSET_BEHIND: Final = "DELETE FROM behind WHERE sink = ? AND scope = ? AND room = ?"


@dataclass(slots=True)
class Change:
    """What a sink has finished since its progress was saved last, and what of it became dead letters.

    Attributes:
        waiters: those who wait until it is durable.
    """

    floor: int
    behind: dict[Lane, Behind | None] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    waiters: list["asyncio.Future[None]"] = field(default_factory=list)

    def merge(self, later: "Change") -> None:
        """The two are one."""
        self.floor = later.floor
        self.behind |= later.behind
        self.letters += later.letters
        self.waiters += later.waiters


def load(connection: sqlite3.Connection) -> dict[str, Progress]:
    """By sink, what it has finished.

    Raises:
        KeyError, TypeError, ValueError: a row makes no sense.
    """
    return {sink: of(connection, sink) for sink in sinks(connection)}


def sinks(connection: sqlite3.Connection) -> list[str]:
    """Those with progress.

    Raises:
        KeyError, TypeError: a row makes no sense.
    """
    names = [_text(sink) for (sink,) in connection.execute("SELECT sink FROM progress")]
    for (sink,) in connection.execute("SELECT DISTINCT sink FROM behind"):
        if sink not in names:
            raise KeyError(sink)
    return names


def of(connection: sqlite3.Connection, sink: str) -> Progress:
    """What one of them has finished.

    Raises:
        TypeError, ValueError: a row makes no sense.
    """
    query = "SELECT floor, left_at FROM progress WHERE sink = ?"
    floor, left_at = connection.execute(query, (sink,)).fetchone()
    found = Progress(_number(floor), left_at=None if left_at is None else _number(left_at))
    if found.floor >= MOST_SEQ:
        raise ValueError(f"{sink} cannot have finished {floor} entries")
    query = "SELECT scope, room, first_seq, beyond, tried FROM behind WHERE sink = ?"
    for scope, room, first_seq, beyond, tried in connection.execute(query, (sink,)):
        lane = Lane(_text(scope), _text(room))
        found.behind[lane] = Behind(_number(first_seq), _beyond(beyond), _tried(tried))
    return found


def left(connection: sqlite3.Connection, sink: str) -> Progress | None:
    """What a sink had finished that may be gone; None: nothing is known of it."""
    return of(connection, sink) if sink in sinks(connection) else None


def save(connection: sqlite3.Connection, changes: Mapping[str, Change]) -> None:
    """Write what changed. Within a transaction."""
    if not changes:
        return
    connection.executemany(_SET_FLOOR, [(sink, change.floor) for sink, change in changes.items()])
    now, no_longer = [], []
    for sink, change in changes.items():
        for lane, behind in change.behind.items():
            if behind is None:
                no_longer.append((sink, *lane))
            else:
                now.append((sink, *lane, behind.first_seq, encode(behind.beyond), _packed(behind.tried)))
    if no_longer:
        connection.executemany(_UNSET_BEHIND, no_longer)
    if now:
        connection.executemany(_SET_BEHIND, now)


def part_from(connection: sqlite3.Connection, names: Collection[str], last_seq: int) -> None:
    """Remember up to where those were sinks that are none of these any more. Within a transaction."""
    for sink, left_at in connection.execute("SELECT sink, left_at FROM progress").fetchall():
        if (sink in names) != (left_at is None):
            since = None if sink in names else last_seq
            connection.execute("UPDATE progress SET left_at = ? WHERE sink = ?", (since, sink))


def part(known: Mapping[str, Progress], names: Collection[str], last_seq: int) -> None:
    """As `part_from`, in memory."""
    for sink, one in known.items():
        if (sink in names) != (one.left_at is None):
            one.left_at = None if sink in names else last_seq


def parted(connection: sqlite3.Connection, known: Mapping[str, Progress]) -> None:
    """Remember the same as these do. Within a transaction."""
    rows = [(one.left_at, sink) for sink, one in known.items() if one.left_at is not None]
    connection.executemany("UPDATE progress SET left_at = ? WHERE sink = ?", rows)


def rename(connection: sqlite3.Connection, old: str, new: str) -> None:
    """What `old` has finished is what `new` has, of which there is none yet. Within a transaction."""
    connection.execute("UPDATE progress SET sink = ?, left_at = NULL WHERE sink = ?", (new, old))
    connection.execute("UPDATE behind SET sink = ? WHERE sink = ?", (new, old))


def forget(connection: sqlite3.Connection, sink: str) -> None:
    """Nothing is known any more of what it has finished. Within a transaction."""
    connection.execute("DELETE FROM behind WHERE sink = ?", (sink,))
    connection.execute("DELETE FROM progress WHERE sink = ?", (sink,))


def whole(progress: Mapping[str, Progress]) -> dict[str, Change]:
    """All of it, as changes to an empty file."""
    return {sink: Change(one.floor, dict(one.behind)) for sink, one in progress.items()}


def apply(progress: dict[str, Progress], changes: Mapping[str, Change]) -> list[tuple[Lane, Span]]:
    """Make the changes in memory; where lanes that were behind got further: there more may go than before."""
    freed: list[tuple[Lane, Span]] = []
    for sink, change in changes.items():
        one = progress.setdefault(sink, Progress(0))
        one.floor = change.floor
        for lane, behind in change.behind.items():
            before = one.behind.pop(lane, None)
            if behind is not None:
                one.behind[lane] = behind
            if before is not None and (span := _freed(before, behind, change.floor)) is not None:
                freed.append((lane, span))
    return freed


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


def _packed(tried: Iterable[Past]) -> bytes:
    return encode([[p.count, p.attempts, p.first_us, p.first_error, p.last_error, p.unended] for p in tried])


def _tried(packed: Any) -> tuple[Past, ...]:
    return tuple(
        Past(_number(count), _number(tries), _number(us), _text(first), _text(last), _number(unended))
        for count, tries, us, first, last, unended in decode(packed)
    )


def _beyond(packed: Any) -> tuple[Span, ...]:
    spans = tuple((_number(first), _number(last)) for first, last in decode(packed))
    if joined(spans) != spans or any(first > last for first, last in spans):
        raise ValueError(f"{spans!r:.40} are no spans")
    return spans


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r:.40} is no number")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r:.40} is no text")
    return value
