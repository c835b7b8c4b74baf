"""How many dead letters are kept: those of one sick sink must not take the place of everyone's events."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from tdbwatch.daemon.spool.api import DeadLetter
from tdbwatch.daemon.spool.pruning import Limits

_SHARE: Final = 2
"""Dead letters may take one part in so many of `max_size`."""
_ROW_BYTES: Final = 500
"""What a dead letter takes beside its payload, roughly. Only a payload's length can be had unread."""
_SIZES: Final = f"length(payload) + {_ROW_BYTES} AS size FROM dead_letters"


class LetterCount:
    """Counts and bytes of the dead letters; too high where commands have deleted some meanwhile."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._count = self._bytes = 0
        self._recount()

    def added(self, letters: Sequence[DeadLetter]) -> None:
        self._count += len(letters)
        self._bytes += sum(len(letter.entry.event.payload) + _ROW_BYTES for letter in letters)

    def beyond(self, limits: Limits) -> int | None:
        """The number of the newest one that must go; None: all may stay.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        most_bytes = limits.max_size // _SHARE
        if self._count <= limits.max_dead_letters and self._bytes <= most_bytes:
            return None
        self._recount()
        count, size = self._count, self._bytes
        if size > most_bytes:
            most_bytes -= most_bytes // 16  # a few more, rather than some with each that comes
        through = None
        rows = self._connection.execute(f"SELECT number, {_SIZES} ORDER BY number")
        for number, length in rows:
            if count <= limits.max_dead_letters and size <= most_bytes:
                break
            through, count, size = number, count - 1, size - length
        self._count, self._bytes = count, size
        return through

    def _recount(self) -> None:
        query = f"SELECT count(*), ifnull(sum(size), 0) FROM (SELECT {_SIZES})"  # noqa: S608 - our own
        self._count, self._bytes = self._connection.execute(query).fetchone()
