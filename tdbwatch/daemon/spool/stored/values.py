"""What sinks keep for themselves (`context.store`): durable in the commit of what they finish with it."""

import sqlite3
from collections.abc import Mapping
from typing import Final

SinkValues = dict[str, bytes | None]
"""By key, the value as MessagePack; None: it is deleted."""

_SAVE: Final = "INSERT OR REPLACE INTO sink_values VALUES (?, ?, ?)"
_DELETE: Final = "DELETE FROM sink_values WHERE sink = ? AND key = ?"
_ROW_BYTES: Final = 100
"""What a value takes in the file beside its bytes, roughly."""


def save(connection: sqlite3.Connection, changes: Mapping[str, SinkValues]) -> None:
    """Write what changed, by sink. Within a transaction."""
    for sink, values in changes.items():
        kept = [(sink, key, packed) for key, packed in values.items() if packed is not None]
        connection.executemany(_SAVE, kept)
        connection.executemany(_DELETE, [(sink, key) for key, packed in values.items() if packed is None])


def load(connection: sqlite3.Connection) -> dict[str, dict[str, bytes]]:
    """All of them, by sink and key."""
    found: dict[str, dict[str, bytes]] = {}
    for sink, key, packed in connection.execute("SELECT sink, key, value FROM sink_values"):
        if isinstance(sink, str) and isinstance(key, str) and isinstance(packed, bytes):
            found.setdefault(sink, {})[key] = packed
    return found


def weight(changes: Mapping[str, SinkValues]) -> int:
    """Bytes that these will take in the file."""
    sizes = (len(packed or b"") for values in changes.values() for packed in values.values())
    return sum(size + _ROW_BYTES for size in sizes)


def count(connection: sqlite3.Connection) -> dict[str, int]:
    """How many there are, by sink."""
    return dict(connection.execute("SELECT sink, count(*) FROM sink_values GROUP BY sink"))


def forget(connection: sqlite3.Connection, sink: str) -> None:
    """Delete those of one sink. Within a transaction."""
    connection.execute("DELETE FROM sink_values WHERE sink = ?", (sink,))
