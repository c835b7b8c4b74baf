"""The log speaks the journal's own protocol when, and only when, standard error is the journal."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tdbwatch.daemon import logs
from tdbwatch.daemon.logs import journal as log_journal
from tdbwatch.redaction import redact
from tests.daemon.leaving import ended

Entry = dict[str, str]
SEALS = log_journal._SEALS


class Journald:
    """Plays journald: its socket, and the pipe that is a service's standard error."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(20)
        reading, writing = os.pipe()
        self._pipe, self.stream = os.fdopen(reading, "rb"), os.fdopen(writing, "w")
        os.set_blocking(reading, False)
        info = os.fstat(writing)
        monkeypatch.setenv("JOURNAL_STREAM", f"{info.st_dev}:{info.st_ino}")
        monkeypatch.setattr(log_journal, "SOCKET", str(path))
        self.sealed = 0

    def entry(self) -> Entry:
        """The next one, as its protocol says: a name, a length in eight bytes, a value."""
        rest, files, _, _ = socket.recv_fds(self._socket, 1 << 20, 1)
        for file in files:
            self.sealed += log_journal.fcntl.fcntl(file, log_journal.fcntl.F_GET_SEALS) == SEALS
            rest = os.pread(file, 1 << 22, 0)
            os.close(file)
        found: Entry = {}
        while rest:
            name, _, rest = rest.partition(b"\n")
            size = int.from_bytes(rest[:8], "little")
            value, end, rest = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            assert end == b"\n"
            found[name.decode()] = value.decode()
        return found

    def standard_error(self) -> bytes:
        """What came by the pipe."""
        return self._pipe.read() or b""

    def go_away(self) -> None:
        self._socket.close()

    def close(self) -> None:
        logs.reset()
        for each in (self._socket, self._pipe, self.stream):
            each.close()
        ended("tdbwatch-log")


@pytest.fixture
def journald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journald]:
    made = Journald(tmp_path / "socket", monkeypatch)
    yield made
    made.close()


def test_a_line_is_one_entry_with_its_fields(journald: Journald) -> None:
    logs.configure(stream=journald.stream)
    structlog.get_logger("tdbwatch.courier").warning(
        "sink.failed", sink="oncall", attempt=3, rooms=["a", "b"]
    )
    assert journald.entry() == {
        "MESSAGE": "[warning  ] sink.failed [tdbwatch.courier] attempt=3 rooms=['a', 'b'] sink=oncall",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "tdbwatch",
        "TDBWATCH_EVENT": "sink.failed",
        "TDBWATCH_SINK": "oncall",
        "TDBWATCH_ATTEMPT": "3",
        "TDBWATCH_ROOMS": "['a', 'b']",
        "TDBWATCH_LOGGER": "tdbwatch.courier",
    }
    assert logs.flush(20)
    assert journald.standard_error() == b"", "each line once"


def test_a_traceback_is_whole_and_in_one_entry(journald: Journald) -> None:
    logs.configure(stream=journald.stream)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        structlog.get_logger("tdbwatch").exception("daemon.part_died")
        logging.getLogger("somebody").exception("theirs")
    for entry in (journald.entry(), journald.entry()):
        assert entry["PRIORITY"] == "3"
        assert entry["TDBWATCH_EXCEPTION"].startswith("Traceback (most recent call last):\n  File ")
        assert entry["TDBWATCH_EXCEPTION"].endswith("ValueError: first\nsecond")
        assert entry["MESSAGE"].endswith("    ValueError: first\n    second")


def test_text_of_others_makes_no_field_and_no_entry(journald: Journald) -> None:
    logs.configure(stream=journald.stream)
    log = structlog.get_logger("tdbwatch")
    log.info("x\nPRIORITY=0\n\nMESSAGE=forged", **{"_pid\n=7": "\x1b[2J", "übel": "a\nb"})
    entry = journald.entry()
    assert entry["PRIORITY"] == "6"
    assert entry["MESSAGE"].count("\n") == 0
    assert entry["TDBWATCH__PID_7"] == "\\x1b[2J"
    assert set(entry) == {
        *("MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"),
        *("TDBWATCH_EVENT", "TDBWATCH__PID_7", "TDBWATCH__BEL", "TDBWATCH_LOGGER"),
    }


def test_no_field_has_a_secret_in_it(journald: Journald) -> None:
    redact.remember(["Geheim-1-2-3"])
    logs.configure(stream=journald.stream)
    try:
        structlog.get_logger("tdbwatch").info("x", url="https://Geheim-1-2-3@h", args=[b"Geheim-1-2-3"])
        assert not any("Geheim" in value for value in journald.entry().values())
    finally:
        redact.forget()


def test_an_entry_that_is_too_large_for_a_datagram_comes_as_a_sealed_file(journald: Journald) -> None:
    logs.configure(stream=journald.stream)
    fields = {f"field{number}": "日" * 15_000 for number in range(8)}
    structlog.get_logger("tdbwatch").info("large", **fields)
    entry = journald.entry()
    assert journald.sealed == 1
    assert entry["TDBWATCH_EVENT"] == "large"
    assert len(entry["MESSAGE"]) > 100_000


def test_without_its_socket_lines_come_by_standard_error(journald: Journald) -> None:
    logs.configure(stream=journald.stream)
    journald.go_away()
    structlog.get_logger("tdbwatch").error("links.none", reason="gone")
    assert logs.flush(20)
    assert journald.standard_error() == b"<3>[error    ] links.none [tdbwatch] reason=gone\n"


@pytest.mark.parametrize("which", ["another stream", "no journal"])
def test_who_is_not_the_journal_is_not_spoken_to_like_it(
    journald: Journald, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    if which == "no journal":
        monkeypatch.delenv("JOURNAL_STREAM")
    else:
        monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    for format, start in (("auto", b'{"'), ("journal", b"<6>[info")):
        logs.configure(format=format, stream=journald.stream)  # type: ignore[arg-type]
        structlog.get_logger("tdbwatch").info("daemon.ready")
        assert logs.flush(20)
        assert journald.standard_error().startswith(start)
    journald._socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        pytest.fail(f"an entry: {journald.entry()}")
