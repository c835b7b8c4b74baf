"""What people ask of a spool that may be in use: deliver again, or delete dead letters.

A request is a row that any process may leave in the file. The daemon's writer serves it in small steps: it
copies events to the end of the log, for one sink only. Copies and progress are in one transaction, so a
crash neither repeats nor loses any. Nobody but the writer ever adds to the log.
"""

# ruff: noqa: S608 - the SQL is put together of words of our own; values are bound

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from tdbwatch.daemon.spool import marks
from tdbwatch.daemon.spool.rows import Streams, entry_of
from tdbwatch.daemon.spool.selection import LETTERS, LOG, Selection, teach_globs
from tdbwatch.plugin.event import Event

Kind = Literal["replay", "requeue"]

STEP: Final = 1_000
"""Entries looked at in one step: no commit of new events waits long for it."""
STEP_BYTES: Final = 4 << 20
"""The same for their bytes."""
_MOVE: Final = "UPDATE requests SET position = ? WHERE number = ?"
_MISS: Final = "INSERT OR REPLACE INTO meta VALUES ('missed ' || ?, ?)"
"""What a request found no more is counted in `meta`: the table has no column for it in older files."""
_INSERT: Final = (
    "INSERT INTO requests(kind, sink, selection, position, through, made_us) VALUES (?, ?, ?, ?, ?, ?)"
)
_SOURCES: Final[dict[Kind, str]] = {"replay": LOG, "requeue": LETTERS}


@dataclass(frozen=True, slots=True)
class Request:
    """Deliver to one sink again.

    Attributes:
        kind: `replay`: what was heard, as far as routes send it there; `requeue`: dead letters, which end.
        position: up to this seq (of the log, or number of a dead letter) it is done.
        through: it goes up to this one.
        missed: records that it was about and that went before it came to them; routes were not asked.
    """

    number: int
    kind: Kind
    sink: str
    selection: Selection
    position: int
    through: int
    missed: int = 0

    @property
    def done(self) -> bool:
        return self.position >= self.through

    @property
    def order(self) -> tuple[Kind, str, Selection]:
        """What is asked for, whatever its number and however far it has come."""
        return self.kind, self.sink, self.selection


def ask(connection: sqlite3.Connection, kind: Kind, sink: str, selection: Selection, now_us: int) -> int:
    """Leave a request; how many events or dead letters it is about. Safe beside a running daemon.

    Raises:
        sqlite3.Error: the file cannot be written.
    """
    teach_globs(connection)
    count, through = _extent(connection, kind, sink, selection)  # may take a while, so under no lock
    if count:
        connection.execute(_INSERT, (kind, sink, selection.to_json(), 0, through, now_us))
    return count


def _extent(connection: sqlite3.Connection, kind: Kind, sink: str, selection: Selection) -> tuple[int, int]:
    terms, values = _conditions(kind, sink, selection)
    count, through = connection.execute(
        f"SELECT count(*), max(number) FROM {_SOURCES[kind]} WHERE {terms}", values
    ).fetchone()
    return count, through or 0


def discard(connection: sqlite3.Connection, selection: Selection) -> int:
    """Delete dead letters; how many. Safe beside a running daemon.

    Raises:
        sqlite3.Error: the file cannot be written.
    """
    teach_globs(connection)
    marks.add(connection)  # a daemon that knows of them may not have started since
    terms, values = selection.conditions()
    last = connection.execute("SELECT max(number) FROM dead_letters").fetchone()[0] or 0
    deleted = 0
    for first in range(0, last + 1, STEP):  # in steps: the daemon's commits go in between
        deleted += connection.execute(
            f"DELETE FROM dead_letters WHERE number IN (SELECT number FROM {LETTERS}"
            f" WHERE number BETWEEN ? AND ? AND {terms})",
            (first, min(first + STEP - 1, last), *values),
        ).rowcount
    return deleted


def waiting(connection: sqlite3.Connection) -> list[Request]:
    """The requests that are not done. Those that only a newer version understands are left to it."""
    rows = connection.execute(
        "SELECT number, kind, sink, selection, position, through,"
        " ifnull((SELECT value FROM meta WHERE key = 'missed ' || number), 0) FROM requests ORDER BY number"
    )
    return [request for request in map(_request, rows.fetchall()) if request is not None]


def unknown(connection: sqlite3.Connection) -> int:
    """How many requests this version does not understand, and so leaves alone."""
    count: int = connection.execute("SELECT count(*) FROM requests").fetchone()[0]
    return count - len(waiting(connection))


def _request(row: tuple[Any, ...]) -> Request | None:
    number, kind, sink, text, *numbers = row
    try:
        selection = Selection.from_json(text)
    except (TypeError, ValueError):
        return None
    sound = isinstance(sink, str) and all(isinstance(value, int) for value in numbers)
    return Request(number, kind, sink, selection, *numbers) if kind in _SOURCES and sound else None


def restore(connection: sqlite3.Connection, requests: Iterable[Request]) -> None:
    """Take over the requests of a damaged file, whose dead letters have new numbers. In a transaction."""
    last = connection.execute("SELECT max(number) FROM dead_letters").fetchone()[0] or 0
    for request in requests:
        replay = request.kind == "replay"
        position, through = (request.position, request.through) if replay else (0, last)
        values = (request.kind, request.sink, request.selection.to_json(), position, through, 0)
        number = connection.execute(_INSERT, values).lastrowid
        if request.missed:
            connection.execute(_MISS, (number, request.missed))


def step(
    connection: sqlite3.Connection,
    streams: Streams,
    request: Request,
    wants: Callable[[Event], bool],
    most_bytes: int = STEP_BYTES,
) -> tuple[list[Event], Request]:
    """The next events to deliver, and what is left of the request. Within a transaction of the writer's."""
    source = _SOURCES[request.kind]
    first = connection.execute(
        f"SELECT number FROM {source} WHERE number > ? ORDER BY number LIMIT 1", (request.position,)
    ).fetchone()
    if first is None or first[0] > request.through:
        return [], _moved(connection, request, request.through)
    rows, end = _rows(connection, request, first[0], most_bytes)
    events = [entry_of(row, streams).event for row in rows]
    if request.kind == "requeue":
        connection.executemany("DELETE FROM dead_letters WHERE number = ?", [row[:1] for row in rows])
    else:
        events = [event for event in events if wants(event)]
    return events, _moved(connection, request, end)


def _rows(
    connection: sqlite3.Connection, request: Request, first: int, most_bytes: int
) -> tuple[list[tuple[Any, ...]], int]:
    """What the request is about of the next entries, and up to where these go; at least one."""
    end = min(first + STEP - 1, request.through)
    terms, values = _conditions(request.kind, request.sink, request.selection)
    found = connection.execute(
        f"SELECT number, id, stream, received_us, event, payload FROM {_SOURCES[request.kind]}"
        f" WHERE number BETWEEN ? AND ? AND {terms} ORDER BY number",
        (first, end, *values),
    )
    rows: list[tuple[Any, ...]] = []
    with closing(found):  # read one by one: all of them may be more than memory should hold
        for row in found:
            most_bytes -= len(row[-1]) + len(row[-2])
            if rows and most_bytes < 0:
                return rows, rows[-1][0]
            rows.append(row)
    return rows, end


def miss(connection: sqlite3.Connection, through: int) -> None:
    """Entries up to this one go: count those that replays have not come to. Within a transaction."""
    for request in waiting(connection):
        last = min(through, request.through)
        if request.kind == "replay" and request.position < last:
            count = _ahead(connection, request, request.position, last)
            connection.execute(_MOVE, (last, request.number))
            if count:
                connection.execute(_MISS, (request.number, request.missed + count))


@contextmanager
def missing(connection: sqlite3.Connection, after: int, through: int) -> Iterator[None]:
    """The same for those of these entries that are deleted within."""
    replays = [request for request in waiting(connection) if request.kind == "replay"]
    before = [_ahead(connection, request, after, through) for request in replays]
    yield
    for request, count in zip(replays, before, strict=True):
        if gone := count - (_ahead(connection, request, after, through) if count else 0):
            connection.execute(_MISS, (request.number, request.missed + gone))


def _ahead(connection: sqlite3.Connection, request: Request, after: int, through: int) -> int:
    """How many of these entries a replay is about and has not come to."""
    terms, values = _conditions("replay", request.sink, request.selection)
    query = f"SELECT count(*) FROM {LOG} WHERE number > ? AND number <= ? AND {terms}"
    limits = (max(after, request.position), min(through, request.through))
    count: int = connection.execute(query, (*limits, *values)).fetchone()[0]
    return count


def _conditions(kind: Kind, sink: str, selection: Selection) -> tuple[str, list[Any]]:
    """Of dead letters those of the sink; of the log what was heard, and no copies that requests made."""
    terms, values = replace(selection, sink=sink if kind == "requeue" else None).conditions()
    return (f"target IS NULL AND {terms}" if kind == "replay" else terms), values


def _moved(connection: sqlite3.Connection, request: Request, position: int) -> Request:
    missed = connection.execute("SELECT value FROM meta WHERE key = 'missed ' || ?", (request.number,))
    moved = replace(request, position=position, missed=(missed.fetchone() or (0,))[0])
    if moved.done:
        connection.execute("DELETE FROM requests WHERE number = ?", (request.number,))
        connection.execute("DELETE FROM meta WHERE key = 'missed ' || ?", (request.number,))
    else:
        connection.execute(_MOVE, (position, request.number))
    return moved


def sinks_with_letters(connection: sqlite3.Connection, selection: Selection) -> list[str]:
    """The sinks that have dead letters of this selection."""
    terms, values = selection.conditions()
    rows = connection.execute(f"SELECT DISTINCT sink FROM {LETTERS} WHERE {terms} ORDER BY sink", values)
    return [sink for (sink,) in rows]
