"""Attempts and dead letters: what people may ask about later. How many are kept is a limit's matter."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from tdbwatch.daemon.spool.api import Attempt, DeadLetter
from tdbwatch.daemon.spool.file.damage import NONSENSE
from tdbwatch.daemon.spool.stored.rows import ATTEMPT, LETTER, attempt_of, letter_of

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


def attempts_weight(rows: Iterable[Sequence[Any]]) -> int:
    """Bytes that these rows of table `attempts` take, roughly."""
    return sum(len(row[2]) + len(row[8]) + _ATTEMPT_BYTES for row in rows)


def letters_weight(rows: Iterable[Sequence[Any]]) -> int:
    """Bytes that these rows of table `dead_letters` take."""
    return sum(_letter_bytes(len(row[4]) + sum(len(row[n].encode()) for n in (5, 7, 8))) for row in rows)


def _letter_bytes(length: int) -> int:
    """As `LETTER_SIZE`."""
    pages, rest = divmod(length + _LETTER_BYTES, _PAGE)
    return pages * _PAGE + _PAGE // (_PAGE // max(rest, _LETTER_BYTES))


def attempts_at(connection: sqlite3.Connection, seq: int) -> list[Attempt]:
    """What was tried with this entry, in order; rows that make no sense are passed over: that is history."""
    rows = connection.execute(
        f"SELECT {ATTEMPT} FROM attempts WHERE last_seq >= ? AND first_seq <= ?"  # noqa: S608 - our own words
        " ORDER BY started_us, number",
        (seq, seq),
    )
    found: list[Attempt] = []
    for row in rows:
        with suppress(*NONSENSE):
            found.append(attempt_of(row))
    return [attempt for attempt in found if seq in attempt.seqs]


def letters_after(
    connection: sqlite3.Connection, after: int, through: int, sink: str | None = None
) -> Iterator[tuple[int, DeadLetter]]:
    """Dead letters by number, read one by one: all of them may be more than memory should hold."""
    rows = connection.execute(
        f"SELECT {LETTER} FROM dead_letters WHERE number > ? AND number <= ?"  # noqa: S608 - our own words
        " AND (? IS NULL OR sink = ?) ORDER BY number",
        (after, through, sink, sink),
    )
    return map(letter_of, rows)
