"""A spool that no daemon uses, and a way to run commands on it."""

import asyncio
from pathlib import Path

import pytest

from tdbwatch.cli.app import main
from tdbwatch.plugin import Event

from .kit import CONFIG, HOUR_US, Run, fill, made


@pytest.fixture
def events() -> list[Event]:
    old = Event.create("ops", "deploy", [{"by": "ci"}], received_us=Event.create().received_us - 2 * HOUR_US)
    return [old, *made(9)]


@pytest.fixture
def folder(tmp_path: Path, events: list[Event]) -> Path:
    """A configuration, and a spool of ten events, of which audit has four and oncall gave up three."""
    (tmp_path / "prod.yaml").write_text(CONFIG)
    asyncio.run(fill(tmp_path / "spool.db", events, dead=3))
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with the configuration; its exit code, output and errors."""
    monkeypatch.chdir(folder)

    def run(*args: str, place: tuple[str, ...] = ("--config", "prod.yaml")) -> tuple[int, str, str]:
        try:
            code = main([*args, *place])
        except SystemExit as error:
            code = int(str(error.code))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run
