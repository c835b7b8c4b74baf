"""`plugins/tdbwatch-exec` is the model for others: it is found, it works, and its own tests pass."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.plugin import DELIVERED
from tdbwatch.testing import deliver, make_event

MODEL = Path(__file__).parents[2] / "plugins" / "tdbwatch-exec"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model on the path, with the metadata that pip would make of its pyproject.toml."""
    project = tomllib.loads((MODEL / "pyproject.toml").read_text())["project"]
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = "\n".join(f"{name} = {where}" for name, where in project["entry-points"]["tdbwatch"].items())
    info.joinpath("entry_points.txt").write_text(f"[tdbwatch]\n{points}\n")
    monkeypatch.syspath_prepend(str(MODEL))
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_the_model_is_found_by_its_entry_point_and_delivers() -> None:
    registry = load_plugins()
    assert registry.problems == []
    plugin = registry.plugins[-1]
    assert (plugin.name, plugin.origin, plugin.sinks) == ("exec", "package tdbwatch-exec 0.1.0", ("exec",))
    command = [sys.executable, "-c", "import json, sys; json.load(sys.stdin)"]
    assert deliver(registry.sink_types["exec"], make_event(), {"command": command}) == [DELIVERED]


def test_the_models_own_tests_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"],
        cwd=MODEL,
        env={**os.environ, "PYTHONPATH": str(MODEL)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
