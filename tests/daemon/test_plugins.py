"""Plugins are found, imported and asked one by one; whatever one does, the others go on."""

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
import structlog

from tdbwatch.daemon.plugins import PluginProblem, Registry, load_plugins
from tdbwatch.daemon.plugins.sources import BUILT_IN
from tdbwatch.daemon.trust import judge
from tdbwatch.testing import deliver, make_event

GOOD = """
from tdbwatch.plugin import sink

__version__ = "3"
heard = []

@sink("good")
def good(event):
    heard.append(event.event)
"""

Write = Callable[..., Path]


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


@pytest.fixture(autouse=True)
def _forget_imports() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("tdbwatch_plugin_"):
            del sys.modules[name]


def load(folder: Path, **more: float) -> Registry:
    return load_plugins(
        [folder], import_seconds=more.get("seconds", 10.0), hook_seconds=more.get("seconds", 10.0)
    )


def only_problem(registry: Registry) -> PluginProblem:
    assert len(registry.problems) == 1, registry.problems
    return registry.problems[0]


def line_of(file: Path, text: str) -> str:
    lines = file.read_text().splitlines()
    return f"{file}:{next(n for n, line in enumerate(lines, 1) if text in line)}"


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
    assert sys.modules["tdbwatch_plugin_my_shouts"].heard == ["boom"]  # type: ignore[attr-defined]


def test_files_that_begin_with_an_underscore_or_a_dot_and_other_files_are_no_plugins(
    folder: Path, write: Write
) -> None:
    for name in ("_helper.py", ".#good.py", "good.py~", "README.md"):
        write(name, "raise RuntimeError")
    assert load(folder).problems == []


def test_the_owner_of_a_sink_type_that_nobody_offers_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        load_plugins().owner_of("nothing")


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


def test_a_plugin_that_hangs_while_it_is_imported_is_named_with_the_line_it_hangs_at(
    folder: Path, write: Write
) -> None:
    bad = write("bad.py", "import threading\n\nthreading.Event().wait()\n")
    write("good.py", GOOD)
    with structlog.testing.capture_logs() as logs:
        registry = load(folder, seconds=0.2)
    first = (logs[0]["event"], logs[0]["plugin"])
    assert first == ("plugin.slow", "bad"), "before it is known how that ends"
    problem = only_problem(registry)
    assert problem.where == line_of(bad, "wait()")
    assert "did not return within 0.2 s" in problem.reason
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


def test_a_plugin_can_offer_sinks_by_the_hook(folder: Path, write: Write) -> None:
    write(
        "hooked.py",
        """
        from tdbwatch.plugin import Sink, SinkType, hookimpl

        class Mine(Sink):
            '''Mine.'''

            async def deliver(self, batch):
                pass

        @hookimpl
        def tdbwatch_sinks():
            yield SinkType("mine", Mine)
            yield SinkType("yours", Mine)
        """,
    )
    registry = load(folder)
    assert registry.problems == []
    assert registry.plugins[-1].sinks == ("mine", "yours")


def test_a_sink_that_is_marked_and_given_by_the_hook_is_one_sink(folder: Path, write: Write) -> None:
    write(
        "twice.py",
        """
        from tdbwatch.plugin import hookimpl, sink
        from tdbwatch.plugin.sink import marked

        @sink("twice")
        def twice(event): pass

        @hookimpl
        def tdbwatch_sinks():
            return [marked(twice)]
        """,
    )
    registry = load(folder)
    assert registry.problems == []
    assert registry.plugins[-1].sinks == ("twice",)


@pytest.mark.parametrize(
    ("body", "culprit", "said"),
    [
        ("raise RuntimeError('broken hook')", "broken hook", "RuntimeError: broken hook"),
        ("return [1]", "", "tdbwatch_sinks gave int, not SinkType"),
        ("return 7", "", "not iterable"),
        ("import threading; threading.Event().wait()", "wait()", "did not return"),
    ],
)
def test_a_hook_that_fails_leaves_the_plugins_marked_sinks(
    folder: Path, write: Write, body: str, culprit: str, said: str
) -> None:
    code = f"{GOOD}\nfrom tdbwatch.plugin import hookimpl\n\n@hookimpl\ndef tdbwatch_sinks():\n    {body}\n"
    file = write("half.py", code)
    registry = load(folder, seconds=0.5)
    problem = only_problem(registry)
    assert problem.plugin == "half"
    assert said in problem.reason
    if culprit:
        assert problem.where == line_of(file, culprit)
    assert "good" in registry.sink_types


def test_a_hook_with_wrong_arguments_is_reported_and_the_plugins_sinks_stay(
    folder: Path, write: Write
) -> None:
    write(
        "odd.py",
        GOOD + "\nfrom tdbwatch.plugin import hookimpl\n@hookimpl\ndef tdbwatch_started(nonsense): pass\n",
    )
    registry = load(folder)
    assert "nonsense" in only_problem(registry).reason
    assert "good" in registry.sink_types


def test_a_hook_that_tdbwatch_does_not_know_is_reported_with_its_line(folder: Path, write: Write) -> None:
    file = write(
        "odd.py", GOOD + "\nfrom tdbwatch.plugin import hookimpl\n@hookimpl\ndef tdbwatch_startet(): pass\n"
    )
    problem = only_problem(load(folder))
    assert "tdbwatch_startet is not a hook" in problem.reason
    assert "tdbwatch_started" in problem.reason
    assert problem.where == line_of(file, "@hookimpl")


def test_of_two_plugins_that_offer_one_type_the_first_wins_and_both_are_named(
    folder: Path, write: Write
) -> None:
    write("a.py", GOOD)
    write("b.py", GOOD)
    registry = load(folder)
    problem = only_problem(registry)
    assert problem.plugin == "b"
    assert "plugin a" in problem.reason
    assert registry.owner_of("good") == "a"


def test_a_built_in_sink_type_cannot_be_taken_over(folder: Path, write: Write) -> None:
    write("a.py", GOOD.replace('"good"', '"webhook"'))
    registry = load(folder)
    assert "plugin webhook offers already" in only_problem(registry).reason
    assert registry.owner_of("webhook") == "webhook"
    assert registry.plugins[-1].sinks == ()


def test_a_plugins_name_that_is_taken_is_refused(folder: Path, write: Write) -> None:
    write("log.py", GOOD)
    registry = load(folder)
    assert "already a plugin of this name (built-in)" in only_problem(registry).reason
    assert "good" not in registry.sink_types


def test_two_sinks_of_one_name_in_one_plugin_are_a_problem(folder: Path, write: Write) -> None:
    write("a.py", GOOD + '\n@sink("good")\ndef other(event): pass\n')
    registry = load(folder)
    assert "sink type good" in only_problem(registry).reason
    assert registry.plugins[-1].sinks == ("good",)


def test_importing_another_plugins_sink_does_not_offer_it_again(folder: Path, write: Write) -> None:
    write(
        "mine.py",
        """
        from tdbwatch.plugin import sink
        from tdbwatch.sinks.log import LogSink

        @sink("loud")
        class Loud(LogSink):
            '''Loud.'''

        class NotMarked(Loud):
            pass
        """,
    )
    registry = load(folder)
    assert registry.problems == []
    assert registry.plugins[-1].sinks == ("loud",)


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


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_can_write_is_refused_with_the_remedy(
    folder: Path, write: Write, mode: int
) -> None:
    file = write("bad.py", GOOD, mode)
    registry = load(folder)
    assert f"chmod go-w {file}" in only_problem(registry).remedy
    assert "good" not in registry.sink_types


@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_a_folder_that_others_can_write_is_refused_with_the_remedy(
    folder: Path, write: Write, mode: int
) -> None:
    write("good.py", GOOD)
    folder.chmod(mode)
    registry = load(folder)
    assert f"chmod go-w {folder}" in only_problem(registry).remedy
    assert "good" not in registry.sink_types


def test_a_link_is_trusted_as_what_it_points_to(folder: Path, tmp_path: Path) -> None:
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    (open_folder / "target.py").write_text(GOOD)
    (open_folder / "target.py").chmod(0o644)
    (folder / "link.py").symlink_to(open_folder / "target.py")
    (folder / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    registry = load(folder)
    found = {problem.plugin: problem for problem in registry.problems}
    assert f"chmod go-w {open_folder}" in found["link"].remedy
    assert "No such file" in found["dangling"].reason
    assert "good" not in registry.sink_types


def test_a_file_of_another_user_is_refused_and_one_of_root_or_our_own_is_not() -> None:
    path = Path("/etc/tdbwatch/plugins.d/a.py")
    distrust = judge(path, owner=1001, mode=0o100644, user=1000)
    assert distrust is not None
    assert "belongs to user 1001" in distrust.reason
    assert judge(path, owner=0, mode=0o100644, user=1000) is None
    assert judge(path, owner=1000, mode=0o100600, user=1000) is None


def test_a_compiled_file_never_stands_in_for_the_source(folder: Path, write: Write) -> None:
    import py_compile

    file = write("good.py", GOOD.replace('"good"', '"evil"'))
    py_compile.compile(str(file), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    write("good.py", GOOD)
    registry = load(folder)
    assert "good" in registry.sink_types
    assert "evil" not in registry.sink_types


def test_options_of_a_file_plugin_are_a_model_like_any_other(folder: Path, write: Write) -> None:
    write(
        "opts.py",
        """
        from __future__ import annotations
        from tdbwatch.plugin import Duration, Event, Options, sink

        class Mine(Options):
            wait: Duration = 1.0

        @sink("mine", options=Mine)
        def mine(event: Event, options: Mine):
            assert options.wait == 2.0
        """,
    )
    registry = load(folder)
    assert registry.problems == []
    assert len(deliver(registry.sink_types["mine"], make_event(), {"wait": "2s"})) == 1


LIFE = """
from tdbwatch.plugin import hookimpl
told = []

@hookimpl
def tdbwatch_started(version):
    told.append(version)

@hookimpl
def tdbwatch_stopping():
    told.append("stopping")
"""


async def test_every_plugin_is_told_of_start_and_stop(folder: Path, write: Write) -> None:
    write("life.py", LIFE)
    registry = load(folder)
    await registry.notify_started("1.2.3")
    await registry.notify_stopping()
    assert sys.modules["tdbwatch_plugin_life"].told == ["1.2.3", "stopping"]  # type: ignore[attr-defined]
    assert registry.problems == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise RuntimeError('sick')", "RuntimeError: sick"),
        ("raise SystemExit(1)", "it ended the program"),
        ("import threading; threading.Event().wait()", "did not return within"),
    ],
)
async def test_a_plugin_that_fails_at_start_is_named_and_the_others_are_told(
    folder: Path, write: Write, body: str, said: str
) -> None:
    sick = write("a_sick.py", LIFE.replace("told.append(version)", body))
    write("life.py", LIFE)
    registry = load(folder, seconds=0.3)
    await registry.notify_started("1")
    problem = only_problem(registry)
    assert problem.plugin == "a_sick"
    assert said in problem.reason
    assert problem.where.startswith(f"{sick}:")
    assert sys.modules["tdbwatch_plugin_life"].told == ["1"]  # type: ignore[attr-defined]


async def test_hooks_run_off_the_event_loop(folder: Path, write: Write) -> None:
    write(
        "life.py",
        LIFE.replace("told.append(version)", "import threading; told.append(threading.get_ident())"),
    )
    registry = load(folder)
    await registry.notify_started("1")
    import threading

    assert sys.modules["tdbwatch_plugin_life"].told != [threading.get_ident()]  # type: ignore[attr-defined]


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


def test_no_thread_that_a_plugin_left_behind_keeps_the_process_alive(folder: Path, write: Write) -> None:
    import subprocess

    write("bad.py", "import threading\nthreading.Event().wait()\n")
    code = f"""
from pathlib import Path
from tdbwatch.daemon.plugins import load_plugins
load_plugins([Path({str(folder)!r})], import_seconds=0.1)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0
    assert b"bad" in done.stdout
