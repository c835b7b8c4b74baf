"""What is wrong with a spool's file: all that the daemon would take for damage."""

import sqlite3
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, Final

from tdbwatch.daemon.spool.file.damage import trusting_nothing
from tdbwatch.daemon.spool.stored import drops, progress
from tdbwatch.daemon.spool.stored.history import letters_after
from tdbwatch.daemon.spool.stored.rows import blocks_where

_BLOCKS: Final = "SELECT first_seq FROM blocks NOT INDEXED ORDER BY first_seq"
_LETTERS: Final = "SELECT number FROM dead_letters ORDER BY number"


def faults(connection: sqlite3.Connection, most: int) -> list[str]:
    """What SQLite finds wrong, and then rows that make no sense; so many at most.

    Raises:
        sqlite3.DatabaseError: it is so damaged that SQLite does not even say where.
    """
    with trusting_nothing():
        found = [row[0] for row in connection.execute(f"PRAGMA integrity_check({most})")]
    return list(islice(_nonsense(connection), most)) if found == ["ok"] else found


def _nonsense(connection: sqlite3.Connection) -> Iterator[str]:
    def asked(question: Callable[..., Any], *args: Any) -> Iterator[str]:
        try:
            with trusting_nothing():
                question(connection, *args)
        except sqlite3.DatabaseError as error:
            yield str(error)

    yield from chain(asked(progress.load), asked(drops.unsettled))
    for (first_seq,) in connection.execute(_BLOCKS):
        yield from asked(_read_block, first_seq)
    for (number,) in connection.execute(_LETTERS):
        yield from asked(_read_letter, number)


def _read_block(connection: sqlite3.Connection, first_seq: int) -> None:
    blocks_where(connection, "first_seq = ?", (first_seq,))


def _read_letter(connection: sqlite3.Connection, number: int) -> None:
    list(letters_after(connection, number - 1, number))
