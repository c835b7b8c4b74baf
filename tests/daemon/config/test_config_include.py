"""A configuration in several files means what it would mean in one."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.daemon.config import Config, ConfigError, load, read
from tdbwatch.daemon.config.models.config import Sections
from tdbwatch.plugin import SinkType
from tdbwatch.plugin.sink import marked
from tdbwatch.sinks.file.sink import FileSink
from tdbwatch.sinks.log import LogSink
from tdbwatch.sinks.webhook import WebhookSink

TYPES: dict[str, SinkType] = {
    made.name: made for sink in (FileSink, LogSink, WebhookSink) if (made := marked(sink)) is not None
}
MAIN = "thingsdb: {nodes: [node01], auth: {token: t}}\nrooms: [alerts]\nsinks: {console: {type: log}}\n"

ENVIRON = {"TOKEN": "${NOT_AGAIN}"}
WHOLE: dict[str, Any] = {
    "thingsdb": {"nodes": ["node01"], "auth": {"token": "${TOKEN}"}, "scope": "//ops"},
    "rooms": ["alerts", {"name": "deploys", "scope": "//stuff"}, {"id": 7, "as": "seven"}],
    "sinks": {
        "console": {"type": "log"},
        "audit": {"type": "file", "path": "audit/{room}.jsonl"},
        "oncall": {"type": "webhook", "url": "https://example.org/$${x}", "retry": {"max_age": "1d"}},
    },
    "routes": [
        {"match": {"room": "alerts"}, "where": "args[0] > 1", "to": ["oncall"], "stop": True},
        {"match": {"room": ["deploys", "seven"]}, "to": ["audit"]},
        {"to": ["console"]},
    ],
    "tests": [{"name": name, "given": [{"room": "alerts"}], "expect": {"console": 1}} for name in "abc"],
    "spool": {"path": "spool.db", "max_size": "10MB"},
    "http": {"listen": "127.0.0.1:9280"},
    "logging": {"level": "debug"},
    "plugins": {"paths": ["plugins.d"], "disable": ["x"]},
}


def write(folder: Path, **files: str) -> Path:
    """Write files by their names, `__` for `/`; the path of the main one."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder / "main.yaml"


def complaints(main: Path, command: str = "config") -> list[str]:
    """What is wrong, with names that are relative to the main file's folder."""
    with pytest.raises(ConfigError) as refused:
        getattr(read(main, {}), command)(TYPES)
    return str(refused.value).replace(f"{main.parent}/", "").splitlines()


def meaning(config: Config) -> list[Any]:
    parts = {name: getattr(config, name) for name in Sections.model_fields if name != "routes"}
    routes = [
        (route.model_dump(exclude={"where"}), getattr(route.where, "source", "")) for route in config.routes
    ]
    return [parts, routes, {sink.name: sink for sink in config.sinks}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """Its folder, and what it means."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "conf.d").mkdir()
    (folder / "whole.yaml").write_text(yaml.safe_dump(WHOLE, sort_keys=False))
    return folder, meaning(load(folder / "whole.yaml", TYPES, ENVIRON))


@st.composite
def pieces(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The whole, cut into files: keys of sections anywhere, lists in order."""
    count = draw(st.integers(2, 6))
    files: list[dict[str, Any]] = [{} for _ in range(count)]
    which = st.integers(0, count - 1)
    for section, value in WHOLE.items():
        if isinstance(value, dict):
            for key, item in value.items():
                files[draw(which)].setdefault(section, {})[key] = item
        else:
            for index, item in zip(sorted(draw(st.tuples(*[which] * len(value)))), value, strict=True):
                files[index].setdefault(section, []).append(item)
    return files


@settings(max_examples=40)
@given(pieces(), st.data())
def test_a_configuration_cut_into_files_at_random_equals_the_whole(
    whole: tuple[Path, list[Any]], files: list[dict[str, Any]], data: st.DataObject
) -> None:
    folder, wanted = whole
    paths = [folder / "main.yaml"]
    open_ones = [0]  # a file is read after what was included before it: only the last ones go on
    for index in range(1, len(files)):
        above = data.draw(st.integers(0, len(open_ones) - 1))
        open_ones = [*open_ones[: above + 1], index]
        paths.append(folder / data.draw(st.sampled_from([".", "conf.d"])) / f"{index}.yaml")
        here = os.path.relpath(paths[index], paths[open_ones[-2]].parent)
        files[open_ones[-2]].setdefault("include", []).append(here)
    for path, content in zip(paths, files, strict=True):
        path.write_text(yaml.safe_dump(content))
    assert meaning(load(paths[0], TYPES, ENVIRON)) == wanted


def test_a_pattern_stands_for_what_is_there_in_order_of_name(tmp_path: Path) -> None:
    rooms = {f"conf__{name}": f"rooms: [{name}]" for name in ("b", "a", "c")}
    main = write(tmp_path, main=f"include: [conf/c.yaml, conf/*.yaml]\n{MAIN}", **rooms)
    (tmp_path / "conf/.hidden.yaml").write_text("no: yes")
    (tmp_path / "conf/notes.txt").write_text("no: yes")
    document = read(main, {})
    names = [room.record_name for room in document.config(TYPES).rooms]
    assert names == ["alerts", "c", "a", "b"], "one that is named twice is read where it is named first"
    assert [path.name for path in document.files] == ["main.yaml", "c.yaml", "a.yaml", "b.yaml"]


def test_a_pattern_that_matches_nothing_is_fine_and_a_folder_that_is_missing_is_doubtful(
    tmp_path: Path,
) -> None:
    main = write(tmp_path, main=f"{MAIN}include: [conf/*.yaml, gone/*.yaml]", conf__x="# nothing yet\n")
    (tmp_path / "conf/x.yaml").rename(tmp_path / "conf/x.off")
    [warning] = load(main, TYPES, {}).warnings
    assert str(warning).startswith(f"{main}:4:24: include[1]: warning: there is no such folder")


def test_a_pattern_leaves_out_the_file_that_it_stands_in(tmp_path: Path) -> None:
    main = write(tmp_path, main=f"{MAIN}include: ['*.yaml']", other="rooms: [deploys]")
    assert len(load(main, TYPES, {}).rooms) == 2


def test_sections_that_are_empty_or_commented_out_stand_in_nobodys_way(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main=f"{MAIN}include: [a.yaml, b.yaml]\nroutes:\n",
        a="sinks:\n",
        b="routes: [{to: console}]",
    )
    assert len(load(main, TYPES, {}).routes) == 1


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("sinks: {console: {type: log}}",
         "b.yaml:1:9: sinks.console: two sinks have this name; the first is at main.yaml:3:9"),
        ("thingsdb: {auth: {token: x}}",
         "b.yaml:1:12: thingsdb.auth: this key is written twice; the first is at main.yaml:1:29"),
        ("http: {listen: 'x:1'}",
         "b.yaml:1:8: http.listen: this key is written twice; the first is at a.yaml:1:8"),
        ("rooms: x",
         "b.yaml:1:8: rooms: this key is written twice; the first is at main.yaml:2:1"),
        ("rooms: [x]\nrooms: [y]",
         "b.yaml:2:1: rooms: this key is written twice; the first is on line 1"),
        ("rooms: [x, alerts]",
         "b.yaml:1:12: rooms[2]: another room of this scope has the same name or id (main.yaml:2:9)"),
        ("routes: [{to: nobody}]",
         "b.yaml:1:15: routes[1].to: there is no sink of this name"),
        ("\nroutes: [{where: 'args[0] +', to: console}]",
         "b.yaml:2:28: routes[1].where: "),
        ("sinks: {x: {type: log, stile: 1}}",
         "b.yaml:1:24: sinks.x.stile: unknown key"),
        ("sinks: {x: {type: webhook}}",
         "b.yaml:1:9: sinks.x.url: is missing"),
        ("spool: {path: '${NOT_SET}'}",
         "b.yaml:1:15: spool.path: the environment variable NOT_SET is not set"),
        ("thingsdb: {tls: {verify: 5}}",
         "b.yaml:1:26: thingsdb.tls.verify: must be true or false, not a number"),
        ("roooms: [x]",
         "b.yaml:1:1: roooms: unknown key"),
        ("sinks: {x: {type: log, retry: {initial: 9s, max: 1s}}}",
         "b.yaml:1:31: sinks.x.retry: "),
        ("sinks: {x: {type: [}",
         "b.yaml:1:20: sinks.x.type[0]: this is not valid YAML"),
        ("[x]",
         "b.yaml:1:1: the file must hold a mapping (key: value)"),
        ("rooms: [\xff]".encode("latin-1").decode("latin-1"), "b.yaml:1:9: rooms[1]: a room's name"),
    ],
)  # fmt: skip
def test_every_mistake_names_the_right_file(tmp_path: Path, text: str, first: str) -> None:
    a = "http: {listen: 'localhost:0'}\nroutes: [{to: console}]"
    main = write(tmp_path, main=f"{MAIN}include: [a.yaml, b.yaml]", a=a, b=text)
    assert complaints(main)[0].startswith(first)
    assert complaints(main, "check")[0].startswith(first)


@pytest.mark.parametrize(
    ("item", "said", "remedy"),
    [
        (
            "gone.yaml",
            "gone.yaml cannot be read: No such file or directory",
            "check the path; a relative one",
        ),
        ("sub", "sub cannot be read: it is a folder", "write sub/*.yaml for the files in it"),
        ("./", "{} cannot be read: it is a folder", "write ./*.yaml for the files in it"),
        ("main.yaml", "a file cannot include itself: main.yaml includes main.yaml", "remove one"),
        (
            "a.yaml",
            "a file cannot include itself: main.yaml includes a.yaml includes main.yaml",
            "remove one",
        ),
        ("su*/x.yaml", "only a file's name may have wildcards, no folder's", "list each folder"),
        ("'${X}.yaml'", "no variable is known here", "write the name out"),
        ("~/x.yaml", "a ~ stands for nobody's home here", "write the whole path"),
        ("5", "must be a file or a pattern, as text", "write for instance include: [conf.d/*.yaml]"),
    ],
)
def test_what_cannot_be_included_is_told_at_the_item_that_names_it(
    tmp_path: Path, item: str, said: str, remedy: str
) -> None:
    (tmp_path / "sub").mkdir()
    main = write(tmp_path, main=f"{MAIN}include: [{item}]", a="\ninclude: [main.yaml]")
    with pytest.raises(ConfigError) as refused:
        read(main, {})
    [problem] = refused.value.problems
    assert problem.message.replace(f"{tmp_path}/", "") == said.format(tmp_path)
    assert problem.hint.startswith(remedy)
    place = "a.yaml:2:11: include[1]" if item == "a.yaml" else "main.yaml:4:11: include[0]"
    assert str(problem).startswith(f"{tmp_path}/{place}: ")


def test_all_files_that_are_no_yaml_are_told_at_once(tmp_path: Path) -> None:
    main = write(tmp_path, main=f"{MAIN}include: ['?.yaml']", a="x: [", b="rooms: [b]", c="y: {")
    with pytest.raises(ConfigError) as refused:
        read(main, {})
    assert [Path(problem.file).name for problem in refused.value.problems] == ["a.yaml", "c.yaml"]


def test_a_relative_path_starts_at_the_main_files_folder_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3same")
    included = (
        "thingsdb: {auth: {token_file: token}}\nspool: {path: here.db}\nsinks: {f: {type: file, path: f}}"
    )
    text = MAIN.replace(", auth: {token: t}", "")
    config = load(write(tmp_path, main=f"{text}include: [conf/*.yaml]", conf__x=included), TYPES, {})
    assert config.login_file == tmp_path / "token"
    assert config.spool.path == tmp_path / "here.db"
    assert config.sinks[1].options.model_dump()["path"] == str(tmp_path / "f")


@pytest.mark.parametrize(("mode", "who"), [(0o620, "its group"), (0o602, "everyone")])
def test_an_included_file_that_others_can_write_is_refused(tmp_path: Path, mode: int, who: str) -> None:
    main = write(tmp_path, main=f"{MAIN}include: [a.yaml]", a="rooms: [deploys]")
    (tmp_path / "a.yaml").chmod(mode)
    assert complaints(main)[0] == f"a.yaml:1:1: a.yaml is writable by {who}"


def test_no_file_sink_writes_to_an_included_file(tmp_path: Path) -> None:
    main = write(tmp_path, main=f"{MAIN}include: [a.yaml]", a="sinks: {f: {type: file, path: a.yaml}}")
    assert complaints(main)[0] == "a.yaml:1:31: sinks.f.path: tdbwatch itself lives on this file"
