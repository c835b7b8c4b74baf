"""What routes remember of events: durable in the commit of the event that it is about."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from tdbwatch.daemon.spool.stored.notes import Note, Write

_SAVE: Final = "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)"
_FORGET: Final = "DELETE FROM marks WHERE route = ? AND key = ? AND part <= ?"
_LOAD: Final = (
    "SELECT route, key, part, state FROM marks WHERE typeof(route) = 'text' AND typeof(key) = 'text'"
    " AND typeof(part) = 'integer' AND typeof(state) = 'blob' ORDER BY 1, 2, 3"
)
_ROW_BYTES: Final = 100


class Mark(NamedTuple):
    """What a route remembers of the events with one key, or a part of it.

    Attributes:
        route: which route, as `Rule.key` says it.
        key: what the events have in common.
        part: which part; a number that is never used for another one while this one is remembered.
        state: MessagePack; empty: nothing any more of this part and those with smaller numbers.
    """

    route: str
    key: str
    part: int
    state: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        return len(self.key) + len(self.state) + _ROW_BYTES


@dataclass(slots=True)
class Marks(Note):
    """What routes remember now, in order."""

    marks: list[Mark]

    def merge(self, later: Self) -> Self:
        self.marks += later.marks
        return self

    def writes(self) -> Iterable[Write]:
        """What is left of them in the end."""
        kept: dict[tuple[str, str], dict[int, Mark]] = {}
        forgotten: list[tuple[str, str, int]] = []
        for mark in self.marks:
            parts = kept.setdefault(mark[:2], {})
            if mark.state:
                parts[mark.part] = mark
            else:
                forgotten.append(mark[:3])
                kept[mark[:2]] = {part: one for part, one in parts.items() if part > mark.part}
        yield Write(_FORGET, forgotten)
        left = [mark for parts in kept.values() for mark in parts.values()]
        yield Write(_SAVE, left, sum([mark.size for mark in left]))


def load(connection: sqlite3.Connection) -> list[Mark]:
    """All of them that make sense, the parts of each key in order."""
    return [Mark(*row) for row in connection.execute(_LOAD)]
