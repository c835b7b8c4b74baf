"""What routes that hold events back remember of them: durable in the commit of the event that it is about."""

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

_SAVE: Final = "INSERT OR REPLACE INTO marks VALUES (?, ?, ?)"
_FORGET: Final = "DELETE FROM marks WHERE route = ? AND key = ?"


class Mark(NamedTuple):
    """What a route remembers of the events with one key.

    Attributes:
        route: which route, as `Rule.key` says it.
        key: what the events have in common.
        state: MessagePack; empty: nothing any more.
    """

    route: str
    key: str
    state: bytes


def save(connection: sqlite3.Connection, marks: Iterable[Mark]) -> None:
    """Keep the newest of each key. Within a transaction."""
    newest = {(mark.route, mark.key): mark for mark in marks}
    connection.executemany(_SAVE, [mark for mark in newest.values() if mark.state])
    connection.executemany(_FORGET, [key for key, mark in newest.items() if not mark.state])


def load(connection: sqlite3.Connection) -> list[Mark]:
    """All of them."""
    return [Mark(*row) for row in connection.execute("SELECT route, key, state FROM marks")]
