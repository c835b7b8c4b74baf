"""`tdbwatch rooms`: what is there, as far as the login may see it, and what of it is watched."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.cli import app
from tdbwatch.cli.rooms import room_list
from tdbwatch.node import Cluster

CONFIG = """\
thingsdb: {{nodes: ["{node}"], auth: {{token: {token}}}}}
rooms:
  - alerts
  - {{name: gone}}
  - {{id: 3, as: legacy}}
  - {{code: ".which;", as: found, scope: //ops}}
sinks: {{l: {{type: log}}}}
"""
Ask = Callable[..., Any]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """`//stuff` with watched rooms, one that is not, two without a name; `//ops`, and `//empty`."""
    async with Cluster() as cluster:
        cluster.add_token("t0ken")
        for name in ("ops", "empty"):
            cluster.add_collection(name)
        cluster.add_room("//stuff", "alerts")
        cluster.add_room("//stuff", "unwatched")
        cluster.add_room("//stuff")
        cluster.add_room("//stuff")
        cluster.add_room("//ops", "deploys")
        cluster.on_query(".which;", 1)
        yield cluster


@pytest.fixture
def ask(cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run the command with a configuration; gives its exit code, output and errors."""

    async def ask(*words: str, token: str = "t0ken") -> tuple[int, str, str]:
        path = tmp_path / "watch.yaml"
        path.write_text(CONFIG.format(node=cluster.nodes[0].address, token=token))
        path.chmod(0o600)
        code = await asyncio.to_thread(app.main, ["rooms", "--config", str(path), *words])
        return code, *capsys.readouterr()

    return ask


async def test_in_a_pipe_each_room_is_a_line_of_json(ask: Ask) -> None:
    code, out, err = await ask()
    assert (code, err) == (0, "")
    assert [tuple(json.loads(line).values()) for line in out.splitlines()] == [
        ("//stuff", "alerts", 1, "alerts"),
        ("//stuff", "unwatched", 2, None),
        ("//stuff", None, 3, "legacy"),
        ("//ops", "deploys", 1, "found"),
        ("//empty", None, None, None),
        ("//stuff", "gone", None, "gone", True),
    ]


async def test_on_a_terminal_they_are_a_table(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdbwatch.cli.rooms.listing.is_terminal", lambda: True)
    _, out, _ = await ask()
    assert [line.split(maxsplit=3) for line in out.splitlines()] == [
        ["collection", "room", "id", "watched"],
        ["//stuff", "alerts", "1", "yes"],
        ["//stuff", "unwatched", "2", "no"],
        ["//stuff", "-", "3", "as legacy"],
        ["//ops", "deploys", "1", "as found"],
        ["//empty", "-", "-", "-"],
        ["//stuff", "gone", "-", "as gone, but it is not there"],
        [],
        ["1", "room", "without", "a name; --all shows it"],
    ]


async def test_one_collection_can_be_asked_for_and_must_be_there(ask: Ask) -> None:
    code, out, _ = await ask("--scope", "@collection:ops")
    assert (code, len(out.splitlines())) == (0, 1)
    code, _, err = await ask("--scope", "//nowhere")
    assert code == 66
    assert "nowhere" in err


async def test_flags_in_place_of_a_configuration_say_nothing_of_what_is_watched(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THINGSDB_PASSWORD", "pass")
    words = ["rooms", "--node", cluster.nodes[0].address, "--user", "admin"]
    assert await asyncio.to_thread(app.main, words) == 0
    assert capsys.readouterr().out.splitlines()[0] == '{"scope": "//stuff", "room": "alerts", "id": 1}'
    assert await asyncio.to_thread(app.main, [*words, "--all"]) == 0
    assert '{"scope": "//stuff", "room": null, "id": 3}' in capsys.readouterr().out


async def test_who_may_query_one_collection_only_sees_that_one(
    cluster: Cluster, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_list.listing, "PIECE", 2)
    monkeypatch.setattr(room_list, "_EMPTY_PIECES", 2)
    for index in range(3):
        cluster.add_room("//ops", f"more_{index}")
    cluster.add_room("//ops", "too_far", room_id=100)
    cluster.add_user("lim", "p", scopes=["//ops"])
    cluster.add_token("limited", "lim")
    cluster.on_query("user_info();", {"access": [{"scope": "@collection:ops", "privileges": "QUERY|JOIN"}]})
    cluster.on_query(room_list.listing.THINGS, False)
    code, out, err = await ask(token="limited")
    assert code == 0
    assert [json.loads(line)["room"] for line in out.splitlines()] == [
        "deploys",
        *(f"more_{n}" for n in range(3)),
    ]
    assert err.startswith("//stuff: user `lim` is missing the required privileges")
    assert "grant the user QUERY there" in err


async def test_who_may_query_nothing_is_told_what_to_grant(cluster: Cluster, ask: Ask) -> None:
    cluster.add_user("lim", "p", query=False)
    cluster.add_token("limited", "lim")
    code, out, err = await ask(token="limited")
    assert (code, out) == (77, "")
    assert "grant the user QUERY there" in err
