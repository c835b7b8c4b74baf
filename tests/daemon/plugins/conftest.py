"""A folder of plugins for each test."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdbwatch.daemon.plugins import loading, registry

from .kit import SureCall, Write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "plugins.d"
    made.mkdir(mode=0o755)
    return made


@pytest.fixture
def write(folder: Path) -> Write:
    def write(name: str, code: str, mode: int = 0o644) -> Path:
        file = folder / name
        file.write_text(textwrap.dedent(code))
        file.chmod(mode)
        return file

    return write


@pytest.fixture
def sure_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins get little time, and only what hangs needs more of it."""
    for module in (loading, registry):
        monkeypatch.setattr(module, "Call", SureCall)


@pytest.fixture(autouse=True)
def _forget_imports() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("tdbwatch_plugin_"):
            del sys.modules[name]
