"""What people ask to be delivered again, as rows that any process may leave in the file.

The daemon serves an order in small steps (`daemon.delivery.redelivery`). Copies and progress are in one
transaction, so a crash neither repeats nor loses any. Nobody but the writer ever adds to the log.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from msgspec import Struct, convert, json

from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.daemon.spool.stored.notes import Write
from tdbwatch.plugin.event import Event

OrderKind = Literal["replay", "requeue", "wake", "move"]
_COLUMNS: Final = "number, kind, sink, selection, position, through, missed"


class Selection(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is None does not matter.

    Attributes:
        ids: of events.
        sink: whose dead letters; or which sink's, where a command says so.
        room, event, scope: globs, as in routes.
        since_us: received at this time or later, in microseconds since the Unix epoch.
        until_us: received before this time.
    """

    ids: tuple[str, ...] | None = None
    sink: str | None = None
    room: str | None = None
    event: str | None = None
    scope: str | None = None
    since_us: int | None = None
    until_us: int | None = None

    def matches(self, event: Event) -> bool:
        """Whether it is about this event, whatever the sink."""
        return (
            (self.since_us is None or event.received_us >= self.since_us)
            and (self.until_us is None or event.received_us < self.until_us)
            and (self.ids is None or event.id in self.ids)
            and (self.room is None or fnmatchcase(event.room, self.room))
            and (self.event is None or fnmatchcase(event.event, self.event))
            and (self.scope is None or fnmatchcase(event.scope, self.scope))
        )


class Order(Struct, frozen=True, array_like=True):
    """What people asked for: deliver to one sink again, or try it now.

    Attributes:
        kind: `replay`: what was heard, as far as routes send it there; `requeue`: dead letters, which end;
            `wake`: nothing but the try, which every order is; `move`: what another sink left behind, which is
            gone from the configuration and which the selection names.
        position: up to this seq (of the log, or number of a dead letter) it is done.
        through: it goes up to this one.
        missed: records that it was about and that went before it came to them; routes were not asked.
    """

    number: int
    kind: OrderKind
    sink: str
    selection: Selection
    position: int
    through: int
    missed: int = 0


def insert(
    connection: sqlite3.Connection, kind: OrderKind, sink: str, selection: Selection, through: int
) -> None:
    """Leave an order. Safe beside a running daemon."""
    row = (None, kind, sink, json.encode(selection).decode(), 0, through, 0)
    connection.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def waiting(connection: sqlite3.Connection) -> list[Order]:
    """The orders that are not done. Those that only a newer version understands are left to it."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM orders ORDER BY number").fetchall()  # noqa: S608
    return [order for order in map(_order, rows) if order is not None]


def unknown(connection: sqlite3.Connection) -> int:
    """How many orders this version does not understand, and so leaves alone."""
    count: int = connection.execute("SELECT count(*) FROM orders").fetchone()[0]
    return count - len(waiting(connection))


def _order(row: tuple[Any, ...]) -> Order | None:
    try:
        number, kind, sink, text, *numbers = row
        return convert((number, kind, sink, json.decode(text), *numbers), Order)
    except (TypeError, ValueError):
        return None


def moved(order: Order, position: int) -> Iterator[Write]:
    """How to say that it is done up to there; all of it, where that is its end."""
    if position < order.through:
        yield Write("UPDATE orders SET position = ? WHERE number = ?", [(position, order.number)])
        return
    yield Write("DELETE FROM orders WHERE number = ?", [(order.number,)])
    if order.kind == "move":
        for table in ("dead_letters", "orders"):
            query = f"UPDATE {table} SET sink = ? WHERE sink = ?"  # noqa: S608
            yield Write(query, [(order.sink, order.selection.sink)])


def replays(connection: sqlite3.Connection) -> list[Order]:
    """Of these the replays."""
    return [order for order in waiting(connection) if order.kind == "replay"]


def miss(connection: sqlite3.Connection, blocks: Iterable[Block]) -> None:
    """These blocks go: count what of them replays have not come to. Within a transaction."""
    missed: Counter[int] = Counter()
    asked = replays(connection)
    for block in blocks:
        for order in asked:
            missed[order.number] += len(ahead(order, block))
    query = "UPDATE orders SET missed = missed + ? WHERE number = ?"
    connection.executemany(query, [(count, number) for number, count in missed.items() if count])


def ahead(order: Order, block: Block) -> list[Event]:
    """What of a block a replay is about and has not come to; nothing of copies that orders made."""
    if block.target is not None or block.last_seq <= order.position or block.first_seq > order.through:
        return []
    within = (event for seq, event in block.numbered() if order.position < seq <= order.through)
    return list(filter(order.selection.matches, within))
