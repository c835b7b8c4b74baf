"""What `tdbwatch spool list` and `tail` show on a terminal, and what where nobody looks."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tdbwatch.cli.app import main
from tdbwatch.cli.rooms import tail
from tdbwatch.plugin import Event, Kind

Show = Callable[..., list[str]]


class Terminal:
    """A real one, of which somebody reads."""

    def __init__(self) -> None:
        self._reading, writing = os.openpty()
        self.stream = os.fdopen(writing, "w")
        self._text = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._reading, 4096):
                self._text += data
        except OSError:  # the other end is closed: all was read
            os.close(self._reading)

    def lines(self) -> list[str]:
        self.stream.close()
        self._reader.join()
        return self._text.decode().splitlines()


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    """Run `tdbwatch spool` with these arguments on a terminal this wide; what it shows."""
    monkeypatch.delenv("NO_COLOR", raising=False)

    def run(folder: Path, *args: str, width: int = 200) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal.stream)
            code = main(["spool", *args, "--config", str(folder / "prod.yaml")])
            assert code == 0
        return terminal.lines()

    return run


def _at(second: int, event_id: str, room: str, event: str, args: list[object]) -> Event:
    made = Event.create(room, event, args, received_us=1_767_225_600_000_000 + second * 1_000_000)
    return Event(event_id, made.kind, made.received_us, made.scope, room, None, event, made.payload, ())


FEW = [
    _at(0, "01a21947-9be3-7000-9f80-32f9c88a9d31", "alerts", "disk-full", [1]),
    _at(1, "01a21947-9be3-7001-9f80-32f9c88a9d31", "ops", "up", [2]),
]


def test_a_list_on_a_terminal_has_a_head_and_aligned_columns_and_short_ids(
    make_spool: Callable[..., Path], show: Show
) -> None:
    folder = make_spool(FEW, dead=2)
    assert show(folder, "list") == [
        "\x1b[1mreceived              id                  room    event      contents\x1b[0m",
        "2026-01-01 00:00:00Z  01a21947-9be3-7000  alerts  disk-full  [1]",
        "2026-01-01 00:00:01Z  01a21947-9be3-7001  ops     up         [2]",
    ]
    assert show(folder, "list", "--dead") == [
        "\x1b[1mdead since            id                  sink    room    event      attempts  reason\x1b[0m",
        "2026-01-01 00:00:00Z  01a21947-9be3-7000  oncall  alerts  disk-full         1  refused: 504",
        "2026-01-01 00:00:01Z  01a21947-9be3-7001  oncall  ops     up                2  refused: 504",
    ]


def test_where_nobody_looks_a_list_has_whole_ids_and_no_head(
    make_spool: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--config", str(make_spool(FEW, dead=1) / "prod.yaml"))
    assert main(["spool", "list", *place]) == 0
    assert capsys.readouterr().out == (
        "2026-01-01 00:00:00Z  01a21947-9be3-7000-9f80-32f9c88a9d31  alerts  disk-full  [1]\n"
        "2026-01-01 00:00:01Z  01a21947-9be3-7001-9f80-32f9c88a9d31  ops  up  [2]\n"
    )
    assert main(["spool", "list", "--dead", *place]) == 0
    assert capsys.readouterr().out.endswith("  oncall  alerts  disk-full  1 attempt  refused: 504\n")


def test_what_a_terminal_shows_of_an_id_is_enough_for_every_command(
    make_spool: Callable[..., Path], show: Show, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_spool(FEW, dead=2)
    short = [line.split()[2] for line in show(folder, "list", "--dead")[1:]]
    place = ("--config", str(folder / "prod.yaml"))
    for args in (["show", short[0]], ["requeue", short[0]], ["drop", short[1], "--yes"]):
        assert main(["spool", *args, *place]) == 0
    out = capsys.readouterr().out
    assert "oncall: 1 dead letter will be delivered again" in out
    assert "\n1 dead letter deleted\n" in out
    assert main(["spool", "requeue", "01a21947", *place]) == 0, "only one is left that begins so"


def test_a_beginning_of_several_ids_is_refused_with_some_of_them(
    make_spool: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--config", str(make_spool(FEW, dead=2) / "prod.yaml"))
    for action in ("show", "requeue", "drop"):
        assert main(["spool", action, "01a21947-9be3-700", *place]) == 64
        assert capsys.readouterr().err == (
            f"tdbwatch spool {action}: more than one event begins with 01a21947-9be3-700, such as "
            f"{FEW[0].id} and {FEW[1].id}; write more of it\n"
        )


def test_wide_characters_take_two_columns_of_the_terminal(
    make_spool: Callable[..., Path], show: Show
) -> None:
    wide = _at(2, "01a21947-9be3-7002-9f80-32f9c88a9d31", "災害", "e\u0301te\u0301", ["日本語" * 20])
    folder = make_spool([*FEW, wide])
    assert [line[42:] for line in show(folder, "list")[2:]] == [
        "ops     up         [2]",
        f'災害    e\u0301te\u0301        ["{"日本語" * 20}"]',
    ]
    shown = {width: show(folder, "list", width=width) for width in (80, 79)}
    assert shown[80][3].endswith(' ["日本語日本語日...')
    assert shown[79][3].endswith(' ["日本語日本語...'), "half a character does not fit"
    assert shown[79][1].endswith("[1]")


def test_one_long_name_moves_its_own_line_only(make_spool: Callable[..., Path], show: Show) -> None:
    long = _at(2, "01a21947-9be3-7002-9f80-32f9c88a9d31", "r" * 100, "up", [3])
    lines = show(make_spool([*FEW, long]), "list")
    assert lines[1].endswith("alerts                          disk-full  [1]")
    assert lines[3].endswith(f"{'r' * 100}  up         [3]")


def test_a_long_list_is_shown_as_it_comes(make_spool: Callable[..., Path], show: Show) -> None:
    events = [Event.create("alerts", "up", [n]) for n in range(300)]
    lines = show(make_spool(events), "list", "--limit", "0")
    assert [line.split()[-1] for line in lines[1:]] == [f"[{n}]" for n in range(300)]


@pytest.mark.parametrize(("args", "said"), [((), "no event"), (("--dead",), "no dead letter")])
def test_where_nothing_matches_that_is_said_beside_the_output(
    make_spool: Callable[..., Path], capsys: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    place = ("--config", str(make_spool(FEW, dead=1) / "prod.yaml"))
    for more in ((), ("--json",)):
        assert main(["spool", "list", *args, *more, "--room", "nowhere", *place]) == 0
        assert capsys.readouterr() == ("", f"{said} matches\n")


def test_tail_shows_no_text_of_an_event_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\x9b"
    line = tail._line(Event.create("alerts" + evil, "e" + evil, [evil, {evil: evil}]))
    details = {"since": evil, "reason": evil}
    tail._tell(Event.create("alerts" + evil, "gap", kind=Kind.GAP, details=details))
    said = line + capsys.readouterr().err
    assert not {"\x1b", "\x9b"} & set(said)
    assert said.count("[2J") >= 7, "all of it is shown"
