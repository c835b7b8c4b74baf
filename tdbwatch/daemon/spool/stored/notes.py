"""Notes: what a commit makes durable beside events. Each says itself how it is written.

So the way from the event loop to the file is one for all of them, and a commit has to do with those that it
has, and no others.
"""

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

if TYPE_CHECKING:
    from tdbwatch.daemon.spool.stored.store import Store

Waiter = asyncio.Future[Any]


class GoneError(Exception):
    """A row that has to be there is not there any more."""


class Write(NamedTuple):
    """A statement, to be executed once for each of `rows`.

    Attributes:
        size: bytes that it adds to the file, roughly.
        table: where that is counted; empty: nowhere.
        all_there: whether each of the rows has to be found.
    """

    sql: str
    rows: Sequence[Sequence[Any]]
    size: int = 0
    table: str = ""
    all_there: bool = False


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is written within is, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def execute(connection: sqlite3.Connection, writes: Iterable[Write]) -> None:
    """Carry these out. Within a transaction.

    Raises:
        GoneError: a row that has to be there is not.
    """
    for write in writes:
        done = connection.executemany(write.sql, write.rows)
        if write.all_there and done.rowcount < len(write.rows):
            raise GoneError


class Note:
    """What is to be written of one thing; two about the same are one (`merge`).

    Attributes:
        apart: whether it may be durable before the events that were put before it.
    """

    __slots__ = ()
    apart: ClassVar[bool] = False

    @property
    def about(self) -> str:
        """What of its kind it is about."""
        return ""

    @property
    def waiters(self) -> Sequence[Waiter]:
        """Those who wait until it is durable."""
        return ()

    def merge(self, later: Self) -> Self:
        """The two as one; this one may be used for it."""
        return later

    def writes(self) -> Iterable[Write]:
        """How it is written, behind the events of the same commit."""
        return ()

    def written(self, store: "Store") -> None:
        """It is durable: what the store has in memory follows."""


@dataclass(slots=True)
class Flush(Note):
    """Nothing but the wish that all that was put before is durable."""

    waiters: list[Waiter] = field(default_factory=list)

    def merge(self, later: Self) -> Self:
        self.waiters += later.waiters
        return self


class DamageTold(Note):
    """What was put before tells of the damaged file."""

    __slots__ = ()

    def writes(self) -> Iterable[Write]:
        return [Write("DELETE FROM meta WHERE key = 'damage'", [()])]
