"""The daemon's log: it holds up nobody, nobody silences it, and no text of others gets into it raw."""

import asyncio
import contextlib
import io
import json
import logging
import logging.config
import os
import threading
from collections.abc import Iterator
from typing import Any, TextIO

import pytest
import structlog

from tdbwatch.daemon import logs
from tdbwatch.daemon.logs.writer import LogWriter
from tdbwatch.plugin import Event, Retry, SinkContext
from tdbwatch.redaction import redact
from tdbwatch.sinks.log import LogOptions, LogSink
from tests.daemon.leaving import ended

_INVISIBLE = "\u200b\u202e\u2066\u00ad\ufe0f\u3164\U000e0041"


class Pipe:
    """Standard error as a pipe; nobody reads it before `lines` is called."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self._reading = os.fdopen(reading, "rb")
        self.stream: TextIO = os.fdopen(writing, "w")

    def lines(self) -> Iterator[dict[str, Any]]:
        for line in self._reading:
            yield json.loads(line)

    def fill(self) -> None:
        """Leave no space in it."""
        os.set_blocking(self.stream.fileno(), False)
        for filler in (b'{"filler": true}\n' * 64, b" "):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(self.stream.fileno(), filler)
        os.set_blocking(self.stream.fileno(), True)

    def close(self) -> None:
        logs.reset()
        self.stream.close()
        self._reading.close()
        ended("tdbwatch-log")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def a_sink() -> LogSink:
    return LogSink(LogOptions(), SinkContext("console", log=structlog.get_logger("tdbwatch.sink.console")))


def test_whoever_logs_does_not_wait_for_whoever_reads(pipe: Pipe) -> None:
    logs.configure("info", "json", pipe.stream)
    pipe.fill()
    log = structlog.get_logger("tdbwatch")
    for number in range(20_000):
        log.info("x" * 1_000, number=number)
    lost = logs.dropped()
    assert 0 < lost < 20_000
    assert not logs.flush(0.01)
    numbers = [line["number"] for line in _until(pipe, 20_000 - lost)]
    assert numbers == list(range(20_000 - lost)), "the oldest are kept, in their order"
    assert logs.flush(20)
    log.info("first again")
    log.info("second again")
    said = [next(line) for line in [pipe.lines()] * 3]
    assert [line["event"] for line in said if "missing" not in line["event"]] == [
        "first again",
        "second again",
    ]
    assert [line["lines"] for line in said if "missing" in line["event"]] == [lost]


def _until(pipe: Pipe, count: int) -> Iterator[dict[str, Any]]:
    for line in pipe.lines():
        if "number" in line:
            yield line
            count -= 1
            if not count:
                return


async def test_only_the_log_sink_waits_for_whoever_reads_and_is_written_once(pipe: Pipe) -> None:
    logs.configure("info", "json", pipe.stream)
    pipe.fill()
    sink, events = a_sink(), [Event.create("alerts", "x", [number]) for number in range(3)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sink.deliver(events), 0.05)
    again = asyncio.create_task(sink.deliver(events))
    await asyncio.sleep(0)
    args: list[Any] = []
    await asyncio.to_thread(lambda: args.extend(_args(pipe, 4)))
    assert await again is None
    assert args[-3:] == [[0], [1], [2]]
    assert args[:-3] in ([], [[0]]), "what was being written just then may come twice"


def _args(pipe: Pipe, most: int) -> Iterator[Any]:
    for line in pipe.lines():
        if "args" in line:
            yield line["args"]
            if line["args"] == [2]:
                return


async def test_a_log_sink_gets_as_much_done_as_there_is_space_for(pipe: Pipe) -> None:
    logs.configure("info", "json", pipe.stream)
    pipe.fill()
    filled = threading.Event()

    def fill() -> None:
        log = structlog.get_logger("tdbwatch")
        while not logs.dropped():
            log.info("x" * 10_000)
        filled.set()

    await asyncio.to_thread(fill)
    assert await a_sink().deliver([Event.create("alerts", "x", ["y" * 8_000] * 1)]) == Retry(
        "the log cannot be written: nobody reads it, and too many lines wait already"
    )


def test_a_reader_that_goes_away_costs_lines_and_nothing_else() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    os.close(reading)
    for _ in range(5):
        assert writer.put("nobody")
    assert writer.flush(20)
    assert writer.dropped == 5
    writer.close()
    ended("tdbwatch-log")
    os.close(writing)


def test_a_terminal_that_somebody_made_non_blocking_gets_every_line(pipe: Pipe) -> None:
    logs.configure("info", "json", pipe.stream)
    os.set_blocking(pipe.stream.fileno(), False)
    for number in range(5_000):
        structlog.get_logger("tdbwatch").info("x", number=number)
    assert [line["number"] for line in _until(pipe, 5_000)] == list(range(5_000))
    assert logs.dropped() == 0


@pytest.mark.parametrize(
    "silence",
    [
        lambda: logging.disable(logging.CRITICAL),
        lambda: logging.config.dictConfig({"version": 1}),
        lambda: logging.config.dictConfig({"version": 1, "root": {"level": "CRITICAL", "handlers": []}}),
        lambda: logging.getLogger("tdbwatch").setLevel(logging.CRITICAL),
        logging.shutdown,
    ],
)
def test_a_plugin_cannot_silence_the_log(silence: Any) -> None:
    out = io.StringIO()
    logging.getLogger("tdbwatch.client")
    logs.configure("info", "json", out)
    try:
        silence()
        structlog.get_logger("tdbwatch.courier").warning("ours")
        logging.getLogger("tdbwatch.client").warning("the connector's")
        logging.getLogger("tdbwatch.client").debug("too detailed")
    finally:
        logging.disable(logging.NOTSET)
        logging.getLogger("tdbwatch").setLevel(logging.NOTSET)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["ours", "the connector's"]


@pytest.mark.parametrize("format", ["console", "journal"])
def test_text_of_others_forges_no_line_and_steers_no_terminal(format: Any) -> None:
    out = io.StringIO()
    logs.configure("info", format, out)
    evil = f"no\n<2>forged [critical]\r\x1b[2J{_INVISIBLE}"
    log = structlog.get_logger("tdbwatch")
    log.warning(evil, reason=evil, nested=[{evil: evil}], other=ValueError(evil))
    logging.getLogger("somebody").error("they say: %s", evil)
    said = out.getvalue()
    assert said.count("\n") == 2
    assert not set(said) & {*_INVISIBLE, "\x1b", "\r"}
    try:
        raise ValueError(evil)
    except ValueError:
        log.exception("it failed")
    trace = out.getvalue().removeprefix(said)
    assert not set(trace) & {*_INVISIBLE, "\x1b", "\r"}
    first, *others = trace.splitlines()
    assert "it failed" in first
    assert all(line.removeprefix("<3>").startswith("    ") for line in others)


def test_json_says_what_came_in_characters_that_hide_nothing() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    structlog.get_logger("tdbwatch").warning("x", reason=f"ü{_INVISIBLE}\x1b")
    line = out.getvalue().rstrip("\n")
    assert not set(line) & {*_INVISIBLE, "\x1b"}
    assert json.loads(line)["reason"] == f"ü{_INVISIBLE}\x1b"


@pytest.mark.parametrize("format", ["console", "journal", "json"])
def test_a_huge_text_of_others_is_cut_and_its_secret_is_not_half_shown(format: Any) -> None:
    out = io.StringIO()
    secret = "Geheimnis-0123456789"
    redact.remember([secret])
    logs.configure("info", format, out)
    structlog.get_logger("tdbwatch").warning("x", reason="a" * 16_380 + secret + "b" * 5_000_000)
    try:
        raise ValueError("c" * 8_190 + secret + "d" * 5_000_000)
    except ValueError:
        structlog.get_logger("tdbwatch").exception("it failed")
    assert len(out.getvalue()) < 100_000
    assert "Geheim" not in out.getvalue()


def test_the_journal_is_written_to_only_where_it_reads(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    info = os.fstat(pipe.stream.fileno())
    for value, expected in [
        (f"{info.st_dev}:{info.st_ino}", "journal"),
        (f"{info.st_dev}:{info.st_ino + 1}", "json"),
        ("nonsense", "json"),
        ("", "json"),
    ]:
        monkeypatch.setenv("JOURNAL_STREAM", value)
        assert logs._suited(pipe.stream) == expected


class _Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("not for you")


class _Odd(int):
    def __repr__(self) -> str:
        return "\x1b[2J\n"

    __str__ = __repr__


@pytest.mark.parametrize("format", ["console", "journal", "json"])
def test_whatever_a_plugin_logs_makes_one_harmless_line(format: Any) -> None:
    out = io.StringIO()
    logs.configure("info", format, out)
    endless: list[Any] = []
    endless.append(endless)
    log = structlog.get_logger("tdbwatch.sink.mine")
    for number, value in enumerate(
        (_Unshowable(), [_Unshowable()], _Odd(3), endless, ["y" * 100] * 100_000, {"k\n": b"\x1b"}), 1
    ):
        log.info("theirs", **{"key\n\x1b": 1, "value": value})
        assert out.getvalue().count("\n") == number
    log.info(_Unshowable())
    logging.getLogger("theirs").error("%d", "no number")
    said = out.getvalue()
    assert said.count("\n") == 8
    assert "\x1b" not in said
    assert len(said) < 200_000


def test_a_plugin_that_configures_structlog_changes_nothing_and_is_named() -> None:
    out, elsewhere = io.StringIO(), io.StringIO()
    secret = "Geheimnis-9876543210"
    redact.remember([secret])
    logs.configure("info", "json", out)
    structlog.configure(processors=[], logger_factory=structlog.PrintLoggerFactory(elsewhere))
    structlog.configure(processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter])
    structlog.reset_defaults()
    structlog.get_logger("tdbwatch").warning("ours", token=secret)
    *ignored, ours = (json.loads(line) for line in out.getvalue().splitlines())
    assert [line["event"] for line in ignored] == ["log.configure_ignored"] * 3
    assert {line["where"].partition(":")[0] for line in ignored} == {__file__}
    assert (ours["event"], ours["token"]) == ("ours", "**********")
    assert elsewhere.getvalue() == ""
    logs.reset()
    assert structlog.configure.__name__ == "configure"
