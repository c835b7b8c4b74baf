"""Installed packages are plugins by their entry points."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tdbwatch.cli.daemon.loading import reader_of
from tdbwatch.daemon.config import ConfigError
from tdbwatch.daemon.plugins import load_plugins

from .kit import GOOD, Write, load, only_problem


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a distribution on the path, as pip would, with entry points."""

    def install(name: str, modules: dict[str, str], points: str, record: str = "") -> None:
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-2.5.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "RECORD").write_text(record)
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


@pytest.mark.parametrize("order", [("a_pkg", "b_pkg"), ("b_pkg", "a_pkg")])
def test_of_two_packages_with_one_name_the_same_wins_wherever_they_lie(
    install: Callable[..., None], order: tuple[str, str]
) -> None:
    for name in order:
        install(f"tdbwatch_{name}", {f"{name}.py": GOOD}, f"same = {name}")
    registry = load_plugins()
    assert registry.plugins[-1].origin == "package tdbwatch_a_pkg 2.5"
    problem = only_problem(registry)
    assert "package tdbwatch_a_pkg 2.5" in problem.reason
    assert problem.where == "package tdbwatch_b_pkg 2.5"
    assert problem.remedy == "uninstall it, or the other one; only its author can rename it"


def test_a_reload_tells_what_of_the_plugins_only_a_restart_takes_up(
    install: Callable[..., None], folder: Path, write: Write, tmp_path: Path
) -> None:
    install("tdbwatch_up_pkg", {"up_pkg.py": GOOD}, "up = up_pkg", "up_pkg.py,sha256=old")
    write("here.py", "")
    write("gone.py", "")
    write("same.py", "")
    config = tmp_path / "prod.yaml"
    config.write_text("thingsdb: {nodes: [db1], auth: {token: t0ken}}\nrooms: [r]\nsinks: {a: {type: log}}\n")
    registry = load(folder)
    read_again = reader_of(config, registry)
    assert read_again().warnings == ()

    install("tdbwatch_up_pkg", {"up_pkg.py": GOOD}, "up = up_pkg", "up_pkg.py,sha256=new")
    write("here.py", "# mended")
    write("same.py", "")
    write("new.py", "")
    (folder / "gone.py").unlink()
    changed = [
        f"plugin {what} since tdbwatch was started"
        for what in ("gone was removed", "here was changed", "new was added", "up was changed")
    ]
    assert [warning.message for warning in read_again().warnings] == changed
    assert {warning.hint for warning in read_again().warnings} == {
        "restart when it suits: until then the plugins stay as they were loaded"
    }
    config.write_text(config.read_text().replace("type: log", "type: new"))
    with pytest.raises(ConfigError) as refused:
        read_again()
    assert [problem.message for problem in refused.value.problems] == [
        "no plugin offers this type of sink",
        *changed,
    ]
