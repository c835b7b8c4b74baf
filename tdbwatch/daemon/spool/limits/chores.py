"""What the writer tidies up between commits: chores, each in small steps; and keeping tables short is one.

A chore that has something to do says what it did; None: there is nothing to do now.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.stored.drops import Tally
from tdbwatch.daemon.spool.stored.history import ATTEMPT_SIZE, LETTER_SIZE
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store

_LETTER_SHARE: Final = 2
"""Dead letters may take one part in so many of `max_size`."""
_ATTEMPT_SHARE: Final = 8
_MOST_ATTEMPTS: Final = 1_000_000
_SLACK: Final = 16
"""One part in so many goes beyond what must: rather a few at once than some with each that comes."""
_STEP: Final = 1_000


@dataclass(slots=True)
class Step:
    """What one step of a chore did.

    Attributes:
        gone: blocks that were deleted.
        tally: of these, what nobody gets any more.
        letters: dead letters that were deleted.
        more: whether there is more to do at once.
    """

    gone: Sequence[Gone] = ()
    tally: Tally | None = None
    letters: int = 0
    more: bool = field(default=True, kw_only=True)


class Chore(Protocol):
    """Something to be done now and then, in the writer's thread."""

    def step(self, store: Store, reach: Reach, now_us: int) -> Step | None:
        """Do a little, so that no commit of new events waits long for it.

        Args:
            reach: what all sinks have finished.
            now_us: microseconds since the Unix epoch, by a clock that does not leap.

        Raises:
            sqlite3.Error: it could not be done.
        """


def undelivered(store: Store, reach: Reach, doomed: Sequence[Gone], reason: str) -> Tally:
    """What of these blocks some sink is still to get."""
    tally = Tally(reason)
    unfinished = [one for one in doomed if not reach.finished(one.last_seq, one.lane, one.target)]
    for block in store.load(unfinished):
        seqs = range(block.first_seq, block.last_seq + 1)
        lost = reach.unfinished(seqs, block.lane, block.target)
        tally.add_events(event for seq, event in block.numbered() if seq in lost)
    return tally


@dataclass(frozen=True, slots=True)
class Table:
    """A table of which the newest rows are kept.

    Attributes:
        size: SQL for the bytes that a row takes.
        most, most_bytes: what is kept.
        told: whether people are told of what goes.
    """

    name: str
    size: str
    most: int
    most_bytes: int
    told: bool


def kept_tables(limits: Limits) -> tuple[Table, Table]:
    """Dead letters and attempts."""
    letters, attempts = limits.max_size // _LETTER_SHARE, limits.max_size // _ATTEMPT_SHARE
    return (
        Table("dead_letters", LETTER_SIZE, limits.max_dead_letters, letters, told=True),
        Table("attempts", ATTEMPT_SIZE, _MOST_ATTEMPTS, attempts, told=False),
    )


class Newest:
    """The chore of keeping a table within its bounds.

    What others delete is not counted until there seems to be too much; then all is counted again.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._seen = self._count = self._bytes = 0
        self._trimming = False

    def step(self, store: Store, reach: Reach, now_us: int) -> Step | None:  # noqa: ARG002
        self._look(store.connection)
        if not self._trimming and self._exceeds():
            self._seen = self._count = self._bytes = 0
            self._look(store.connection)
        self._trimming = self._trimming or self._exceeds()
        if not self._trimming or not (numbers := self._oldest(store.connection)):
            self._trimming = False
            return None
        with store.transaction():
            query = f"DELETE FROM {self._table.name} WHERE number = ?"  # noqa: S608 - our own words
            store.connection.executemany(query, [(number,) for number in numbers])
        self._trimming = len(numbers) == _STEP
        return Step(letters=len(numbers) if self._table.told else 0, more=self._trimming)

    def _look(self, connection: sqlite3.Connection) -> None:
        """Count what is new."""
        table = self._table
        query = f"SELECT max(number), count(*), sum({table.size}) FROM {table.name} WHERE number > ?"  # noqa: S608
        seen, count, size = connection.execute(query, (self._seen,)).fetchone()
        if count:
            self._seen, self._count, self._bytes = seen, self._count + count, self._bytes + size

    def _oldest(self, connection: sqlite3.Connection) -> list[int]:
        """What must go of the oldest, within one step."""
        table, numbers = self._table, list[int]()
        query = f"SELECT number, {table.size} FROM {table.name} ORDER BY number LIMIT {_STEP}"  # noqa: S608
        for number, size in connection.execute(query).fetchall():
            if not self._exceeds(_SLACK):
                break
            numbers.append(number)
            self._count -= 1
            self._bytes -= size
        return numbers

    def _exceeds(self, slack: int = 0) -> bool:
        most, most_bytes = self._table.most, self._table.most_bytes
        if slack:
            most, most_bytes = most - most // slack, most_bytes - most_bytes // slack
        return self._count > most or self._bytes > most_bytes
