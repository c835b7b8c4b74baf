"""Attempts and dead letters: what people may ask about later. How many are kept is a limit's matter."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec

from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry
from tdbwatch.daemon.spool.errors import NONSENSE
from tdbwatch.daemon.spool.spans import spans_of
from tdbwatch.daemon.spool.stored.blocks import (
    END_OF_TIME_US,
    MOST_SEQ,
    Lane,
    Run,
    encode_run,
    run_of,
    sound,
)
from tdbwatch.daemon.spool.stored.log import weight
from tdbwatch.daemon.spool.stored.notes import Note, Write
from tdbwatch.daemon.spool.stored.orders import Order
from tdbwatch.daemon.spool.stored.tables import fits
from tdbwatch.wire.codec import decode, encode

INSERT_LETTER: Final = "INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LETTERS: Final = (
    "SELECT number, sink, seq, scope, room, run, reason, attempts, first_error, last_error, first_us, dead_us"
    " FROM dead_letters WHERE (? IS NULL OR sink = ?)"
)
_LETTER_KINDS: Final = (int, str, int, str, str, bytes, str, int, str, str, int, int)
_INSERT_ATTEMPT: Final = "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ATTEMPTS: Final = (
    "SELECT seqs, sink, attempt, started_us, duration_us, outcome, detail FROM attempts"
    " WHERE last_seq >= ? AND first_seq <= ? ORDER BY started_us, number"
)
_ATTEMPT_KINDS: Final = (bytes, str, int, int, int, str, str)
_decode_run: Final = msgspec.msgpack.Decoder(Run).decode
_MOST_ATTEMPTS: Final = 20_000
"""So many wait for a commit, and no more."""
_ATTEMPT_BYTES: Final = 90
"""What an attempt takes beside the texts that vary, roughly."""
_LETTER_BYTES: Final = 130
_PAGE: Final = 4096
_OCTETS: Final = "octet_length({})" if sqlite3.sqlite_version_info >= (3, 43) else "length(CAST({} AS BLOB))"
"""Bytes of a text; only newer versions of SQLite have them without reading it."""
_LENGTH: Final = "ifnull(length(run) + {} + {} + {}, 0)".format(
    *map(_OCTETS.format, ("reason", "first_error", "last_error"))
)
ATTEMPT_SIZE: Final = f"length(seqs) + length(detail) + {_ATTEMPT_BYTES}"
LETTER_SIZE: Final = (
    f"({_LENGTH} + {_LETTER_BYTES}) / {_PAGE} * {_PAGE}"
    f" + {_PAGE} / ({_PAGE} / max(({_LENGTH} + {_LETTER_BYTES}) % {_PAGE}, {_LETTER_BYTES}))"
)
"""SQL for the bytes that a row takes: about as SQLite lays it out, in pages of its own, and the rest in one
that others fit into, or not."""


def letter_row(letter: DeadLetter, number: int | None = None) -> tuple[Any, ...]:
    """Its row; an error that is the same as the reason is left empty.

    Args:
        number: None: the next one.
    """
    entry, reason = letter.entry, letter.reason
    errors = ("" if text == reason else text for text in (letter.first_error, letter.last_error))
    lane = (entry.event.scope, entry.event.room)
    what = (number, letter.sink, entry.seq, *lane, encode_run(run_of(entry.event)), reason, letter.attempts)
    return (*what, *errors, letter.first_us, letter.dead_us)


def write_letters(letters: Iterable[DeadLetter]) -> Write:
    """How these are written."""
    rows = list(map(letter_row, letters))
    return Write(INSERT_LETTER, rows, weight(rows, 5, 6, 8, 9), "dead_letters")


def letter_of(row: Sequence[Any]) -> tuple[int, DeadLetter]:
    """The number, and the dead letter, of a row of `_LETTERS`.

    Raises:
        ValueError, TypeError: the row makes no sense.
    """
    number, sink, seq, scope, room, packed, reason, attempts, first_error, last_error, *times = row
    if not fits(row, _LETTER_KINDS):
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


@dataclass(slots=True)
class Attempts(Note):
    """What was tried since. Only history: where too many wait, or the disk does not take them, they go."""

    attempts: list[Attempt]
    apart = True

    def merge(self, later: Self) -> Self:
        if len(self.attempts) < _MOST_ATTEMPTS:
            self.attempts += later.attempts
        return self

    def writes(self) -> Iterable[Write]:
        rows = list(map(_attempt_row, self.attempts))
        return [Write(_INSERT_ATTEMPT, rows, weight(rows, 3, 9), "attempts")]


def _attempt_row(attempt: Attempt) -> tuple[Any, ...]:
    seqs = attempt.seqs
    dense = seqs[-1] - seqs[0] == len(seqs) - 1  # most are
    spans = ((seqs[0], seqs[-1]),) if dense else spans_of(seqs)
    how = (attempt.number, attempt.started_us, attempt.duration_us, attempt.outcome, attempt.detail)
    return (None, seqs[0], seqs[-1], encode(spans), attempt.sink, *how)


def attempt_of(row: Sequence[Any]) -> Attempt:
    """The attempt of a row of `_ATTEMPTS`.

    Raises:
        ValueError, TypeError: the row makes no sense.
    """
    packed, sink, number, started_us, duration_us, outcome, detail = row
    if not fits(row, _ATTEMPT_KINDS):
        raise TypeError("an attempt has fields of wrong types")
    if not 0 <= started_us < END_OF_TIME_US:
        raise ValueError("an attempt has a time that no calendar has")
    seqs = tuple(seq for first, last in decode(packed) for seq in range(first, last + 1))
    return Attempt(sink, seqs, number, started_us, duration_us, outcome, detail)


def attempts_at(connection: sqlite3.Connection, seq: int) -> list[Attempt]:
    """What was tried with this entry, in order; rows that make no sense are passed over: that is history."""
    found: list[Attempt] = []
    for row in connection.execute(_ATTEMPTS, (seq, seq)):
        with suppress(*NONSENSE):
            found.append(attempt_of(row))
    return [attempt for attempt in found if seq in attempt.seqs]


def letters_after(
    connection: sqlite3.Connection, after: int, through: int, sink: str | None = None
) -> Iterator[tuple[int, DeadLetter]]:
    """Dead letters by number, read one by one: all of them may be more than memory should hold."""
    query = f"{_LETTERS} AND number > ? AND number <= ? ORDER BY number"
    return map(letter_of, connection.execute(query, (sink, sink, after, through)))


def letter_at(connection: sqlite3.Connection, number: int) -> DeadLetter | None:
    """The one with this number; None: there is none."""
    return dict(letters_after(connection, number - 1, number)).get(number)


def letters_before(
    connection: sqlite3.Connection, most: int, sink: str | None = None
) -> Iterator[tuple[int, DeadLetter]]:
    """The last dead letters, the newest first; rows that make no sense are passed over."""
    for row in connection.execute(f"{_LETTERS} ORDER BY number DESC LIMIT ?", (sink, sink, most)):
        with suppress(*NONSENSE):
            yield letter_of(row)


def letters_of(
    connection: sqlite3.Connection, order: Order, limit: int, max_bytes: int
) -> list[tuple[int, Entry]]:
    """The next dead letters of a requeue, with their numbers."""
    found: list[tuple[int, Entry]] = []
    for number, letter in letters_after(connection, order.position, order.through, order.sink):
        if order.selection.matches(letter.entry.event):
            found.append((number, letter.entry))
            max_bytes -= len(letter.entry.event.payload)
            if len(found) >= limit or max_bytes <= 0:
                break
    return found
