"""Each package under `plugins/` is found by its entry point, documented whole, and tested with the kit."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.plugin import API_VERSION, Options

ROOT = Path(__file__).parents[2]


def packages_in(plugins: Path) -> list[Path]:
    """Its packages, and not what git leaves of one that is gone: a folder with compiled files."""
    return sorted(project.parent for project in plugins.glob("*/pyproject.toml"))


PACKAGES = packages_in(ROOT / "plugins")
by_name = pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)


def project_of(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project


@pytest.fixture
def installed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package on the path, with the metadata that pip would make of its pyproject.toml."""
    project = project_of(folder)
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = "\n".join(f"{name} = {where}" for name, where in project["entry-points"]["tdbwatch"].items())
    info.joinpath("entry_points.txt").write_text(f"[tdbwatch]\n{points}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(tmp_path))


def test_what_git_leaves_of_a_package_that_is_gone_is_none(tmp_path: Path) -> None:
    (tmp_path / "tdbwatch-gone" / "tdbwatch_gone" / "__pycache__").mkdir(parents=True)
    (there := tmp_path / "tdbwatch-there").mkdir()
    (there / "pyproject.toml").touch()
    (tmp_path / ".DS_Store").touch()
    assert packages_in(tmp_path) == [there]
    assert len(PACKAGES) >= 4


@by_name
@pytest.mark.usefixtures("installed")
def test_it_is_found_by_its_entry_point(folder: Path) -> None:
    registry = load_plugins()
    assert registry.problems == []
    plugin, name = registry.plugins[-1], folder.name.removeprefix("tdbwatch-")
    assert (plugin.name, plugin.origin, plugin.sinks) == (name, f"package {folder.name} 0.1.0", (name,))
    assert registry.sink_types[name].summary
    assert sys.modules[f"tdbwatch_{name}"].__tdbwatch_api__ == API_VERSION


@by_name
@pytest.mark.usefixtures("installed")
def test_exactly_its_options_are_in_its_readme_and_each_has_a_description(folder: Path) -> None:
    options = load_plugins().sink_types[folder.name.removeprefix("tdbwatch-")].options
    told = re.findall(r"^\| `([a-z_.]+)` \|", (folder / "README.md").read_text(), re.MULTILINE)
    described = dict(_keys(options))
    assert told == list(described)
    assert [key for key, description in described.items() if not description] == []


@by_name
def test_all_that_a_package_should_have_is_there(folder: Path) -> None:
    project = project_of(folder)
    assert project["name"] == folder.name
    assert {"readme", "license", "description", "requires-python"} <= set(project)
    assert "SinkConformance" in (folder / "tests" / "test_conformance.py").read_text()
    readme = (folder / "README.md").read_text()
    assert f"pip install ./plugins/{folder.name}" in readme
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", readme):
        assert (folder / target).exists(), target


@by_name
def test_what_it_imports_of_tdbwatch_is_the_contract(folder: Path) -> None:
    code = "".join(file.read_text() for file in folder.glob("tdbwatch_*/*.py"))
    assert set(re.findall(r"(?:from|import) (tdbwatch\b[\w.]*)", code)) == {"tdbwatch.plugin"}


@by_name
def test_its_tests_are_run_and_what_it_needs_is_there(folder: Path) -> None:
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert f"plugins/{folder.name}" in ours["tool"]["pytest"]["ini_options"]["pythonpath"]
    needed = {one for one in project_of(folder)["dependencies"] if not one.startswith("tdbwatch")}
    assert needed <= set(ours["project"]["optional-dependencies"]["test"])


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for name, field in model.model_fields.items():
        yield prefix + name, field.description
        if isinstance(field.annotation, type) and issubclass(field.annotation, Options):
            yield from _keys(field.annotation, f"{prefix}{name}.")
