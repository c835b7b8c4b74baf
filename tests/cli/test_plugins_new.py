"""`tdbwatch plugins new` writes a package whose tests pass."""

import subprocess
import sys
from pathlib import Path

import pytest

from tdbwatch.cli import app
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.plugin import API_VERSION
from tdbwatch.testing import SinkConformance


def test_its_own_tests_pass_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["plugins", "new", "tickets", "--folder", str(tmp_path)]) == 0
    package = tmp_path / "tdbwatch-tickets"
    assert f"cd {package} && pip install" in capsys.readouterr().out
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error"],
        cwd=package,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    kit = sum(name.startswith("test_") for name in dir(SinkConformance))
    assert f"{3 + kit - 4} passed, 4 skipped" in result.stdout
    assert {path.name for path in package.rglob("*") if path.suffix in {".toml", ".md", ".yml"}} == {
        *("pyproject.toml", "README.md", "test.yml")
    }


def test_the_sink_is_one_that_loads(tmp_path: Path) -> None:
    app.main(["plugins", "new", "tickets", "--folder", str(tmp_path)])
    folder = tmp_path / "tdbwatch-tickets" / "tdbwatch_tickets"
    folder.chmod(0o755)
    (folder / "__init__.py").rename(folder / "tickets.py")
    (folder / "tickets.py").chmod(0o644)
    registry = load_plugins([folder])
    assert registry.problems == []
    assert registry.sink_types["tickets"].summary == "Sends events to an address."
    assert f"__tdbwatch_api__ = {API_VERSION}" in (folder / "tickets.py").read_text()
    del sys.modules["tdbwatch_plugin_tickets"]


@pytest.mark.parametrize("name", ["Tickets", "a-b", "1st", "", "../x"])
def test_a_name_that_python_could_not_import_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["plugins", "new", name, "--folder", str(tmp_path)]) == 64
    assert "use small letters and digits" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_tdbwatchs_own_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["plugins", "new", "webhook", "--folder", str(tmp_path)]) == 64
    assert "webhook is a plugin of tdbwatch itself" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tdbwatch-tickets").mkdir()
    assert app.main(["plugins", "new", "tickets", "--folder", str(tmp_path)]) == 73
    assert "is there already; remove it, or take another name" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["plugins", "new", "tickets", "--folder", str(tmp_path / "no")]) == 73
    assert "No such file or directory" in capsys.readouterr().err
