"""Installed packages are plugins by their entry points."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tdbwatch.daemon.plugins import load_plugins

from .kit import GOOD, only_problem


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, str], str], None]:
    """Put a distribution on the path, as pip would, with entry points."""

    def install(name: str, modules: dict[str, str], points: str) -> None:
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-2.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[tdbwatch]\n{points}\n")
        for module, code in modules.items():
            file = site / module
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code)
        monkeypatch.syspath_prepend(str(site))

    return install


def test_an_installed_package_is_a_plugin_by_its_entry_point(install: Callable[..., None]) -> None:
    install(
        "tdbwatch_demo_pkg",
        {"demo_pkg/__init__.py": "from demo_pkg.sinks import good\n", "demo_pkg/sinks.py": GOOD},
        "demo = demo_pkg",
    )
    registry = load_plugins()
    plugin = registry.plugins[-1]
    assert registry.problems == []
    assert plugin.name == "demo"
    assert plugin.origin == "package tdbwatch_demo_pkg 2.5"
    assert (plugin.version, plugin.sinks) == ("2.5", ("good",))


def test_an_entry_point_may_name_the_sink_itself(install: Callable[..., None]) -> None:
    install("tdbwatch_one_pkg", {"one_pkg.py": GOOD}, "one = one_pkg:good")
    assert load_plugins().owner_of("good") == "one"


def test_an_installed_package_that_fails_is_blamed_at_its_own_line(
    install: Callable[..., None], tmp_path: Path
) -> None:
    install("tdbwatch_sad_pkg", {"sad_pkg/__init__.py": "import json\njson.loads('{')\n"}, "sad = sad_pkg")
    problem = only_problem(load_plugins())
    assert problem.plugin == "sad"
    assert problem.where == f"{tmp_path}/site-tdbwatch_sad_pkg/sad_pkg/__init__.py:2"


def test_an_entry_point_to_nothing_is_a_problem(install: Callable[..., None]) -> None:
    install("tdbwatch_gone_pkg", {}, "gone = gone_pkg:thing")
    problem = only_problem(load_plugins())
    assert problem.plugin == "gone"
    assert "gone_pkg" in problem.reason
