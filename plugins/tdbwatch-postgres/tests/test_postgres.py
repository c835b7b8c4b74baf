"""What users see of the sink: what it writes, what it refuses, what it says when it cannot."""

import json
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tdbwatch.plugin import DELIVERED, Outcome, Rejected, Retry
from tdbwatch.testing import Program, deliver, free_port, make_event

from tdbwatch_postgres import PostgresOptions, PostgresSink

BATCH = [make_event("alerts", "disk-full", [f"db{n}", 90 + n]) for n in range(3)]
Sql = Callable[..., list[Any]]


@pytest.fixture
def url(server: Program, sql: Sql) -> str:
    return f"postgresql://postgres@127.0.0.1:{server.port}/postgres"


def paused(outcomes: list[Outcome]) -> str:
    """The reason of a pause."""
    (outcome,) = set(outcomes)
    assert isinstance(outcome, Retry)
    assert outcome.pause
    return outcome.reason


def tried_again(outcomes: list[Outcome]) -> str:
    (outcome,) = set(outcomes)
    assert isinstance(outcome, Retry)
    assert not outcome.pause
    return outcome.reason


def test_a_row_is_the_record_and_what_is_asked_for(url: str, sql: Sql) -> None:
    assert deliver(PostgresSink, BATCH, {"url": url}) == [DELIVERED] * 3
    rows = sql("SELECT * FROM tdbwatch_events ORDER BY id")
    assert [json.loads(row["record"]) for row in rows] == [event.record() for event in BATCH]
    first, event = rows[0], BATCH[0]
    assert str(first["id"]) == event.id
    assert int(first["time"].timestamp() * 1_000_000) == event.received_us
    names = [first[name] for name in ("kind", "scope", "room", "event")]
    assert names == ["event", "//stuff", "alerts", "disk-full"]


def test_what_comes_twice_is_there_once(url: str, sql: Sql) -> None:
    for _ in range(2):
        assert deliver(PostgresSink, BATCH, {"url": url}) == [DELIVERED] * 3
    assert deliver(PostgresSink, [BATCH[0], BATCH[0]], {"url": url}) == [DELIVERED] * 2
    assert sql("SELECT count(*) FROM tdbwatch_events")[0][0] == 3


def test_what_cannot_be_written_does_not_take_others_with_it(url: str, sql: Sql) -> None:
    events = [make_event("alerts", "x", [n if n % 7 else "a\0b"]) for n in range(20)]
    outcomes = deliver(PostgresSink, [*events, make_event("a\0b", "x")], {"url": url})
    rejected = [n for n, one in enumerate(outcomes) if isinstance(one, Rejected)]
    assert rejected == [0, 7, 14, 20]
    assert sql("SELECT count(*) FROM tdbwatch_events")[0][0] == 17
    assert "(22P05)" in outcomes[0].reason
    assert "(22021)" in outcomes[20].reason


def test_a_constraint_of_the_users_own_rejects(url: str, sql: Sql) -> None:
    deliver(PostgresSink, BATCH[:1], {"url": url})
    sql("ALTER TABLE tdbwatch_events ADD CHECK (room <> 'spam')")
    outcomes = deliver(PostgresSink, [make_event("spam", "x"), BATCH[1]], {"url": url})
    assert outcomes[1] == DELIVERED
    assert isinstance(outcomes[0], Rejected)
    assert "violates check constraint" in outcomes[0].reason


def test_a_table_of_the_users_own_may_have_more_columns_and_another_name(url: str, sql: Sql) -> None:
    sql("DROP SCHEMA IF EXISTS ops CASCADE")
    sql("CREATE SCHEMA ops")
    sql(
        'CREATE TABLE ops."Seen" (noted timestamptz DEFAULT now(), record jsonb, event text, room text, '
        "scope text, kind text, time timestamptz, id uuid UNIQUE)"
    )
    options = {"url": url, "table": "ops.Seen", "create": False}
    assert deliver(PostgresSink, BATCH, options) == [DELIVERED] * 3
    assert sql('SELECT count(*) FROM ops."Seen"')[0][0] == 3


def test_no_right_to_create_is_needed_where_the_table_is(url: str, sql: Sql) -> None:
    sql("DROP ROLE IF EXISTS writer")
    sql("CREATE ROLE writer LOGIN")
    writer = url.replace("postgres@", "writer@")
    reason = paused(deliver(PostgresSink, BATCH, {"url": writer}))
    assert "permission denied for schema public (42501); mend it there" in reason
    deliver(PostgresSink, BATCH[:1], {"url": url})
    sql("GRANT INSERT, SELECT (id) ON tdbwatch_events TO writer")
    try:
        assert deliver(PostgresSink, BATCH, {"url": writer}) == [DELIVERED] * 3
    finally:
        sql("DROP OWNED BY writer")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (None, 'relation "tdbwatch_events" does not exist (42P01)'),
        ("CREATE TABLE tdbwatch_events (id uuid PRIMARY KEY)", 'column "time" of relation'),
    ],
)
def test_a_table_that_does_not_fit_pauses_the_sink(query: str | None, said: str, url: str, sql: Sql) -> None:
    if query is not None:
        sql(query)
    assert said in paused(deliver(PostgresSink, BATCH, {"url": url, "create": False}))


def test_a_refused_login_pauses_the_sink(url: str, sql: Sql) -> None:
    sql("DROP ROLE IF EXISTS guarded")
    sql("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'sesame-open'")
    guarded = url.replace("postgres@", "guarded@")
    assert deliver(PostgresSink, BATCH, {"url": guarded, "password": "sesame-open"}) == [DELIVERED] * 3
    reason = paused(deliver(PostgresSink, BATCH, {"url": guarded, "password": "wrong-one"}))
    assert "password authentication failed" in reason
    assert "wrong-one" not in reason
    assert "(3D000)" in paused(deliver(PostgresSink, BATCH, {"url": url + "s"}))


def test_a_server_that_is_not_there_is_tried_again() -> None:
    reason = tried_again(deliver(PostgresSink, BATCH, {"url": f"postgresql://u@127.0.0.1:{free_port()}/d"}))
    assert "Connect call failed" in reason


def test_who_answers_is_verified(url: str, server: Program) -> None:
    trusted = {"url": f"{url}?sslmode=verify-full", "tls": {"ca_file": str(server.cert)}}  # type: ignore[attr-defined]
    assert deliver(PostgresSink, BATCH, trusted) == [DELIVERED] * 3
    reason = tried_again(deliver(PostgresSink, BATCH, {"url": trusted["url"]}))
    assert "CERTIFICATE_VERIFY_FAILED" in reason


@pytest.mark.parametrize(
    ("url", "encrypted"),
    [
        ("postgresql://u@db.example.org/d", True),
        ("postgresql://u@db.example.org/d?sslmode=disable", False),
        ("postgresql://u@10.0.0.1:5432,10.0.0.2:5432/d", True),
        ("postgresql://u@localhost,db.example.org/d", True),
        ("postgresql://u@localhost/d", False),
        ("postgresql://u@[::1]:5432/d", False),
        ("postgresql://localhost.example.org/d", True),
        ("postgresql://u:p%40localhost@db/d", True),
        ("postgresql:///d?host=/run/postgresql", False),
        ("postgresql:///d?host=/run/postgresql&sslmode=verify-full", True),
    ],
)
def test_nothing_leaves_this_machine_in_the_clear_unless_told(url: str, encrypted: bool) -> None:
    context = PostgresOptions.model_validate_json(json.dumps({"url": url})).ssl_context()
    assert (context is not None) == encrypted
    assert context is None or context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "url"),
        ({"url": "db.example.org"}, "this is no URL of a PostgreSQL server; write postgresql://"),
        ({"url": "mysql://h/d"}, "this is no URL of a PostgreSQL server"),
        ({"url": "postgresql:///d"}, "this is no URL of a PostgreSQL server"),
        ({"url": "postgresql://h/d?sslmode=require"}, "write verify-full, or disable"),
        ({"url": "postgresql://h/d?sslmode=disable", "tls": {"verify": False}}, "but no TLS"),
        ({"url": "postgresql://h/d", "table": 'x"; DROP'}, "this is no name of a table"),
        ({"url": "postgresql://h/d", "table": "a.b.c"}, "this is no name of a table"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        deliver(PostgresSink, BATCH[0], options)


def test_the_table_of_the_readme_is_the_one_that_is_created(url: str, sql: Sql) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    columns = (
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = $1"
    )
    (statement,) = re.findall(r"^CREATE TABLE .*?;", readme, re.MULTILINE | re.DOTALL)
    sql(statement)
    told = [tuple(row) for row in sql(columns, "tdbwatch_events")]
    sql("DROP TABLE tdbwatch_events")
    deliver(PostgresSink, BATCH, {"url": url})
    assert [tuple(row) for row in sql(columns, "tdbwatch_events")] == told
