"""`tdbwatch check` says in one line that a file is fine, or what is wrong with it."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from tdbwatch.cli import app
from tdbwatch.cli.config import check

GOOD = """
thingsdb: {nodes: [node01, node02], auth: {token: t0ken}}
rooms: [alerts]
sinks: {console: {type: log}, mine: {type: shout}}
routes: [{to: console}, {match: {room: alerts}, to: mine}]
plugins: {paths: [plugins.d]}
"""
PLUGIN = """
from tdbwatch.plugin import Event, sink

@sink("shout")
def shout(event: Event) -> None:
    print(event.room)
"""
Check = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plugins.d").mkdir()
    (tmp_path / "plugins.d" / "shout.py").write_text(PLUGIN)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Check:
    """Check a file with the given content; gives the exit code."""

    def run_check(text: str, *more: str) -> int:
        (folder / "prod.yaml").write_text(text)
        parser = argparse.ArgumentParser()
        check.add_parser(parser.add_subparsers())
        args = parser.parse_args(["check", "--config", str(folder / "prod.yaml"), *more])
        code: int = args.run(args)
        return code

    return run_check


def test_a_good_file_is_summed_up_in_one_line(run: Check, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run(GOOD) == 0
    assert capsys.readouterr() == (f"{folder}/prod.yaml: fine: 2 nodes, 1 room, 2 sinks, 2 routes\n", "")


def test_a_bad_file_ends_with_78_and_its_problems(
    run: Check, folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(GOOD + "htpp: {}\nspool: {max_age: 5}\n") == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{folder}/prod.yaml:7:1: htpp: unknown key\n    did you mean http?")
    assert f"{folder}/prod.yaml:8:18: spool.max_age: a number without a unit" in err
    assert "Traceback" not in err


def test_a_file_that_is_not_there_ends_with_78(capsys: pytest.CaptureFixture[str]):
    assert check.run(argparse.Namespace(config="/nowhere/prod.yaml", strict=False)) == 78
    assert "/nowhere/prod.yaml: cannot be read: No such file or directory" in capsys.readouterr().err


def test_a_broken_plugin_is_wrong_even_if_no_sink_needs_it(
    run: Check, folder: Path, capsys: pytest.CaptureFixture[str]
):
    broken = folder / "plugins.d" / "broken.py"
    broken.write_text("\nimport nothing_of_this_name")
    assert run(GOOD) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"{folder}/prod.yaml:6:19: error: plugin broken: it cannot be imported: ModuleNotFoundError: "
        f"No module named 'nothing_of_this_name' ({broken}:2)\n"
        f"{folder}/prod.yaml: not every plugin loads; the daemon would start without them\n"
        "    mend them; one that nobody needs is left out with plugins: {disable: [NAME]}\n"
    )
    assert run(GOOD.replace("[plugins.d]", "[plugins.d], disable: [broken]")) == 0


def test_a_folder_of_plugins_that_is_missing_or_that_others_can_write_is_wrong(
    run: Check, folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(GOOD.replace("[plugins.d]", "[plugins.d, more.d]")) == 78
    line = next(n for n, text in enumerate(GOOD.splitlines(), 1) if "plugins.d" in text)
    column = GOOD.splitlines()[line - 1].index("plugins.d") + len("plugins.d, ") + 1
    reason = (
        f"plugin more.d: the folder cannot be read: No such file or directory ({folder}/more.d); remedy: make"
    )
    assert f"{folder}/prod.yaml:{line}:{column}: error: {reason}" in capsys.readouterr().err
    (folder / "more.d").mkdir(mode=0o755)
    assert run(GOOD.replace("[plugins.d]", "[plugins.d, more.d]")) == 0
    (folder / "more.d").chmod(0o777)
    assert run(GOOD.replace("[plugins.d]", "[plugins.d, more.d]")) == 78
    assert f"is writable by everyone; remedy: run `chmod go-w {folder}/more.d`" in capsys.readouterr().err
    (folder / "plugins.d" / "shout.py").chmod(0o666)
    assert run(GOOD) == 78
    assert f"chmod go-w {folder}/plugins.d/shout.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("shout", "import json\njson.loads('{')", "plugin shout: it cannot be imported: json.decoder"),
        ("log", PLUGIN, "plugin log: there is already a plugin of this name (built-in) ("),
        ("loud", PLUGIN, "plugin shout: it offers the sink type shout, which plugin loud offers already"),
        ("syntax", "(", "plugin syntax: it cannot be imported: SyntaxError: "),
    ],
)
def test_what_is_wrong_with_a_file_of_a_folder_has_the_folders_place_in_the_configuration(
    run: Check, folder: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
):
    (folder / "first.d").mkdir(mode=0o755)
    (folder / "plugins.d" / f"{name}.py").write_text(text)
    assert run(GOOD.replace("[plugins.d]", "[first.d, plugins.d]")) == 78
    assert f"{folder}/prod.yaml:6:28: error: {said}" in capsys.readouterr().err


def test_where_there_are_no_routes_the_summary_says_what_that_means(
    run: Check, capsys: pytest.CaptureFixture[str]
):
    assert run(GOOD.replace("routes:", "# routes:")) == 0
    assert capsys.readouterr().out.endswith("2 sinks, no routes, so every sink gets every event\n")


CREDENTIALS = GOOD.replace("{token: t0ken}", "{token_credential: tdb-token}").replace(
    "console: {type: log}", "console: {type: webhook, url_credential: hook, auth: {bearer_credential: hook}}"
)


def test_a_credential_that_only_the_service_has_is_noted_and_no_problem(
    run: Check, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert run(CREDENTIALS) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder}/prod.yaml: fine: 2 nodes, 1 room, 2 sinks, 2 routes\n"
    why = "only the service knows this credential, so it is not checked here"
    assert err == (
        f"{folder}/prod.yaml:2:62: thingsdb.auth.token_credential: {why}\n"
        f"{folder}/prod.yaml:4:50: sinks.console.url_credential: {why}\n"
        f"{folder}/prod.yaml:4:82: sinks.console.auth.bearer_credential: {why}\n"
        "    to have them checked too, run this as root beside the service, with\n"
        "    CREDENTIALS_DIRECTORY=/run/credentials/tdbwatch.service in the environment\n"
    )
    assert run(CREDENTIALS + "htpp: {}\n") == 78
    assert "htpp: unknown key" in capsys.readouterr().err


def test_where_the_credentials_are_known_they_are_checked(
    run: Check, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    (folder / "tdb-token").write_text("t0ken")
    (folder / "hook").write_text("https://example.org/hook")
    assert run(CREDENTIALS) == 0
    assert capsys.readouterr().err == ""
    (folder / "tdb-token").unlink()
    (folder / "hook").write_text("no url")
    assert run(CREDENTIALS) == 78
    err = capsys.readouterr().err
    assert "thingsdb.auth.token_credential: there is no systemd credential tdb-token" in err
    assert "sinks.console.url" in err


def test_the_name_of_a_credential_is_checked_everywhere(run: Check, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert run(CREDENTIALS.replace("tdb-token", "../tdb-token")) == 78


def test_a_sink_of_a_broken_plugin_is_told_with_the_plugins_own_mistake(
    run: Check, folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "plugins.d" / "shout.py").write_text("1 / 0")
    assert run(GOOD) == 78
    err = capsys.readouterr().err
    assert "error: plugin shout: " in err
    assert "sinks.mine.type: no plugin offers this type of sink" in err


def test_a_disabled_plugin_that_is_not_there_is_told(run: Check, capsys: pytest.CaptureFixture[str]):
    assert run(GOOD.replace("[plugins.d]", "[plugins.d], disable: [nosuch]")) == 0
    assert "prod.yaml: warning: plugin nosuch: plugins.disable names it" in capsys.readouterr().err


def test_the_help_fits_a_screen_and_shows_an_example():
    parser = check.add_parser(argparse.ArgumentParser().add_subparsers())
    text = parser.format_help()
    assert len(text.splitlines()) <= 24
    assert "tdbwatch check --config" in text


@pytest.mark.parametrize(
    ("retry", "said"),
    [
        ("{max_attempts: 20, max_age: 1d}", "the 20 attempts are used up after 58 min 31 s"),
        ("{max_attempts: 1, max_age: 1s}", "the one attempt is used up at once"),
        ("{max_attempts: 400, max_age: 1d}", ""),
        ("{max_attempts: 5}", ""),
        ("{max_age: 10m}", ""),
        ("{max_attempts: unlimited, max_age: unlimited}", "the spool drops events after 7 d"),
        ("{max_age: 8d}", "the spool drops events after 7 d"),
        ("{max_age: 7d}", ""),
        ("{max_attempts: 1000000000, max_age: 1d}", ""),
    ],
)
def test_an_age_that_is_never_reached_is_a_warning(
    run: Check, capsys: pytest.CaptureFixture[str], retry: str, said: str
):
    assert run(GOOD.replace("{type: log}", f"{{type: log, retry: {retry}}}")) == 0
    _, err = capsys.readouterr()
    assert said in err
    assert ("sinks.console.retry.max_age: warning: it is never reached" in err) == bool(said)


DOUBTFUL = GOOD.replace("room: alerts}, to: mine", "room: alertz}, to: [mine]").replace(
    "node02]", "node02], connections: 3"
)


def test_a_warning_has_its_place_and_its_remedy_and_fails_only_if_that_is_asked_for(
    run: Check, folder: Path, capsys: pytest.CaptureFixture[str]
):
    place = f"{folder}/prod.yaml"
    told = (
        f"{place}:2:50: thingsdb.connections: warning: more connections than nodes: there are 2 nodes\n"
        "    each connection goes to another node: list more nodes, or write auto\n"
        f"{place}:4:37: sinks.mine: warning: nothing reaches this sink: no route leads there\n"
        "    name it in a route's `to`, or remove it\n"
        f"{place}:5:40: routes[1].match.room: warning: no room that is watched has such a name\n"
        "    did you mean alerts? the rooms are: alerts\n"
    )
    assert run(DOUBTFUL) == 0
    fine = f"{place}: fine: 2 nodes, 1 room, 2 sinks, 2 routes; 3 warnings\n"
    assert capsys.readouterr() == (fine, told)
    assert run(DOUBTFUL, "--strict") == 78
    assert capsys.readouterr() == ("", told)
    assert run(GOOD, "--strict") == 0


def test_a_configuration_in_several_files_is_checked_tested_and_explained_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = tmp_path / "prod.yaml"
    main.write_text(
        "thingsdb: {nodes: [a], auth: {token: t}}\nrooms: [alerts]\n"
        "sinks: {x: {type: log}}\ninclude: ['*.y']\n"
    )
    tests = "tests: [{name: goes to y, given: [{room: alerts}], expect: {y: 1}}]"
    (tmp_path / "1.y").write_text(f"sinks: {{y: {{type: log}}}}\n{tests}")
    (tmp_path / "2.y").write_text("routes: [{to: y}]")
    for words, expected in (
        (["check"], "prod.yaml: fine: 3 files, 1 node, 1 room, 2 sinks, 1 route; 1 warning\n"),
        (["test"], "1 test: 1 passed, 0 failed\n"),
        (["check", "--explain", "alerts", "disk"], "sink    y\n"),
        (["schema"], "}\n"),
    ):
        assert app.main([words[0], "--config", str(main), *words[1:]]) == 0
        assert capsys.readouterr().out.endswith(expected)
