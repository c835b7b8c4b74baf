"""Plugins are found, imported and asked one by one; whatever one does, the others go on."""

import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import structlog

from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.plugins.sources import BUILT_IN
from tdbwatch.testing import deliver, make_event

from .kit import GOOD, HANGS, Write, line_of, load, only_problem


def test_the_built_in_sinks_are_there_without_any_folder() -> None:
    registry = load_plugins()
    assert list(registry.sink_types) == ["log", "file", "webhook", "exec", "thingsdb"]
    assert [plugin.origin for plugin in registry.plugins] == ["built-in"] * 5
    assert registry.problems == []


def test_the_fallback_for_built_in_plugins_says_what_the_packages_entry_points_say() -> None:
    points = distribution("tdbwatch").entry_points.select(group="tdbwatch")
    assert {point.name: point.value for point in points} == BUILT_IN


def test_a_file_in_a_folder_is_a_plugin_by_its_name(folder: Path, write: Write) -> None:
    file = write("my-shouts.py", GOOD)
    registry = load(folder)
    plugin = registry.plugins[-1]
    assert (plugin.name, plugin.origin, plugin.version, plugin.sinks) == (
        "my-shouts",
        str(file),
        "3",
        ("good",),
    )
    assert registry.owner_of("good") == "my-shouts"
    assert deliver(registry.sink_types["good"], make_event(event="boom"))
    assert sys.modules["tdbwatch_plugin_my-shouts"].heard == ["boom"]  # type: ignore[attr-defined]


def test_files_that_begin_with_an_underscore_or_a_dot_and_other_files_are_no_plugins(
    folder: Path, write: Write
) -> None:
    for name in ("_helper.py", ".#good.py", "good.py~", "README.md"):
        write(name, "raise RuntimeError")
    assert load(folder).problems == []


def test_files_of_like_names_are_modules_of_their_own(folder: Path, write: Write) -> None:
    write("my-x.py", GOOD)
    for name in ("my_x", "my.x", "my%2ex"):
        write(f"{name}.py", GOOD.replace('"good"', f'"{len(name)}{name[2] == "_"}"'))
    registry = load(folder)
    assert registry.problems == []
    modules = [registry.manager.get_plugin(plugin.name) for plugin in registry.plugins[-4:]]
    assert [plugin.name for plugin in registry.plugins[-4:]] == ["my%2ex", "my-x", "my.x", "my_x"]
    assert [sys.modules[module.__name__] for module in modules if module] == modules


def test_a_folder_of_code_is_told_to_be_no_plugin(folder: Path, write: Write) -> None:
    for name in ("several", "_helpers", "data"):
        (folder / name).mkdir()
    write("several/__init__.py", GOOD)
    write("_helpers/__init__.py", GOOD)
    problem = only_problem(load(folder))
    assert (problem.plugin, problem.where) == ("several", str(folder / "several"))
    assert "install it as a package" in problem.remedy


def test_the_owner_of_a_sink_type_that_nobody_offers_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        load_plugins().owner_of("nothing")


def test_a_plugin_that_needs_a_newer_contract_is_told_so_even_if_it_imports_what_there_is_not(
    folder: Path, write: Write
) -> None:
    file = write("mine.py", "from tdbwatch.plugin import SomethingNewer\n\n__tdbwatch_api__ = 99\n")
    problem = only_problem(load(folder))
    assert "it needs version 99 of the plugin contract" in problem.reason
    assert problem.where == line_of(file, "import")


@pytest.mark.parametrize(
    ("code", "culprit", "said"),
    [
        ("import os\n\nraise RuntimeError('no luck')", "raise RuntimeError", "RuntimeError: no luck"),
        ("import sys\nsys.exit(3)", "sys.exit", "it ended the program (SystemExit: 3)"),
        ("raise KeyboardInterrupt", "raise", "it ended the program"),
        ("import no_such_module_anywhere", "import", "No module named 'no_such_module_anywhere'"),
        ("x = 1\ndef broken(:\n    pass", "broken", "SyntaxError"),
        ("def deep():\n    return [][1]\n\ndeep()", "[][1]", "IndexError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_file_and_line(
    folder: Path, write: Write, code: str, culprit: str, said: str
) -> None:
    bad = write("bad.py", code)
    write("good.py", GOOD)
    registry = load(folder)
    problem = only_problem(registry)
    assert problem.plugin == "bad"
    assert problem.where == line_of(bad, culprit)
    assert said in problem.reason
    assert "guard.py" not in problem.traceback
    assert "bad.py" in problem.traceback
    assert "good" in registry.sink_types


@pytest.mark.usefixtures("sure_calls")
def test_a_plugin_that_hangs_while_it_is_imported_is_named_with_the_line_it_hangs_at(
    folder: Path, write: Write
) -> None:
    bad = write("bad.py", f"import threading\n\n{HANGS}\n")
    write("good.py", GOOD)
    with structlog.testing.capture_logs() as logs:
        registry = load(folder, seconds=0.05)
    first = (logs[0]["event"], logs[0]["plugin"])
    assert first == ("plugin.slow", "bad"), "before it is known how that ends"
    problem = only_problem(registry)
    assert problem.where == line_of(bad, "hang()")
    assert "did not return within 0.05 s" in problem.reason
    assert "good" in registry.sink_types


def test_problems_are_logged_with_the_plugins_name_and_place(folder: Path, write: Write) -> None:
    bad = write("bad.py", "raise RuntimeError('no luck')")
    with structlog.testing.capture_logs() as logs:
        load(folder)
    (entry,) = logs
    assert entry["log_level"] == "error"
    assert entry["plugin"] == "bad"
    assert entry["where"] == f"{bad}:1"
    assert entry["event"] == "plugin.problem"
    assert "no luck" in entry["reason"]


def test_a_disabled_plugin_is_not_even_imported(folder: Path, write: Write) -> None:
    write("bad.py", "raise RuntimeError")
    registry = load_plugins([folder], {"bad", "log"})
    assert registry.problems == []
    assert list(registry.sink_types) == ["file", "webhook", "exec", "thingsdb"]


def test_disabling_what_is_not_there_is_said(folder: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        load_plugins([folder], ["wehbook"])
    assert [(entry["log_level"], entry["plugin"]) for entry in logs] == [("warning", "wehbook")]


def test_a_folder_that_is_not_there_is_a_problem_with_a_remedy(tmp_path: Path) -> None:
    problem = only_problem(load_plugins([tmp_path / "nowhere"]))
    assert "No such file or directory" in problem.reason
    assert "plugins.paths" in problem.remedy
