"""Which events or dead letters people mean: what the commands about the spool share. Pure."""

import json
import sqlite3
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

LOG: Final = (
    "(SELECT seq AS number, e.id AS id, stream, received_us, event, payload, scope, room, target"
    " FROM events e JOIN streams s ON s.id = stream)"
)
"""The log, with the columns that conditions name."""
LETTERS: Final = (
    "(SELECT number, seq, d.id AS id, stream, received_us, event, payload, scope, room, sink,"
    " reason, attempts, first_error, last_error, first_us, dead_us"
    " FROM dead_letters d JOIN streams s ON s.id = stream)"
)
"""The dead letters, with the same columns and some more."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is None does not matter.

    Attributes:
        ids: of events.
        sink: whose dead letters.
        room, event, scope: globs, as in routes.
        since_us: received at this time or later, in microseconds since the Unix epoch.
    """

    ids: tuple[str, ...] | None = None
    sink: str | None = None
    room: str | None = None
    event: str | None = None
    scope: str | None = None
    since_us: int | None = None

    def conditions(self) -> tuple[str, list[Any]]:
        """SQL over the columns of `LOG` (where no sink is selected) or `LETTERS`, and its values."""
        terms: list[tuple[str, Any]] = [
            ("id IN (SELECT value FROM json_each(?))", None if self.ids is None else json.dumps(self.ids)),
            ("sink = ?", self.sink),
            ("globbed(room, ?)", self.room),
            ("globbed(event, ?)", self.event),
            ("globbed(scope, ?)", self.scope),
            ("received_us >= ?", self.since_us),
        ]
        used = [(sql, value) for sql, value in terms if value is not None]
        return " AND ".join(["1", *(sql for sql, _ in used)]), [value for _, value in used]

    def to_json(self) -> str:
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})

    @classmethod
    def from_json(cls, text: str) -> "Selection":
        """The selection of `to_json`.

        Raises:
            ValueError, TypeError: it is none.
        """
        values = json.loads(text)
        if "ids" in values:
            values["ids"] = tuple(values["ids"])
        selection = cls(**values)
        texts = [selection.sink, selection.room, selection.event, selection.scope, *(selection.ids or ())]
        if not (all(type(text) is str for text in texts if text is not None)):
            raise TypeError("not texts")
        if not isinstance(selection.since_us, int | None):
            raise TypeError("not a time")
        return selection


def teach_globs(connection: sqlite3.Connection) -> None:
    """Make `globbed(text, glob)` known to this connection: globs mean the same here as in routes."""
    connection.create_function("globbed", 2, fnmatchcase, deterministic=True)
