"""What every `tdbwatch spool` command refuses, and in which words."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tdbwatch.cli.app import build_parser, main
from tdbwatch.plugin import Event

from .kit import CONFIG, Run, fill


def test_a_spool_that_cannot_be_written_is_named(run: Run, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON orders BEGIN SELECT RAISE(FAIL, 'no'); END")
    for place in (("--config", "prod.yaml"), ("--spool", str(folder / "spool.db"))):
        code, _, err = run("spool", "requeue", "--all", place=place)
        assert code == 73
        message = f"the spool {folder}/spool.db cannot be written: no; see the disk"
        assert err.startswith(f"tdbwatch spool requeue: {message}")


def test_a_damaged_spool_is_named(run: Run, folder: Path) -> None:
    with (folder / "spool.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40_000)
    code, _, err = run("spool", "list")
    assert code == 65
    assert err.startswith(f"tdbwatch spool list: the spool {folder}/spool.db is damaged: ")


@pytest.mark.parametrize("action", ["stats", "list", "export", "doctor", "requeue --all", "show x"])
def test_no_spool_ends_with_66(run: Run, folder: Path, action: str) -> None:
    code, _, err = run("spool", *action.split(), place=("--spool", "nowhere.db"))
    assert (code, "there is no spool at nowhere.db" in err) == (66, True)
    assert not (folder / "nowhere.db").exists()


def test_another_database_ends_with_66_and_is_left_alone(run: Run, folder: Path) -> None:
    with sqlite3.connect(folder / "other.db") as connection:
        connection.execute("CREATE TABLE precious(data)")
    connection.close()
    code, _, err = run("spool", "doctor", place=("--spool", "other.db"))
    assert (code, "not a spool of tdbwatch" in err) == (66, True)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (CONFIG.replace("spool.db}", "7}"), ":8:15: spool.path: "),
        (CONFIG.replace("spool:", "spol:"), ":8:1: spol: unknown key\n    did you mean spool?"),
        (CONFIG.replace("spool.db", '"${NOT_SET_HERE}"'), ":8:15: spool.path: the environment variable"),
        ("spool: {path: spool.db}\nsinks: 7", ":2:8: sinks: must be a mapping"),
    ],
)
def test_a_bad_configuration_ends_with_78(run: Run, folder: Path, text: str, place: str) -> None:
    (folder / "prod.yaml").write_text(text)
    code, _, err = run("spool", "stats")
    assert (code, f"prod.yaml{place}" in err) == (78, True), err


def test_what_is_wrong_elsewhere_in_the_configuration_keeps_nobody_from_the_spool(
    run: Run, folder: Path
) -> None:
    elsewhere = CONFIG.replace("token: t", "token_credential: not-in-this-shell").replace("alerts, ops", "4")
    sinks = elsewhere.replace("{type: log}}", '{type: nobody-offers-it, secret: "${NOT_SET_HERE}"}}')
    (folder / "prod.yaml").write_text(sinks)
    assert run("spool", "stats")[0] == 0
    assert run("spool", "requeue", "--sink", "oncall")[0] == 0


def test_no_plugin_is_imported(run: Run, folder: Path, events: list[Event]) -> None:
    plugins = folder / "plugins.d"
    plugins.mkdir(mode=0o755)
    (plugins / "slow.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    (folder / "prod.yaml").write_text(CONFIG + "plugins: {paths: [plugins.d]}\n")
    actions = (
        "stats",
        "list",
        f"show {events[1].id}",
        "requeue --all",
        "drop --all --yes",
        "export",
        "doctor",
    )
    for action in actions:
        assert run("spool", *action.split())[0] == 0
    assert run("replay", "--sink", "audit")[0] == 0
    assert not (folder / "imported").exists()


@pytest.mark.parametrize(
    "args", [("list",), ("list", "--dead"), ("export", "--output", "out.jsonl"), ("requeue",), ("drop",)]
)
def test_a_sink_that_nobody_knows_is_refused(run: Run, folder: Path, args: tuple[str, ...]) -> None:
    for place in (("--config", "prod.yaml"), ("--spool", "spool.db")):
        code, out, err = run("spool", *args, "--sink", "oncal", place=place)
        message = "there is no sink 'oncal'; did you mean oncall? there are: audit, oncall\n"
        assert (code, out, err) == (64, "", f"tdbwatch spool {args[0]}: {message}")
    assert not (folder / "out.jsonl").exists(), "nothing is begun"


def test_a_time_that_ends_before_it_begins_is_refused(run: Run) -> None:
    code, _, err = run("spool", "list", "--since", "1h", "--until", "2h")
    assert (code, "--since is not before --until; a duration says how long ago" in err) == (64, True)


@pytest.mark.parametrize(
    "args",
    [["list", "--since", "soon"], ["list", "--until", "soon"], ["list", "--limit", "-1"], ["nonsense"], []],
)
def test_wrong_usage_ends_with_64(run: Run, args: list[str]) -> None:
    assert run("spool", *args)[0] == 64


@pytest.mark.parametrize("action", ["stats", "list", "show", "requeue", "drop", "export", "doctor"])
def test_every_help_fits_a_screen_and_shows_an_example(
    action: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        build_parser().parse_args(["spool", action, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert "example:" in lines
    assert len(lines) <= 23, "with the prompt 24"
    assert max(map(len, lines)) <= 80


def test_what_rooms_and_events_are_called_cannot_drive_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(fill(tmp_path / "s.db", [Event.create("a\x1b[2J", "b\nc", ["\x07"])], dead=1))
    for args in (["list"], ["list", "--dead"]):
        assert main(["spool", *args, "--spool", str(tmp_path / "s.db")]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert out.count("\n") == 1


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so it is somebody else for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("forbidden", [".", "spool.db"])
@pytest.mark.parametrize("args", [("stats",), ("list",), ("show", "x"), ("doctor",), ("requeue", "--all")])
def test_what_this_user_may_not_read_is_said_in_one_line(
    run: Run, folder: Path, args: tuple[str, ...], forbidden: str
) -> None:
    place = ("--spool", "spool.db")  # seen from within: the folders above are the test runner's
    run("spool", *args, place=place)  # what a command imports is read before, as the test's own user
    folder.chmod(0o755)
    (folder / forbidden).chmod(0)
    try:
        with as_nobody():
            code, out, err = run("spool", *args, place=place)
    finally:
        folder.chmod(0o755)
    remedy = "run this as the owner of the spool, or as root"
    assert (code, out) == (77, "")
    assert err.startswith(f"tdbwatch spool {args[0]}: Permission denied: ")
    assert "spool.db" in err
    assert err.endswith(f"; {remedy}\n")


def test_a_plugin_that_is_a_sink_by_its_hook_is_one_of_the_sinks(run: Run, folder: Path) -> None:
    (folder / "plugins.d").mkdir(mode=0o755)
    (folder / "plugins.d" / "pager.py").write_text("raise RuntimeError\ndef tdbwatch_event(event): pass\n")
    (folder / "plugins.d" / "pager.py").chmod(0o644)
    (folder / "prod.yaml").write_text(CONFIG + "plugins: {paths: [plugins.d]}\n")
    code, out, err = run("spool", "stats")
    assert (code, err) == (0, "")
    assert "pager" in out


@pytest.mark.parametrize(
    ("time", "code"),
    [
        ("0001-01-01T00:00:00+14:00", 0),
        ("9999-12-31T23:59:59-14:00", 0),
        ("10000-01-01", 64),
        ("9999999999999999d", 64),
    ],
)
@pytest.mark.parametrize("option", ["--since", "--until"])
def test_times_at_the_ends_of_the_calendar_and_beyond_end_in_words(
    run: Run, option: str, time: str, code: int
) -> None:
    found, _, err = run("spool", "list", option, time)
    assert found == code
    assert code == 0 or "neither a duration" in err
