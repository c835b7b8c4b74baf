"""The sink does what the daemon expects of every sink, with a real server that fails, stalls and is killed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from tdbwatch.plugin import Event
from tdbwatch.testing import Program, SinkConformance, make_event

from tdbwatch_postgres import PostgresSink

_TABLE = "SELECT to_regclass('tdbwatch_events')::text AS it"


class TestPostgres(SinkConformance):
    sink = PostgresSink

    @pytest.fixture(autouse=True)
    def _server(self, server: Program, sql: Callable[..., list[Any]]) -> Iterator[None]:
        self.server, self.sql = server, sql
        url = f"postgresql://postgres@127.0.0.1:{server.port}/postgres"
        self.options = {"url": url, "timeout": "5s"}
        yield
        ids = self.delivered()
        assert len(set(ids)) == len(ids), "each id is there once, whatever came twice"

    def delivered(self) -> Sequence[str]:
        if self.sql(_TABLE)[0]["it"] is None:
            return []
        return [str(row["id"]) for row in self.sql("SELECT id FROM tdbwatch_events ORDER BY ctid")]

    @contextmanager
    def failing(self, after: int) -> Iterator[None]:
        """New connections may only read for a while. A batch is one statement, so that it cannot fail in its middle."""
        self.sql("ALTER DATABASE postgres SET default_transaction_read_only = on")
        yield
        self.sql("ALTER DATABASE postgres RESET default_transaction_read_only")

    def stalled(self) -> AbstractContextManager[None]:
        return self.server.stalled()

    def restart(self) -> None:
        self.server.restart(0.3)

    def poison(self) -> Event:
        """jsonb has no place for NUL."""
        return make_event("alerts", "poison", ["a\0b"])
