"""Rows of the tables, and what they mean."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from tdbwatch.daemon.spool.api import Attempt, DamageReport, DeadLetter, Entry
from tdbwatch.daemon.spool.file.damage import trusting_nothing
from tdbwatch.daemon.spool.stored.blocks import (
    END_OF_TIME_US,
    MOST_SEQ,
    Block,
    Lane,
    Run,
    encode_run,
    run_of,
    sound,
    squeeze,
    unsqueeze,
)
from tdbwatch.wire.codec import decode, encode

BLOCK: Final = "first_seq, count, scope, room, target, body"
"""The columns of `block_of`."""
INSERT_BLOCK: Final = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_NUMBERED_LETTER: Final = (
    "INSERT OR IGNORE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_LETTER: Final = (
    "INSERT INTO dead_letters(sink, seq, scope, room, run, reason, attempts, first_error, last_error,"
    " first_us, dead_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
LETTER: Final = (
    "number, sink, seq, scope, room, run, reason, attempts, first_error, last_error, first_us, dead_us"
)
"""The columns of `letter_of`."""
INSERT_ATTEMPT: Final = (
    "INSERT INTO attempts(first_seq, last_seq, seqs, sink, attempt, started_us, duration_us, outcome, detail)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
ATTEMPT: Final = "seqs, sink, attempt, started_us, duration_us, outcome, detail"
"""The columns of `attempt_of`."""
_decode_run: Final = msgspec.msgpack.Decoder(Run).decode


@dataclass(frozen=True, slots=True)
class Row:
    """A block that is to be written; its number is given when it is.

    Attributes:
        first_us, last_us: between which times its events were received, in microseconds since the Unix epoch.
        born_us: from when on it grows old.
    """

    count: int
    lane: Lane
    target: str | None
    first_us: int
    last_us: int
    born_us: int
    body: bytes

    def values(self, first_seq: int, *, squeezed: bool = False) -> tuple[Any, ...]:
        body = squeeze(self.body) if squeezed else self.body
        what = (self.target, self.first_us, self.last_us, self.born_us, body)
        return (first_seq, self.count, *self.lane, *what)


def block_of(row: Sequence[Any]) -> Block:
    """The block of a row of `BLOCK`.

    Raises:
        ValueError, TypeError: the row makes no sense.
    """
    first_seq, count, scope, room, target, body = row
    kinds = (type(first_seq), type(count), type(scope), type(room), type(body))
    if kinds != (int, int, str, str, bytes) or not isinstance(target, str | None):
        raise TypeError(f"block {first_seq} has fields of wrong types")
    if count < 1 or first_seq + count > MOST_SEQ:
        raise ValueError(f"block {first_seq} cannot have {count} entries")
    return Block(first_seq, count, Lane(scope, room), target, unsqueeze(body))


def row_of(block: Block, now_us: int) -> Row:
    """The row of a block that was read; a copy begins to grow old anew."""
    times = [run.received_us for run in block.runs]
    ends = (min(times), max(times))
    born_us = ends[1] if block.target is None else now_us
    return Row(block.count, block.lane, block.target, *ends, born_us, block.body)


def entries_of(block: Block) -> Iterator[Entry]:
    """Its entries, one by one."""
    return (Entry(seq, event, block.target) for seq, event in block.numbered())


def letter_row(letter: DeadLetter) -> tuple[Any, ...]:
    """Its row; an error that is the same as the reason is left empty."""
    entry, reason = letter.entry, letter.reason
    errors = ("" if text == reason else text for text in (letter.first_error, letter.last_error))
    lane = (entry.event.scope, entry.event.room)
    what = (letter.sink, entry.seq, *lane, encode_run(run_of(entry.event)), reason, letter.attempts)
    return (*what, *errors, letter.first_us, letter.dead_us)


def letter_of(row: Sequence[Any]) -> tuple[int, DeadLetter]:
    """The number, and the dead letter, of a row of `LETTER`.

    Raises:
        ValueError, TypeError: the row makes no sense.
    """
    number, sink, seq, scope, room, packed, reason, attempts, first_error, last_error, *times = row
    numbers, texts = (number, seq, attempts, *times), (sink, scope, room, reason, first_error, last_error)
    if not (_all(int, numbers) and _all(str, texts)):
        raise TypeError(f"dead letter {number} has fields of wrong types")
    if seq >= MOST_SEQ or not all(0 <= us < END_OF_TIME_US for us in times):
        raise ValueError(f"dead letter {number} has numbers that no spool comes to")
    entry = Entry(seq, _event(packed, Lane(scope, room)), sink)
    errors = (first_error or reason, last_error or reason)
    return number, DeadLetter(sink, entry, reason, attempts, *errors, *times)


def _event(packed: bytes, lane: Lane) -> Any:
    run = _decode_run(packed)
    if not sound(run):
        raise ValueError("a dead letter without an event")
    return run.unpacked(lane)[0]


def attempt_row(attempt: Attempt) -> tuple[Any, ...]:
    seqs = attempt.seqs
    how = (attempt.number, attempt.started_us, attempt.duration_us, attempt.outcome, attempt.detail)
    return (seqs[0], seqs[-1], encode(_ranges(seqs)), attempt.sink, *how)


def attempt_of(row: Sequence[Any]) -> Attempt:
    """The attempt of a row of `ATTEMPT`.

    Raises:
        ValueError, TypeError: the row makes no sense.
    """
    packed, sink, number, started_us, duration_us, outcome, detail = row
    if not (_all(int, (number, started_us, duration_us)) and _all(str, (sink, outcome, detail))):
        raise TypeError("an attempt has fields of wrong types")
    if not 0 <= started_us < END_OF_TIME_US:
        raise ValueError("an attempt has a time that no calendar has")
    seqs = tuple(seq for first, last in decode(packed) for seq in range(first, last + 1))
    return Attempt(sink, seqs, number, started_us, duration_us, outcome, detail)


def _ranges(seqs: Sequence[int]) -> list[list[int]]:
    """Runs of neighbours as [first, last]: most batches are a few."""
    if seqs[-1] - seqs[0] == len(seqs) - 1:
        return [[seqs[0], seqs[-1]]]
    ranges: list[list[int]] = []
    for seq in seqs:
        if ranges and seq == ranges[-1][1] + 1:
            ranges[-1][1] = seq
        else:
            ranges.append([seq, seq])
    return ranges


def damage_text(report: DamageReport) -> str:
    """The report as it is kept in the new file."""
    what = (report.rescued, report.letters, report.progress_lost)
    return json.dumps([report.moved_to.name, report.error, *what])


def damage_of(text: str, path: Path) -> DamageReport:
    """The report of `damage_text`.

    Raises:
        ValueError, TypeError: it is none.
    """
    name, error, rescued, letters, progress_lost = json.loads(text)
    return DamageReport(path, path.with_name(name), error, rescued, letters, progress_lost)


def _all(wanted: type, values: Iterable[Any]) -> bool:
    return all(type(value) is wanted for value in values)


def blocks_where(
    connection: sqlite3.Connection, terms: str, values: Sequence[Any], max_bytes: int | None = None
) -> list[Block]:
    """The blocks of which `terms` (SQL, what comes after WHERE) hold; about `max_bytes`, at least one.

    Raises:
        sqlite3.DatabaseError: one of them does not decode: nobody further on need think of damage.
    """
    found: list[Block] = []
    with trusting_nothing():
        for row in connection.execute(f"SELECT {BLOCK} FROM blocks WHERE {terms}", values):  # noqa: S608
            found.append(block := block_of(row))
            block.runs  # noqa: B018 - raises, if they do not decode
            if max_bytes is not None:
                max_bytes -= len(block.body)
                if max_bytes <= 0:
                    break
    return found
