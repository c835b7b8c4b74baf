"""The log sink, through structlog."""

import io
import json
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from tdbwatch.plugin import Event, SinkContext
from tdbwatch.plugin.sink import marked
from tdbwatch.sinks.log import LogOptions, LogSink, printable


async def logged(event: Event, **options: Any) -> dict[str, Any]:
    sink = LogSink(LogOptions.model_validate_json(json.dumps(options)), SinkContext("console"))
    with structlog.testing.capture_logs() as entries:
        assert await sink.deliver([event]) is None
    (entry,) = entries
    return dict(entry)


async def test_an_event_is_a_line_that_says_where_and_what_with_its_fields() -> None:
    event = Event.create("alerts", "disk-full", ["db1", 91])
    assert await logged(event) == {
        "log_level": "info",
        "event": "alerts: disk-full",
        "kind": "event",
        "scope": "//stuff",
        "room": "alerts",
        "name": "disk-full",
        "event_id": event.id,
        "args": ["db1", 91],
    }


async def test_named_arguments_are_shown_by_name() -> None:
    entry = await logged(Event.create("audit", "login", ["iris", "ok"], arg_names=["user", "action"]))
    assert entry["data"] == {"user": "iris", "action": "ok"}
    assert "args" not in entry


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event.create("alerts", "gap", kind="gap", details={"reason": "full"}), "alerts: gap (full)"),
        (Event.create("alerts", "joined", kind="room", details={"state": "joined"}), "alerts: room joined"),
        (Event.create("", "READY", kind="node", details={"node": "n1:9200"}), "n1:9200: node READY"),
    ],
)
async def test_what_tdbwatch_tells_of_itself_says_where_what_and_why(event: Event, text: str) -> None:
    entry = await logged(event)
    assert entry["event"] == text
    assert entry["details"] == event.details


@pytest.mark.parametrize(
    ("name", "level"),
    [("disk-full", "warning"), ("disk-dead", "warning"), ("login", "debug"), ("fire", "critical")],
)
async def test_the_level_is_that_of_the_first_glob_that_matches(name: str, level: str) -> None:
    levels = {"disk-*": "warning", "disk-dead": "error", "[f]ire": "critical"}
    assert (await logged(Event.create("alerts", name), level="debug", levels=levels))["log_level"] == level


async def test_names_cannot_break_the_line_or_steer_the_terminal() -> None:
    entry = await logged(Event.create("a\nb", "\x1b[31mred\x9b0m\u202e"))
    assert entry["event"] == "a\\nb: \\x1b[31mred\\x9b0m\\u202e"
    assert printable("überlauf 日本") == "überlauf 日本"


async def test_a_huge_event_is_named_by_its_size() -> None:
    assert (await logged(Event.create("alerts", "big", ["x" * 10_000])))["args"] == "(10004 bytes)"


@pytest.mark.parametrize(
    "renderer",
    [structlog.dev.ConsoleRenderer(colors=False), structlog.processors.JSONRenderer(ensure_ascii=False)],
)
async def test_a_line_of_any_event_can_be_rendered(renderer: Any) -> None:
    out = io.StringIO()
    log = structlog.wrap_logger(structlog.PrintLogger(out), processors=[renderer])
    sink = LogSink(LogOptions(), SinkContext("console", log=log))
    await sink.deliver([Event.create("alerts", "x", [{b"a\n": b"\x00", 1: 2}, float("nan"), "\x1b[31m"])])
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()
    assert "NaN" in out.getvalue()


def test_it_runs_in_the_event_loop_since_it_never_blocks() -> None:
    made = marked(LogSink)
    assert made is not None
    assert not made.threaded


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValidationError):
        LogOptions.model_validate_json('{"levels": {"*": "loud"}}')
