"""Every recipe of the cookbook is fine, and its own tests pass."""

import re
from pathlib import Path

import pytest

from tdbwatch.daemon.config import Document, read
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.routing.route_tests import run_tests

FOLDER = Path(__file__).parents[3] / "config" / "cookbook"
ELSEWHERE = re.compile("secret|no such program")  # what other machines have
RECIPES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(params=RECIPES, ids=lambda path: path.stem)
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Document:
    """Its secrets' files are there."""
    text = request.param.read_text().replace("/etc/tdbwatch", str(tmp_path))
    for name in re.findall(rf"{tmp_path}/([a-z]+)", text):
        (tmp_path / name).write_text("a raw secret that is long enough")
        (tmp_path / name).chmod(0o600)
    (tmp_path / "recipe.yaml").write_text(text)
    (tmp_path / "recipe.yaml").chmod(0o600)
    return read(tmp_path / "recipe.yaml", {"THINGSDB_TOKEN": "t"})


def test_its_tests_pass_and_it_has_no_doubts(recipe: Document) -> None:
    checked = recipe.check(load_plugins().sink_types)
    assert [str(doubt) for doubt in checked.warnings if not ELSEWHERE.search(doubt.message)] == []
    results = list(run_tests(checked.sections, checked.sinks))
    assert results
    assert [(result.name, result.faults) for result in results if result.faults] == []


def test_the_list_of_recipes_is_complete() -> None:
    listed = re.findall(r"\]\(([a-z-]+\.yaml)\)", (FOLDER / "README.md").read_text())
    assert sorted(listed) == [path.name for path in RECIPES]
    assert len(RECIPES) == 16
