"""Standard output that is full, or that nobody reads any more."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tdbwatch.cli.app import main
from tdbwatch.plugin import Event

COMMANDS = [
    "check",
    "plugins",
    "replay --sink audit",
    "spool stats",
    "spool stats --json",
    "spool list",
    "spool list --json",
    "spool list --dead",
    "spool show ID",
    "spool show ID --json",
    "spool requeue --all",
    "spool drop --all --yes",
    "spool export",
    "spool export --dead",
    "spool doctor",
    "spool doctor --json",
]


@pytest.fixture
def event() -> Event:
    return Event.create("alerts", "disk-full", [1])


@contextmanager
def full() -> Iterator[int]:
    """A file on a full disk."""
    file = os.open("/dev/full", os.O_WRONLY)
    yield file
    os.close(file)


@contextmanager
def closed() -> Iterator[int]:
    """A pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


TROUBLES = [(full, 73, "standard output: No space left on device"), (closed, 141, "")]


@pytest.mark.parametrize(("output", "code", "said"), TROUBLES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_told_in_one_line_and_a_reader_that_has_left_is_no_reason_to_complain(
    make_spool: Callable[..., Path],
    event: Event,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    output: Callable[[], AbstractContextManager[int]],
    code: int,
    said: str,
) -> None:
    args = [
        *command.replace("ID", event.id).split(),
        "--config",
        str(make_spool([event], dead=1) / "prod.yaml"),
    ]
    name = " ".join(word for word in command.split()[:2] if not word.startswith("-"))
    with output() as file, open(file, "w", closefd=False) as stream:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            assert main(args) == code
        stream.flush()  # as Python does at its end: nothing is left that could fail
    assert capsys.readouterr() == ("", f"tdbwatch {name}: {said}\n" if said else "")


@pytest.mark.parametrize(("output", "code", "said"), TROUBLES)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_so_it_is_for_the_real_command(
    make_spool: Callable[..., Path],
    event: Event,
    output: Callable[[], AbstractContextManager[int]],
    code: int,
    said: str,
    unbuffered: str,
) -> None:
    with output() as file:
        done = subprocess.run(
            [sys.executable, "-m", "tdbwatch", "spool", "list", "--config", "prod.yaml"],
            cwd=make_spool([event]),
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    expected = f"tdbwatch spool list: {said}\n" if said else ""
    assert (done.returncode, done.stderr) == (code, expected)


@pytest.mark.parametrize("command", ["check", "spool stats", "spool list"])
def test_where_there_is_no_standard_output_nothing_is_said(
    make_spool: Callable[..., Path],
    event: Event,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    place = ("--config", str(make_spool([event]) / "prod.yaml"))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)  # as Python has it where the descriptor is closed
        assert main([*command.split(), *place]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_of_the_errors_that_has_left_changes_nothing(tmp_path: Path, unbuffered: str) -> None:
    with closed() as file:
        done = subprocess.run(
            [sys.executable, "-m", "tdbwatch", "check", "--config", "nowhere.yaml"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=file,
            stderr=file,
            check=False,
        )
    assert done.returncode == 141
