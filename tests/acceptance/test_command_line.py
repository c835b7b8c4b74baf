"""The command line: help, exit codes, the demo, and configurations that cannot be run."""

import argparse
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from tdbwatch import __version__
from tdbwatch.cli.app import build_parser, main


def subparsers() -> dict[str, argparse.ArgumentParser]:
    actions = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(actions[0].choices)


NAMES = list(subparsers())


@pytest.mark.parametrize("name", [None, *NAMES])
def test_help_fits_a_screen_and_shows_an_example(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = build_parser() if name is None else subparsers()[name]
    text = parser.format_help()
    assert "example:" in text
    assert text.count("\n") <= 23, "with the prompt 24"
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("fresh", [True])
async def test_version_is_printed(start: Any) -> None:
    command = await start("--version")
    assert await command.exit_code() == 0
    assert command.text == f"tdbwatch {__version__}\n"


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["run"],
        ["--config"],
        ["demo", "--seconds", "-1"],
        ["node", "--port", "70000"],
        ["node", "--nodes", "0"],
        ["node", "--room", "a b"],
        ["node", "--room", "ops/deploys"],
        ["node", "--emit-every", "1"],
        ["node", "--emit-every", "0s"],
    ],
)
async def test_wrong_usage_ends_with_64_and_no_traceback(start: Any, args: list[str]) -> None:
    command = await start(*args)
    assert await command.exit_code() == 64
    assert "usage" in command.text or "must be" in command.text
    assert "Traceback" not in command.text


@pytest.mark.parametrize("place", [["-c", "my prod.yaml"], ["--config=my prod.yaml"]])
def test_a_command_behind_the_configuration_is_told_where_it_belongs(
    place: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*place, "spool", "stats", "--json"])
    assert ended.value.code == 64
    said = "the command comes first: tdbwatch spool stats --json "
    assert said + shlex.join(place) in capsys.readouterr().err


@pytest.mark.parametrize("command", [*NAMES, "spool list", "spool requeue", "spool doctor"])
def test_what_a_command_does_not_know_is_refused_with_the_usage_of_that_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = {"demo": [], "node": [], "completions": ["bash"], "spool": ["stats", "--spool", "x"]}
    place |= {"init": [], "emit": ["alerts", "x", "--config", "x"], "send": ["audit", "--config", "x"]}
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), *place.get(command, ["--config", "x"]), "--nonsense"])
    assert ended.value.code == 64
    name = f"{command} stats" if command == "spool" else command
    err = capsys.readouterr().err
    assert err.startswith(f"usage: tdbwatch {name} [-h]")
    assert err.endswith(f"\ntdbwatch {name}: unrecognized arguments: --nonsense\n")


@pytest.mark.parametrize(
    ("line", "dest", "arguments"),
    [
        ("send audit -c x one two", "args", ["one", "two"]),
        ("send audit one -c x two --event y -3 -.5 -", "args", ["one", "two", "-3", "-.5", "-"]),
        ("emit alerts -c x disk-full one", "args", ["one"]),
        ("emit alerts disk-full --config x one", "args", ["one"]),
        ("tail alerts -c x //ops/deploys", "rooms", ["alerts", "//ops/deploys"]),
        ("spool requeue 01 -c x 02 --sink audit 03", "ids", ["01", "02", "03"]),
        ("spool drop --sink audit -c x", "ids", []),
    ],
)
def test_arguments_may_stand_before_between_and_behind_options(
    line: str, dest: str, arguments: list[str]
) -> None:
    assert getattr(build_parser().parse_args(line.split()), dest) == arguments


THINGSDB = "thingsdb: {nodes: [node01], auth: {token: t}}\nrooms: [alerts]\n"
FINE = THINGSDB + "sinks: {console: {type: log}}\n"


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (FINE + "routs: []\n", ":4:1", "routes"),
        (FINE.replace("[alerts]", "7"), ":2:8", "list"),
        (FINE + "shutdown: {grace: 10}\n", ":4:19", "10s"),
        (FINE.replace("token: t", 'token: "${NO_SUCH_THING}"'), ":1:", "NO_SUCH_THING"),
        (FINE.replace("type: log", "type: lgo"), ":3:", "log"),
        (THINGSDB + "sinks:\n  a: {type: log}\n  a: {type: log}\n", ":5:3", "a"),
        ("", "", "empty"),
        ("thingsdb:\n\tnodes: []\n", ":2:1", "tab"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n" + FINE, ":1:", "anchor"),
        ("- " * 5000 + "\n", ":1:", "deep"),
        (FINE.replace("[alerts]", "[alerts"), ":3:", "bracket"),
    ],
)
async def test_a_bad_configuration_ends_with_78_and_a_message_with_place_and_remedy(
    start: Any, tmp_path: Path, content: str, place: str, said: str
) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    for arguments in (["--config", "bad.yaml"], ["check", "--config", "bad.yaml"]):
        command = await start(*arguments)
        assert await command.exit_code() == 78
        assert f"bad.yaml{place}" in command.text
        assert said in command.text
        assert "Traceback" not in command.text


@pytest.mark.parametrize("fresh", [True])
async def test_the_daemon_does_not_start_without_a_credential_that_a_check_from_a_shell_lets_pass(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "watch.yaml").write_text(FINE.replace("token: t", "token_credential: t"))
    checked = await start("check", "--config", "watch.yaml")
    assert await checked.exit_code() == 0
    command = await start("--config", "watch.yaml")
    assert await command.exit_code() == 78
    assert "token_credential: there are no systemd credentials" in command.text


@pytest.mark.parametrize("node", ["admin:topsecret@127.0.0.1:9200", "admin:topsecret@db1"])
async def test_a_password_in_a_nodes_address_is_refused_and_never_shown(
    start: Any, tmp_path: Path, node: str
) -> None:
    (tmp_path / "bad.yaml").write_text(FINE.replace("node01", f'"{node}"'))
    for arguments in (["--config", "bad.yaml"], ["check", "--config", "bad.yaml"]):
        command = await start(*arguments)
        assert await command.exit_code() == 78
        place = "bad.yaml:1:20: thingsdb.nodes[0]: "
        message = "a node's address must hold no user or password; write them under auth\n"
        assert command.text == place + message


async def test_a_folder_of_plugins_that_is_missing_fails_the_check_but_not_the_daemon_which_says_so(
    start: Any, write_config: Any
) -> None:
    config = write_config(plugins={"paths": ["nowhere.d"]})
    checked = await start("check", "--config", config)
    assert await checked.exit_code() == 78
    assert "plugin nowhere.d: the folder cannot be read: No such file or directory" in checked.text
    command = await start("--config", config)
    await command.ready()
    [told] = [record for record in command.records() if record["event"].startswith("plugin.")]
    assert (told["level"], told["plugin"]) == ("error", "nowhere.d")
    assert await command.stop() == 0


@pytest.mark.parametrize("name", ["missing.yaml", "folder"])
async def test_a_file_that_cannot_be_read_ends_with_78(start: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    command = await start("--config", name)
    assert await command.exit_code() == 78
    assert name in command.text
    assert "Traceback" not in command.text


async def test_the_demo_ends_by_itself_and_every_event_came_through(start: Any, tmp_path: Path) -> None:
    command = await start("demo", "--seconds", "3", env={"TMPDIR": str(tmp_path)})
    assert await command.exit_code() == 0
    assert "announces its shutdown" in command.text
    match = re.search(r"emitted (\d+), heard (\d+); delivered: console (\d+), audit (\d+)", command.text)
    assert match is not None, command.text
    assert len(set(match.groups())) == 1
    assert int(match[1]) > 0
    assert sum(len(file.read_text().splitlines()) for file in tmp_path.rglob("*.jsonl")) == int(match[1])


@pytest.mark.parametrize("fresh", [True])
async def test_ctrl_c_ends_the_demo_with_its_summary(start: Any, until: Any, tmp_path: Path) -> None:
    command = await start("demo", env={"TMPDIR": str(tmp_path)})
    await until(lambda: "alerts: " in command.text or "deploys: " in command.text, "an event")
    command.signal(signal.SIGINT)
    assert await command.exit_code() == 0
    assert "emitted" in command.text
    assert "Traceback" not in command.text


async def test_a_node_that_others_can_reach_warns_of_the_password_that_everybody_knows(
    start: Any, until: Any
) -> None:
    command = await start("node", "--port", "0", "--host", "0.0.0.0")
    await until(lambda: "listening on" in command.text, "the address")
    assert await command.stop() == 0
    assert "warning: other hosts can reach this address" in command.text
    assert "give --password, or listen on 127.0.0.1" in command.text


async def test_the_embedded_node_serves_until_it_is_told_to_stop(start: Any, until: Any) -> None:
    from tdbwatch.client import Client

    command = await start("node", "--port", "0", "--room", "alerts", "--token", "sesame")
    await until(lambda: "listening on" in command.text, "the address")
    address = re.search(r"listening on (\S+);", command.text)
    assert address is not None
    async with Client() as client:
        await client.connect_pool([address[1]], "sesame")
        await client.emit("alerts", "hello", scope="//stuff")
    assert await command.stop() == 0
