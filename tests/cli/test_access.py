"""What the commands that talk to ThingsDB themselves say of the command line."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tdbwatch.cli import app, exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.rooms import access, tail
from tdbwatch.daemon.config import parse
from tdbwatch.exceptions import AuthError, OperationError
from tdbwatch.node import Cluster
from tdbwatch.plugin import Event
from tdbwatch.wire import Kind
from tests.passing import let_pass

NODE = ["--node", "127.0.0.1:1"]
ADMIN = [*NODE, "--user", "admin"]
CONFIG = """\
thingsdb: {{nodes: {nodes}, auth: {{token: wr0ng}}}}
rooms: [alerts]
sinks: {{l: {{type: log}}}}
"""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["emit", *NODE, "alerts", "x"], 64, "who logs in? give --user or --token-file"),
        (
            ["tail", *NODE, "--token-file", "nothing", "alerts"],
            64,
            "cannot be read: No such file or directory",
        ),
        (
            ["tail", *ADMIN, "a b"],
            64,
            "'a b' is not a room; write for instance alerts, //ops/deploys, or 123",
        ),
        (["tail", *ADMIN], 64, "which rooms? name some, or give --config"),
        (["tail", "--node", "no:port", "--user", "admin", "alerts"], 64, "(nodes[0])"),
        (["tail", *ADMIN, "--scope", "nonsense", "alerts"], 64, "(scope)"),
        (["tail", "--count", "0", *ADMIN, "alerts"], 64, "--count must be at least 1"),
        (["tail", "--config", "nothing.yaml"], 78, "nothing.yaml"),
    ],
)
def test_what_is_wrong_with_it_is_said(
    arguments: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("THINGSDB_PASSWORD", "pass")
    assert (app.main(arguments), said in (text := capsys.readouterr().err)) == (code, True), text


@pytest.mark.parametrize("room", ["", "nowhere", "\udcff"])
def test_an_event_cannot_be_made_up_in_a_room_that_is_not_watched(
    room: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prod.yaml").write_text(CONFIG.format(nodes=["node01"]))
    for command in (["send", "l", "--room", room], ["check", "--explain", room, "x"]):
        assert app.main([*command, "--config", str(tmp_path / "prod.yaml")]) == 64
        assert f"no room that is watched is called {room!r}; " in capsys.readouterr().err


def test_without_a_terminal_the_password_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("THINGSDB_PASSWORD", raising=False)
    monkeypatch.setattr("sys.stdin", None)
    assert app.main(["tail", *ADMIN, "alerts"]) == 64
    assert "no password: set $THINGSDB_PASSWORD, or run this on a terminal" in capsys.readouterr().err


def test_a_node_that_is_not_there_is_69(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(access, "CONNECT_SECONDS", 0.05)
    (tmp_path / "token").write_text("t")
    assert app.main(["emit", *NODE, "--token-file", str(tmp_path / "token"), "alerts", "x"]) == 69
    assert "no node can be reached within 0.05 s: 127.0.0.1:1" in capsys.readouterr().err


async def test_a_login_that_is_refused_is_said_though_another_node_is_down(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, closed_port: int
) -> None:
    """Once may be the node's own mistake: it is asked twice."""

    async def enter() -> None:
        async with access.connected(config):
            pass

    monkeypatch.setattr(access, "CONNECT_SECONDS", 60.0)
    async with Cluster(1) as cluster:
        node = cluster.nodes[0]
        node.faults.refuse(Kind.AUTH, error=AuthError("invalid username or password"))
        text = CONFIG.format(nodes=[node.address, f"127.0.0.1:{closed_port}"])
        config = parse(text.encode(), "watch.yaml", {}).sections().thingsdb
        entering = asyncio.create_task(enter())
        async with asyncio.timeout(20):
            while f"cannot connect to {node.address} (2 times now): refused the login" not in caplog.text:
                await asyncio.sleep(0.01)
        let_pass(access.CONNECT_SECONDS)
        with pytest.raises(CommandError) as caught:
            await entering
    assert caught.value.code == exits.BAD_CONFIG
    assert f"{node.address} refused the login: invalid username or password" in str(caught.value)
    assert "no other node answers" in str(caught.value)


@pytest.mark.parametrize("depth", [300, 600, 990, 3000])
def test_tail_shows_on_a_terminal_whatever_an_event_nests(depth: int) -> None:
    packed = b"\x91" * depth + b"\xa4\x1b[2J"
    line = tail._line(replace(Event.create("alerts", "x\x1b"), payload=packed))
    assert line.isprintable()
    assert "alerts  x\\x1b  [" in line


@pytest.mark.parametrize("command", [["emit", "alerts", "x"], ["check", "--connect"]])
async def test_what_a_node_answers_is_shown_printable_cut_and_without_our_secrets(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Cluster() as cluster:
        cluster.add_room("//stuff", "alerts")
        said = OperationError("\x1b[2J s3cret-token \nforged " + "x" * 100_000)
        for kind in (Kind.EMIT, Kind.JOIN):
            cluster.nodes[0].faults.refuse(kind, error=said)
        assert await asyncio.to_thread(app.main, [*command, *config_of(cluster, tmp_path)]) == 69
    out, err = capsys.readouterr()
    assert r"\x1b[2J ********** \nforged xxx" in out + err
    assert len(out + err) < 5_000
    assert all(line.isprintable() for line in (out + err).splitlines())


@pytest.mark.parametrize(
    ("command", "kind"), [(["emit", "alerts", "x"], Kind.EMIT), (["check", "--connect"], Kind.JOIN)]
)
async def test_a_node_that_does_not_answer_is_69_in_time(
    command: list[str],
    kind: Kind,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connect = access._connect

    async def patient_until_connected(*args: Any) -> None:
        monkeypatch.setattr(access, "CONNECT_SECONDS", 20.0)
        await connect(*args)
        monkeypatch.setattr(access, "CONNECT_SECONDS", 0.1)

    monkeypatch.setattr(access, "_connect", patient_until_connected)
    async with Cluster() as cluster:
        cluster.add_room("//stuff", "alerts")
        cluster.nodes[0].faults.drop_answers(kind, None)
        assert await asyncio.to_thread(app.main, [*command, *config_of(cluster, tmp_path)]) == 69
    assert "the node does not answer within 0.1 s" in capsys.readouterr().err


async def test_check_says_of_each_node_whether_it_lets_us_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], closed_port: int
) -> None:
    connect = access._connect

    async def patient_where_a_node_is(client: Any, config: Any, *args: Any) -> None:
        is_down = str(config.nodes[0]).endswith(f":{closed_port}")
        monkeypatch.setattr(access, "CONNECT_SECONDS", 0.1 if is_down else 20.0)
        await connect(client, config, *args)

    monkeypatch.setattr(access, "_connect", patient_where_a_node_is)
    async with Cluster(2) as cluster:
        cluster.add_room("//stuff", "alerts")
        command = ["check", "--connect", *config_of(cluster, tmp_path, f"127.0.0.1:{closed_port}")]
        assert await asyncio.to_thread(app.main, command) == 69
        out, err = capsys.readouterr()
        assert [line for line in out.splitlines() if line.startswith("connected to ")] == [
            f"connected to {node.address}" for node in cluster.nodes
        ]
        assert "joined alerts in //stuff" in out
        assert f"not connected to 127.0.0.1:{closed_port}: no node can be reached within 0.1 s" in err
        cluster.nodes[0].faults.refuse(Kind.AUTH, error=AuthError("invalid username or password"))
        command = ["check", "--connect", *config_of(cluster, tmp_path)]
        assert await asyncio.to_thread(app.main, command) == 78
        assert f"not connected to {cluster.nodes[0].address}: refused the login" in capsys.readouterr().err


def config_of(cluster: Cluster, folder: Path, *others: str) -> list[str]:
    """A configuration for that cluster, as an option of commands."""
    path = folder / "watch.yaml"
    auth = "{token: s3cret-token}"
    cluster.add_token("s3cret-token")
    path.write_text(
        CONFIG.format(nodes=[*(node.address for node in cluster.nodes), *others]).replace(
            "{token: wr0ng}", auth
        )
    )
    path.chmod(0o600)
    return ["--config", str(path)]


def test_send_shows_no_secret_of_the_configuration_whoever_says_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins, config = tmp_path / "plugins", tmp_path / "watch.yaml"
    plugins.mkdir(mode=0o700)
    (plugins / "teller.py").write_text(
        "from tdbwatch.plugin import hookimpl\n\n@hookimpl\ndef tdbwatch_event(event):\n"
        '    raise RuntimeError("the login is s3cret-of-nodes, \\x1b[2J")\n'
    )
    text = CONFIG.format(nodes=["127.0.0.1:1"]).replace("wr0ng", "s3cret-of-nodes")
    text = text.replace("type: log", "type: teller")
    config.write_text(text + f"plugins: {{paths: ['{plugins}']}}\n")
    config.chmod(0o600)
    assert app.main(["send", "l", "--config", str(config)]) == 1
    assert r"RuntimeError: the login is **********, \x1b[2J" in capsys.readouterr().out


def test_send_shows_the_line_of_a_log_sink(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "watch.yaml"
    text = CONFIG.format(nodes=["127.0.0.1:1"])
    config.write_text(text.replace("type: log", 'type: log, message: "{{ event }} of {{ args[0] }}"'))
    config.chmod(0o600)
    assert app.main(["send", "l", "db1", "--config", str(config), "--event", "disk-full"]) == 0
    out, err = capsys.readouterr()
    assert out == "l: delivered\n"
    assert "disk-full of db1" in err
