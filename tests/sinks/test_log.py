"""The log sink, through structlog."""

import errno
import io
import json
import os
from typing import Any

import msgspec
import pytest
import structlog
from pydantic import ValidationError

from tdbwatch.daemon import logs
from tdbwatch.plugin import DELIVERED, Event, Retry, SinkContext
from tdbwatch.plugin.sink import marked
from tdbwatch.printable import printable
from tdbwatch.sinks.log import LogOptions, LogSink


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


@pytest.mark.parametrize("kind", ["event", "gap"])
async def test_a_huge_name_does_not_make_a_huge_line(kind: str) -> None:
    long = "\x1b" * 100_000
    entry = await logged(
        Event.create(long, long, [1], scope=long, kind=kind, details={"reason": "w" * 5_000})
    )
    assert all(len(entry[key]) < 1_000 for key in ("scope", "room", "name"))
    assert len(entry["event"]) < 2_000
    assert entry["name"].startswith("\\x1b")
    assert entry["name"].endswith(" ...")


def nested(depth: int) -> Event:
    """Lists in lists, as a client can emit them."""
    made = Event.create("alerts", "deep", [1], arg_names=["a"])
    return msgspec.structs.replace(made, payload=b"\x91" * depth + b"\x01")


@pytest.mark.parametrize("renderer", ["console", "journal", "json"])
async def test_arguments_nested_deeper_than_python_can_follow_still_make_a_line(renderer: Any) -> None:
    out = io.StringIO()
    logs.configure("info", renderer, out)
    sink = LogSink(LogOptions(), SinkContext("console", log=structlog.get_logger("tdbwatch.sink.console")))
    for count, depth in enumerate([10, *range(400, 1100, 12), 8000], 1):
        assert await sink.deliver([nested(depth)]) is None
        assert out.getvalue().count("\n") == count
    assert "(1013 bytes)" in out.getvalue()


class _FullDisk(io.StringIO):
    """Takes so many lines."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.left = lines

    def write(self, text: str) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= 1
        return super().write(text)


async def test_an_event_whose_line_cannot_be_written_is_not_delivered() -> None:
    out = _FullDisk(lines=2)
    logs.configure("info", "json", out)
    sink = LogSink(LogOptions(), SinkContext("console", log=structlog.get_logger("tdbwatch.sink.console")))
    batch = [Event.create("alerts", "x", [number]) for number in range(4)]
    again = Retry("the log cannot be written: No space left on device")
    assert await sink.deliver(batch) == [DELIVERED, DELIVERED, again, again]
    assert await sink.deliver(batch[2:]) == again, "the sink as a whole"
    out.left = 2
    assert await sink.deliver(batch[2:]) is None
    assert [json.loads(line)["args"] for line in out.getvalue().splitlines()] == [[0], [1], [2], [3]]


async def test_a_log_that_cannot_be_written_harms_nobody_else_and_is_counted() -> None:
    logs.configure("info", "json", _FullDisk(lines=0))
    for _ in range(3):
        structlog.get_logger("tdbwatch").warning("nobody hears it")
    assert logs.dropped() == 3


async def test_json_lines_steer_no_terminal_and_say_all_the_same() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    sink = LogSink(LogOptions(), SinkContext("console", log=structlog.get_logger("tdbwatch.sink.console")))
    text = "übel \x9b31m \u202e \u2028 \x1b[2J"
    await sink.deliver([Event.create("alerts", "x", [text])])
    line = out.getvalue()
    assert json.loads(line)["args"] == [text]
    assert "übel" in line
    assert line.rstrip("\n").isprintable()


async def test_fields_cannot_clash_with_those_of_the_log() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    sink = LogSink(LogOptions(), SinkContext("console", log=structlog.get_logger("tdbwatch.sink.console")))
    names = ["event", "level", "timestamp", "exc_info", "stack_info", "_record", "logger", "message", "name"]
    clashing = dict.fromkeys(names, "theirs")
    await sink.deliver(
        [
            Event.create("alerts", "x %s %d", [clashing]),
            Event.create("alerts", "x", ["theirs"] * len(names), arg_names=names),
            Event.create("alerts", "gap", kind="gap", details=clashing),
        ]
    )
    first, second, third = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["event"], first["args"]) == ("alerts: x %s %d", [clashing])
    assert (second["event"], second["data"]) == ("alerts: x", clashing)
    assert (third["event"], third["details"]) == ("alerts: gap", clashing)
    assert {line["level"] for line in (first, second, third)} == {"info"}


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


async def test_the_text_may_be_a_template_and_stays_one_line() -> None:
    event = Event.create("alerts", "disk-full", [{"host": "db1\n\x1b[2J"}])
    entry = await logged(event, message="{{ event }} on {{ args[0].host }}")
    assert entry["event"] == "disk-full on db1 [2J"


async def test_what_a_template_cannot_make_is_logged_all_the_same() -> None:
    entry = await logged(Event.create("alerts", "disk-full"), message="{{ event + 1 }}")
    assert entry["event"].startswith("alerts: disk-full (its message cannot be rendered: tried to use +")
