"""What the writer tidies up between commits: chores, each in small steps; and keeping tables short is one.

A chore that has something to do says what it did; None: there is nothing to do now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.stored.drops import Tally
from tdbwatch.daemon.spool.stored.history import ATTEMPT_SIZE, LETTER_SIZE
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store
from tdbwatch.daemon.spool.stored.tables import NOTHING, Amount

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

    def due(self, store: Store, now_us: int) -> bool:
        """Whether there may be something to do. Asked after each commit: never of the file."""

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
    unfinished = [one for one in doomed if not reach.finished(one)]
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
        self._before: Amount | None = None
        """What it had beside what this store inserted; None: that is not counted yet."""
        self._trimming = False

    def due(self, store: Store, now_us: int) -> bool:  # noqa: ARG002
        return self._trimming or self._exceeds(store)

    def step(self, store: Store, reach: Reach, now_us: int) -> Step | None:  # noqa: ARG002
        if not self._trimming:
            self._count(store)
            if not self._exceeds(store):
                return None
        numbers, freed = self._oldest(store)
        with store.transaction():
            query = f"DELETE FROM {self._table.name} WHERE number = ?"  # noqa: S608 - our own words
            store.connection.executemany(query, [(number,) for number in numbers])
        assert self._before is not None, "it was counted"
        self._before = self._before.without(freed)
        self._trimming = len(numbers) == _STEP
        return Step(letters=len(numbers) if self._table.told else 0, more=self._trimming) if numbers else None

    def _count(self, store: Store) -> None:
        query = f"SELECT count(*), ifnull(sum({self._table.size}), 0) FROM {self._table.name}"  # noqa: S608
        found = Amount(*store.connection.execute(query).fetchone())
        self._before = found.without(store.inserted[self._table.name])

    def _exceeds(self, store: Store, freed: Amount = NOTHING, slack: int = 0) -> bool:
        if self._before is None:
            return True
        has = self._before.plus(store.inserted[self._table.name]).without(freed)
        most, most_bytes = self._table.most, self._table.most_bytes
        if slack:
            most, most_bytes = most - most // slack, most_bytes - most_bytes // slack
        return has.rows > most or has.size > most_bytes

    def _oldest(self, store: Store) -> tuple[list[int], Amount]:
        """What must go of the oldest, within one step, and how much that is."""
        table, numbers, freed = self._table, list[int](), NOTHING
        query = f"SELECT number, {table.size} FROM {table.name} ORDER BY number LIMIT {_STEP}"  # noqa: S608
        for number, size in store.connection.execute(query).fetchall():
            if not self._exceeds(store, freed, _SLACK):
                break
            numbers.append(number)
            freed = freed.plus(Amount(1, size))
        return numbers, freed
