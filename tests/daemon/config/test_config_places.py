"""What will be written to is a file, and no two file sinks come to write to one."""

import os
from pathlib import Path

import pytest

from tdbwatch.daemon.config import ConfigError, parse
from tdbwatch.plugin import SinkType
from tdbwatch.plugin.sink import marked
from tdbwatch.sinks.file.sink import FileSink
from tdbwatch.sinks.log import LogSink

TYPES: dict[str, SinkType] = {
    made.name: made for sink in (FileSink, LogSink) if (made := marked(sink)) is not None
}
BASE = "thingsdb: {nodes: [node01], auth: {token: t}}\nrooms: [alerts, ops]\n"
SAME = "sinks.b.path: sink a writes to the same file (line 3)\n    give each sink a path of its own"


def complaint(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    """What is wrong with a configuration file in `folder`; nothing, if it is fine."""
    try:
        parse((BASE + text).encode(), str(folder / "p.yaml"), environ or {}).config(TYPES)
    except ConfigError as error:
        return str(error).replace(f"{folder}/", "")
    return ""


def two_files(one: str, other: str, routes: str = "") -> str:
    sinks = (
        f'sinks: {{a: {{type: file, path: "{one}"}}, b: {{type: file, path: "{other}"}}, c: {{type: log}}}}'
    )
    return f"{sinks}\nroutes: {routes}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("out.jsonl", "out.jsonl"),
        ("out.jsonl", "./out.jsonl"),
        ("logs/{room}.jsonl", "logs//{room}.jsonl"),
        ("{scope}-{event}-{kind}", "{scope}-{event}-{kind}"),
    ],
)
def test_two_sinks_that_get_everything_must_not_write_to_one_file(tmp_path: Path, one: str, other: str):
    assert SAME in complaint(tmp_path, two_files(one, other))
    assert complaint(tmp_path, two_files(one, other)).startswith("p.yaml:3:")


def test_a_relative_path_and_an_absolute_one_may_mean_one_file(tmp_path: Path):
    assert SAME in complaint(tmp_path, two_files("x.jsonl", f"{tmp_path}/x.jsonl"))


@pytest.mark.parametrize(
    ("one", "other"),
    [("a.jsonl", "b.jsonl"), ("{room}.jsonl", "{event}.jsonl"), ("x/a", "y/a"), ("{{a}}", "a")],
)
def test_two_sinks_with_paths_of_their_own_are_fine(tmp_path: Path, one: str, other: str):
    assert complaint(tmp_path, two_files(one, other)) == ""


@pytest.mark.parametrize(
    ("path", "routes", "meet"),
    [
        ("{room}.jsonl", "[{to: [a, b]}]", True),
        ("{room}.jsonl", "[{match: {room: alerts}, to: a}, {match: {room: ops}, to: b}]", False),
        ("{event}.jsonl", "[{to: [a, c]}, {to: [b, c]}]", False),
        ("all.jsonl", "[{match: {room: alerts}, to: a}, {match: {room: ops}, to: b}]", True),
        ("{date}.jsonl", "[{to: [a, c]}, {to: [b, c]}]", True),
        ("all.jsonl", "[{to: [a, c]}]", False),
    ],
)
def test_where_routes_part_the_events_only_what_certainly_meets_is_refused(
    tmp_path: Path, path: str, routes: str, meet: bool
):
    said = complaint(tmp_path, two_files(path, path, routes))
    assert said.endswith(SAME) if meet else said == ""


LOG = "sinks: {a: {type: log}}\n"
FOLDER = ": this is a folder, not a file\n    name a file in it"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            LOG + "spool: {path: there}",
            f"p.yaml:4:15: spool.path{FOLDER}, such as there/spool.db",
        ),
        (
            "sinks: {a: {type: file, path: there}}",
            f"p.yaml:3:31: sinks.a.path{FOLDER}, such as there/{{room}}.jsonl",
        ),
        (
            LOG + 'spool: {path: "${PLACE}"}',
            f"p.yaml:4:15: spool.path{FOLDER}",
        ),
        (LOG + "spool: {path: there/not/yet.db}", ""),
        ("sinks: {a: {type: file, path: not-yet/out.jsonl}}", ""),
        ("sinks: {a: {type: file, path: '{room}'}}", ""),
    ],
)
def test_a_folder_is_no_place_for_a_file(tmp_path: Path, text: str, expected: str):
    (tmp_path / "there").mkdir()
    assert complaint(tmp_path, text, {"PLACE": "there"}) == expected


def test_what_nobody_may_look_at_is_not_complained_of(tmp_path: Path):
    assert complaint(tmp_path, LOG + f"spool: {{path: {'x' * 300}/spool.db}}") == ""


@pytest.mark.parametrize("path", ["p.yaml", "s.db", "s.db-wal", "hard", "link", "s.db.lock"])
def test_a_file_sink_must_not_write_to_what_tdbwatch_lives_on(tmp_path: Path, path: str):
    for name in ("p.yaml", "s.db"):
        (tmp_path / name).touch()
    (tmp_path / "hard").hardlink_to(tmp_path / "s.db")
    (tmp_path / "link").symlink_to("p.yaml")
    text = f"sinks: {{a: {{type: file, path: {path}}}}}\nspool: {{path: s.db}}\n"
    assert complaint(tmp_path, text).startswith(
        "p.yaml:3:31: sinks.a.path: tdbwatch itself lives on this file\n"
    )


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "fifo"])
def test_a_file_sink_must_not_write_to_what_is_no_file(tmp_path: Path, path: str):
    os.mkfifo(tmp_path / "fifo")
    text = f"sinks: {{a: {{type: file, path: {path}}}}}\n"
    assert "this is a device, a pipe or a socket, not a file" in complaint(tmp_path, text)
