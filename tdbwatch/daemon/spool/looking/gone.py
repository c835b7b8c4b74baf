"""Sinks that the configuration does not name any more: what they left behind, and what becomes of it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tdbwatch.daemon.spool.looking.look import Look, opened
from tdbwatch.daemon.spool.looking.stats import stats
from tdbwatch.daemon.spool.stored import orders, progress
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ
from tdbwatch.daemon.spool.stored.notes import execute, transaction
from tdbwatch.daemon.spool.stored.orders import Selection
from tdbwatch.daemon.words import counted

_VALUES: Final = "SELECT sink, count(*) FROM sink_values GROUP BY sink"


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What the spool keeps for a sink that is gone.

    Attributes:
        events: that came while it was configured, and that it has not got.
    """

    sink: str
    events: int
    dead_letters: int
    values: int = 0
    """What it had kept for itself (`context.store`)."""

    def __str__(self) -> str:
        events, letters = counted(self.events, "undelivered event"), counted(self.dead_letters, "dead letter")
        kept = f"{counted(self.values, 'value')} of its store"
        if not self.values:
            return f"{events} and {letters}"
        return f"{events}, {letters} and {kept}" if self.events or self.dead_letters else kept


def left_behind(look: Look, sinks: Collection[str]) -> tuple[LeftBehind, ...]:
    """What there is of others than these sinks, as far as there is anything."""
    gone = look.sinks().difference(sinks)
    states = stats(look).sinks if gone else ()
    kept = dict(look.connection.execute(_VALUES)) if gone else {}
    return tuple(
        LeftBehind(one.sink, one.behind, one.dead_letters, kept.get(one.sink, 0))
        for one in states
        if one.sink in gone and (one.behind or one.dead_letters or one.sink in kept)
    )


def left_in(path: Path, sinks: Collection[str]) -> tuple[LeftBehind, ...]:
    """The same of the spool at `path`.

    Raises:
        OSError, SpoolError, sqlite3.Error: it is not there, or not what it should be.
    """
    with opened(path) as look:
        return left_behind(look, sinks)


def forget(look: Look, sink: str) -> None:
    """Give up what a sink has left behind, for good. Safe beside a daemon that has no such sink."""
    connection = look.connection
    with transaction(connection):
        execute(connection, progress.forgotten(sink))
        connection.execute("DELETE FROM dead_letters WHERE sink = ?", (sink,))
        connection.execute("DELETE FROM orders WHERE sink = ?", (sink,))


_NAMED: Final = (("blocks", "target"), ("dead_letters", "sink"), ("orders", "sink"), ("sink_values", "sink"))


def rename(look: Look, old: str, new: str) -> None:
    """All that is `old`'s becomes `new`'s, which has nothing yet. Only while no daemon has the spool."""
    connection = look.connection
    with transaction(connection):
        progress.rename(connection, old, new)
        for table, column in _NAMED:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))  # noqa: S608


def give(look: Look, old: str, new: str) -> None:
    """Ask the daemon to give all that is `old`'s to `new`, which goes on with what it has itself."""
    orders.insert(look.connection, "move", new, Selection(sink=old), MOST_SEQ)
