"""Entries as rows and back, and the streams that rows refer to."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry
from tdbwatch.plugin.event import Event
from tdbwatch.wire.codec import decode, encode

_INSERT_EVENT: Final = (
    "INSERT INTO events(seq, id, stream, received_us, event, payload) VALUES (?, ?, ?, ?, ?, ?)"
)
_ROWS: Final = 100
_INSERT_EVENTS: Final = _INSERT_EVENT + ", (?, ?, ?, ?, ?, ?)" * (_ROWS - 1)
"""Between statements Python's lock is taken and let go of: with one for each event, threads mostly wait."""
INSERT_LETTER: Final = (
    "INSERT INTO dead_letters(sink, seq, id, stream, received_us, event, payload, reason, attempts,"
    " first_error, last_error, first_us, dead_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_ATTEMPT: Final = "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT_STREAMS: Final = (
    "SELECT id, kind, scope, room, room_id, arg_names, target FROM streams WHERE id > ? AND id <= ?"
)
_LARGEST: Final = (1 << 63) - 1
SELECT_EVENTS: Final = (
    "SELECT seq, id, stream, received_us, event, payload FROM events"
    " WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
)
SELECT_LETTERS: Final = (
    "SELECT sink, seq, id, stream, received_us, event, payload, reason, attempts, first_error, last_error,"
    " first_us, dead_us FROM dead_letters WHERE number > ? AND number <= ? ORDER BY number"
)

Key = tuple[str, str, str, int | None, tuple[str, ...], str | None]
"""kind, scope, room, room id, names of arguments, target: what events of one stream have in common."""


class Streams:
    """The streams' numbers, as far as this connection has seen them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._numbers: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._unsure: list[Key] = []
        self._load()

    def number(self, event: Event, target: str | None = None) -> int:
        """The stream of this event; written if it is new. Only within a transaction."""
        key = (event.kind, event.scope, event.room, event.room_id, event.arg_names, target)
        found = self._numbers.get(key)
        return self._add(key) if found is None else found

    def key(self, number: int) -> Key:
        """What the stream of this number stands for."""
        if number not in self._keys:
            self._load()
        return self._keys[number]

    def known(self) -> dict[int, Key]:
        """All streams that there are."""
        self._load()
        return dict(self._keys)

    def settle(self, *, committed: bool) -> None:
        """The transaction is over: forget the streams that it did not keep."""
        if not committed:
            for key in self._unsure:
                del self._keys[self._numbers.pop(key)]
        self._unsure.clear()

    def _add(self, key: Key) -> int:
        kind, scope, room, room_id, names, target = key
        row = (kind, scope, room, room_id, json.dumps(names), target)
        done = self._connection.execute(
            "INSERT INTO streams(kind, scope, room, room_id, arg_names, target) VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
        assert done.lastrowid is not None
        self._numbers[key], self._keys[done.lastrowid] = done.lastrowid, key
        self._unsure.append(key)
        return done.lastrowid

    def _load(self) -> None:
        for row in self._connection.execute(SELECT_STREAMS, (max(self._keys, default=0), _LARGEST)):
            self._take(row)

    def _take(self, row: Sequence[Any]) -> None:
        number, kind, scope, room, room_id, text, target = row
        names = tuple(json.loads(text))
        texts = (kind, scope, room, *names, *(() if target is None else (target,)))
        if not (_all(str, texts) and (room_id is None or type(room_id) is int)):
            raise TypeError(f"stream {number} has fields of wrong types")
        key = (kind, scope, room, room_id, names, target)
        self._numbers[key], self._keys[number] = number, key


def _all(wanted: type, values: Iterable[Any]) -> bool:
    return all(type(value) is wanted for value in values)


def insert_events(connection: sqlite3.Connection, entries: Sequence[Entry], streams: Streams) -> None:
    """Write the rows of table `events`. Only within a transaction."""
    for start in range(0, len(entries), _ROWS):
        rows = _event_rows(entries[start : start + _ROWS], streams)
        if len(rows) == _ROWS:
            connection.execute(_INSERT_EVENTS, list(chain.from_iterable(rows)))
        else:
            connection.executemany(_INSERT_EVENT, rows)


def _event_rows(entries: Iterable[Entry], streams: Streams) -> list[tuple[Any, ...]]:
    number = streams.number
    return [
        (entry.seq, event.id, number(event, entry.target), event.received_us, event.event, event.payload)
        for entry in entries
        for event in (entry.event,)
    ]


def entry_of(row: Sequence[Any], streams: Streams) -> Entry:
    """The entry of a row of `SELECT_EVENTS`.

    Raises:
        KeyError, TypeError: the row makes no sense.
    """
    seq, event_id, stream, received_us, name, payload = row
    if not (type(payload) is bytes and type(name) is type(event_id) is str and type(received_us) is int):
        raise TypeError(f"entry {seq} has fields of wrong types")
    kind, scope, room, room_id, names, target = streams.key(stream)
    event = Event(event_id, kind, received_us, scope, room, room_id, name, payload, names)
    return Entry(seq, event, target)


def letter_rows(letters: Iterable[DeadLetter], streams: Streams) -> list[tuple[Any, ...]]:
    """The rows of table `dead_letters`."""
    return [_letter_row(letter, streams.number(letter.entry.event)) for letter in letters]


def _letter_row(letter: DeadLetter, stream: int) -> tuple[Any, ...]:
    seq, event = letter.entry.seq, letter.entry.event
    what = (letter.sink, seq, event.id, stream, event.received_us, event.event, event.payload)
    reason, first_error, last_error = texts_kept(letter)
    return (*what, reason, letter.attempts, first_error, last_error, letter.first_us, letter.dead_us)


def texts_kept(letter: DeadLetter) -> tuple[str, str, str]:
    """Reason, first and last error as they are written: an empty error is the same as the reason."""
    reason = letter.reason
    errors = (letter.first_error, letter.last_error)
    first_error, last_error = ("" if text == reason else text for text in errors)
    return reason, first_error, last_error


def letter_of(row: Sequence[Any], streams: Streams) -> DeadLetter:
    """The dead letter of a row of `SELECT_LETTERS`.

    Raises:
        KeyError, TypeError: the row makes no sense.
    """
    sink, *what, reason, attempts, first_error, last_error, first_us, dead_us = row
    entry = entry_of(what, streams)
    texts, numbers = (sink, reason, first_error, last_error), (entry.seq, attempts, first_us, dead_us)
    if not (_all(str, texts) and _all(int, numbers)):
        raise TypeError(f"a dead letter of entry {entry.seq} has fields of wrong types")
    errors = (first_error or reason, last_error or reason)
    return DeadLetter(sink, entry, reason, attempts, *errors, first_us, dead_us)


def attempt_rows(attempts: Iterable[Attempt]) -> list[tuple[Any, ...]]:
    """The rows of table `attempts`."""
    return [
        (
            attempt.seqs[0],
            attempt.seqs[-1],
            encode(_ranges(attempt.seqs)),
            attempt.sink,
            attempt.number,
            attempt.started_us,
            attempt.duration_us,
            attempt.outcome,
            attempt.detail,
        )
        for attempt in attempts
    ]


def attempt_of(row: Sequence[Any]) -> Attempt:
    """The attempt of a row of table `attempts`."""
    _, _, packed, sink, number, started_us, duration_us, outcome, detail = row
    seqs = tuple(seq for first, last in decode(packed) for seq in range(first, last + 1))
    return Attempt(sink, seqs, number, started_us, duration_us, outcome, detail)


def _ranges(seqs: Sequence[int]) -> list[list[int]]:
    """Runs of neighbours as [first, last]: most batches are one run."""
    if seqs[-1] - seqs[0] == len(seqs) - 1:
        return [[seqs[0], seqs[-1]]]
    ranges: list[list[int]] = []
    for seq in seqs:
        if ranges and seq == ranges[-1][1] + 1:
            ranges[-1][1] = seq
        else:
            ranges.append([seq, seq])
    return ranges
