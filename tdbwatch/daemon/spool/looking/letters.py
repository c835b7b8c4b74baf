"""The dead letters, and what may be done with them."""

import sqlite3
from collections.abc import Iterator
from typing import Final

from tdbwatch.daemon.spool.api import DeadLetter
from tdbwatch.daemon.spool.file.damage import trusting_nothing
from tdbwatch.daemon.spool.stored.history import letters_after
from tdbwatch.daemon.spool.stored.selection import Selection

_PAGE_LETTERS: Final = 1_000


class DeadLetters:
    """The dead letters, read a page at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def some(self, selection: Selection, *, last: int = -1) -> Iterator[DeadLetter]:
        """The dead letters, in the order in which they became so.

        Args:
            last: only so many, the newest; -1: all.
        """
        found = (letter for _, letter in self.numbered(selection))
        if last < 0:
            yield from found
            return
        numbers = [number for number, _ in self.numbered(selection)][-last:] if last else []
        if numbers:
            yield from (letter for _, letter in self.numbered(selection, numbers[0] - 1))

    def numbered(self, selection: Selection, after: int = 0) -> Iterator[tuple[int, DeadLetter]]:
        """The same with their numbers, from the one after `after` on."""
        through = self._last_letter()
        while after < through:
            end = min(after + _PAGE_LETTERS, through)
            with trusting_nothing():
                page = list(letters_after(self._connection, after, end, selection.sink))
            yield from (each for each in page if selection.matches(each[1].entry.event))
            after = end

    def _last_letter(self) -> int:
        last: int = self._connection.execute("SELECT ifnull(max(number), 0) FROM dead_letters").fetchone()[0]
        return last

    def discard(self, selection: Selection) -> int:
        """Delete dead letters; how many. Safe beside a running daemon, whose commits go in between."""
        deleted, doomed = 0, [number for number, _ in self.numbered(selection)]
        for start in range(0, len(doomed), _PAGE_LETTERS):
            page = [(number,) for number in doomed[start : start + _PAGE_LETTERS]]
            query = "DELETE FROM dead_letters WHERE number = ?"
            deleted += self._connection.executemany(query, page).rowcount
        return deleted

    def sinks(self, selection: Selection) -> list[str]:
        """The sinks that have dead letters of this selection."""
        return sorted({letter.sink for letter in self.some(selection)})
