"""The sink: a batch is one statement. What an id has brought once, it does not bring again."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
from tdbwatch.plugin import DELIVERED, Event, Outcome, Rejected, Retry, Sink, SinkContext, sink

from tdbwatch_postgres.options import PostgresOptions

_SHARE: Final = 0.9
"""Of the sink's timeout: what is done by then can still be said."""
_TO_CONNECT: Final = 5.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

COLUMNS: Final = {
    "id": "uuid PRIMARY KEY",
    "time": "timestamptz NOT NULL",
    "kind": "text NOT NULL",
    "scope": "text NOT NULL",
    "room": "text NOT NULL",
    "event": "text NOT NULL",
    "record": "jsonb NOT NULL",
}
_OF_DATA: Final = frozenset({"22", "23", "54"})
"""Classes of SQLSTATE that are about what is written: data exceptions, constraints, limits."""
_OF_SET_UP: Final = frozenset({"0A", "28", "3D", "3F", "42"})
"""Those that somebody has to mend: no such database, schema, table, column; no right; a refused login."""


@sink("postgres", batch_count=500)
class PostgresSink(Sink):
    """Writes events to a PostgreSQL table, each id once."""

    Options = PostgresOptions

    def __init__(self, options: PostgresOptions, context: SinkContext) -> None:
        super().__init__(options, context)
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()  # a connection does one thing at a time
        types = ", ".join(f"${n}::{kind.split()[0]}[]" for n, kind in enumerate(COLUMNS.values(), 1))
        self._insert_sql = (
            f"INSERT INTO {options.quoted_table} ({', '.join(COLUMNS)}) "
            f"SELECT * FROM unnest({types}) ON CONFLICT (id) DO NOTHING"
        )

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()  # nothing is under way, and a server that is stuck says no goodbye

    async def deliver(self, batch: Sequence[Event]) -> Outcome | Sequence[Outcome]:
        outcomes: list[Outcome] = []
        seconds = _SHARE * self.options.timeout
        try:
            async with self._turn, asyncio.timeout(seconds):
                await self._insert(batch, outcomes)
        except TimeoutError:
            trouble = Retry(f"no answer within {seconds:.3g} s")
        except asyncpg.PostgresError as error:
            trouble = _failed(error)
        except (asyncpg.InterfaceError, OSError) as error:
            trouble = Retry(str(error) or type(error).__name__)
        except BaseException:
            await self.close()
            raise
        else:
            return outcomes
        await self.close()  # whatever state it is in
        return outcomes or trouble  # what is left out comes again

    async def _insert(self, batch: Sequence[Event], outcomes: list[Outcome]) -> None:
        """Write a batch; where something in it cannot be written, its halves, so that the rest is.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: it is no matter of the events.
        """
        connection = await self._connected()
        try:
            await connection.execute(self._insert_sql, *_columns(batch))
        except asyncpg.PostgresError as error:
            if _class_of(error) not in _OF_DATA:
                raise
            if len(batch) == 1:
                outcomes.append(Rejected(_said(error)))
                return
            half = len(batch) // 2
            await self._insert(batch[:half], outcomes)
            await self._insert(batch[half:], outcomes)
        else:
            outcomes += [DELIVERED] * len(batch)

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            options = self.options
            self._connection = await asyncpg.connect(
                options.url.get_secret_value(),
                password=options.password.get_secret_value() if options.password else None,
                ssl=options.ssl_context() or False,
                timeout=min(_TO_CONNECT, _SHARE / 2 * options.timeout),
                statement_cache_size=0,  # PgBouncer may be in between
                server_settings={"application_name": f"tdbwatch {self.context.name}"[:63]},
            )
            if options.create:
                await self._create(self._connection)
        return self._connection

    async def _create(self, connection: asyncpg.Connection) -> None:
        """Create the table if it is not there; only then a right to do so is needed."""
        table = self.options.quoted_table
        if await connection.fetchval("SELECT to_regclass($1)", table) is None:
            columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
            try:
                await connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
            except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError):
                return  # another one was faster


def _columns(batch: Sequence[Event]) -> Sequence[Sequence[Any]]:
    rows = [
        (
            UUID(event.id),
            _EPOCH + timedelta(microseconds=event.received_us),
            str(event.kind),
            event.scope,
            event.room,
            event.event,
            event.json().decode(),
        )
        for event in batch
    ]
    return list(zip(*rows, strict=True))


def _class_of(error: asyncpg.PostgresError) -> str:
    return (error.sqlstate or "")[:2]


def _failed(error: asyncpg.PostgresError) -> Retry:
    if _class_of(error) in _OF_SET_UP:
        return Retry(f"{_said(error)}; mend it there, or url, password, table", pause=True)
    return Retry(_said(error))


def _said(error: asyncpg.PostgresError) -> str:
    """Its first line; what follows may quote the row."""
    return f"{str(error).partition(chr(10))[0]} ({error.sqlstate})"
