"""The daemon as users run it: the command, real sockets, real files."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.exceptions import AuthError, NodeError
from tdbwatch.node import Cluster
from tdbwatch.wire import Kind

Lines = Callable[[str], list[dict[str, Any]]]


def emit(cluster: Cluster, count: int, first: int = 0, room: str = "alerts", scope: str = "//stuff") -> None:
    for number in range(first, first + count):
        cluster.emit(scope, room, "counted", number)


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [record["args"][0] for record in records if record["kind"] == "event"]


@pytest.mark.parametrize("fresh", [True])
async def test_events_of_two_collections_reach_their_files_once_and_in_order(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines
) -> None:
    command = await start("--config", write_config())
    await command.ready()
    emit(cluster, 100)
    emit(cluster, 50, room="deploys", scope="//ops")
    await until(lambda: len(lines("alerts.jsonl")) == 100 and len(lines("deploys.jsonl")) == 50, "all events")
    assert await command.stop() == 0
    assert numbers(lines("alerts.jsonl")) == list(range(100))
    assert numbers(lines("deploys.jsonl")) == list(range(50))


async def test_events_go_on_while_the_nodes_shut_down_one_after_the_other(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, joined_everywhere: Any
) -> None:
    command = await start("--config", write_config())
    await command.ready()
    sent = 0
    for node in cluster.nodes:
        await joined_everywhere()
        leaving = asyncio.create_task(node.shutdown())
        while not leaving.done():
            emit(cluster, 1, first=sent)
            sent += 1
            await asyncio.sleep(0.01)
        await leaving
        emit(cluster, 10, first=sent)
        sent += 10
        await node.start()
    await until(lambda: len(lines("alerts.jsonl")) >= sent, "all events")
    assert await command.stop() == 0
    assert sorted(numbers(lines("alerts.jsonl"))) == list(range(sent))


async def test_what_a_sink_could_not_take_is_kept_and_delivered_after_a_restart(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, tmp_path: Path
) -> None:
    blocked = tmp_path / "out"
    blocked.write_text("a file where a folder should be")
    config = write_config(shutdown={"grace": "500ms"})
    command = await start("--config", config)
    await command.ready()
    emit(cluster, 20)
    await until(
        lambda: any("audit" in str(r) and r["level"] in {"warning", "error"} for r in command.records()), ""
    )
    assert await command.stop() == 0
    assert command.said("sink.undelivered")
    blocked.unlink()
    command = await start("--config", config)
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 20, "the kept events")
    assert await command.stop() == 0
    assert numbers(lines("alerts.jsonl")) == list(range(20))


async def test_rooms_are_left_before_it_stops(
    start: Any, until: Any, cluster: Cluster, write_config: Any
) -> None:
    command = await start("--config", write_config())
    await command.ready()
    assert await command.stop() == 0
    left = [entry for entry in cluster.log if entry.kind.name == "LEAVE"]
    assert len(left) == 4  # two rooms, on two nodes each
    assert all(node.connections == 0 for node in cluster.nodes)


async def test_a_second_sigterm_ends_it_at_once_and_loses_nothing_of_the_spool(
    start: Any, until: Any, cluster: Cluster, write_config: Any, tmp_path: Path, lines: Lines
) -> None:
    asked = asyncio.Event()

    async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never_answers, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        sinks = {"audit": {"type": "webhook", "url": url, "timeout": "60s"}}
        command = await start("--config", write_config(sinks=sinks, shutdown={"grace": "60s"}))
        await command.ready()
        emit(cluster, 5)
        await asyncio.wait_for(asked.wait(), 20)
        command.signal(signal.SIGTERM)
        await until(lambda: command.said("sink.awaited"), "whom it waits for")
        [awaited] = [record for record in command.records() if record["event"] == "sink.awaited"]
        assert (awaited["sink"], awaited["events"]) == ("audit", 5)
        command.signal(signal.SIGTERM)
        assert await command.exit_code() == 128 + signal.SIGTERM
    command = await start("--config", write_config())
    await until(lambda: len(numbers(lines("alerts.jsonl"))) == 5, "the events of the killed run")
    assert await command.stop() == 0


@pytest.mark.parametrize("fresh", [True])
async def test_ctrl_c_ends_it_cleanly(start: Any, until: Any, cluster: Cluster, write_config: Any) -> None:
    command = await start("--config", write_config())
    await command.ready()
    command.signal(signal.SIGINT)
    assert await command.exit_code() == 0
    assert "Traceback" not in command.text


async def test_a_wrong_password_is_an_error_that_names_the_node_and_not_the_secret(
    start: Any, until: Any, cluster: Cluster, write_config: Any
) -> None:
    node = cluster.nodes[0].address
    wrong = {"nodes": [node], "auth": {"username": "admin", "password": "hush-hush"}}
    command = await start("--config", write_config(thingsdb=wrong))
    assert await command.exit_code() == 78
    assert node in command.text
    assert "invalid username or password" in command.text
    assert "hush" not in command.text
    assert "Traceback" not in command.text


async def test_a_wrong_token_is_an_error_that_names_the_node_and_not_the_secret(
    start: Any, until: Any, cluster: Cluster, write_config: Any
) -> None:
    wrong = {"nodes": [cluster.nodes[0].address], "auth": {"token": "hush-hush-token"}}
    command = await start("--config", write_config(thingsdb=wrong))
    assert await command.exit_code() == 78
    assert "invalid token" in command.text
    assert "hush" not in command.text


async def test_with_no_node_reachable_it_keeps_trying_and_starts_when_one_comes(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines
) -> None:
    for node in cluster.nodes:
        await node.stop()
    command = await start("--config", write_config())
    await until(lambda: "cannot connect" in command.text, "a complaint")
    assert command.process.returncode is None
    await cluster.nodes[1].start()
    await command.ready()
    cluster.emit("//stuff", "alerts", "counted", 7, node=1)
    await until(lambda: numbers(lines("alerts.jsonl")) == [7], "the event")
    assert await command.stop() == 0


async def test_sigterm_while_no_node_is_reachable_ends_it_with_0(
    start: Any, until: Any, cluster: Cluster, write_config: Any
) -> None:
    for node in cluster.nodes:
        await node.stop()
    command = await start("--config", write_config())
    await until(lambda: "cannot connect" in command.text, "a complaint")
    assert await command.stop() == 0


async def test_a_missing_room_is_reported_and_joined_when_it_appears(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines
) -> None:
    command = await start("--config", write_config(rooms=["alerts", "later"]))
    await command.ready()
    assert any("later" in str(record) and record["level"] == "warning" for record in command.records())
    cluster.add_room("//stuff", "later")
    await until(
        lambda: any(r["event"] == "room.joined" and r.get("room") == "later" for r in command.records()),
        "joined",
    )
    cluster.emit("//stuff", "later", "counted", 1)
    await until(lambda: numbers(lines("later.jsonl")) == [1], "the event")
    assert await command.stop() == 0


async def test_two_daemons_on_one_spool_are_refused(
    start: Any, until: Any, cluster: Cluster, write_config: Any
) -> None:
    config = write_config()
    first = await start("--config", config)
    await first.ready()
    second = await start("--config", config)
    assert await second.exit_code() == 73
    assert "Traceback" not in second.text
    assert await first.stop() == 0


async def test_log_lines_are_json_when_nobody_looks(
    start: Any, until: Any, cluster: Cluster, write_config: Any
) -> None:
    command = await start("--config", write_config(sinks={"console": {"type": "log"}}))
    await command.ready()
    cluster.emit("//stuff", "alerts", "disk-full", {"used": 99})
    await until(lambda: "disk-full" in command.text, "the event")
    assert await command.stop() == 0
    assert all(isinstance(json.loads(line), dict) for line in command.text.splitlines())


@pytest.mark.parametrize("connections", [1, 2])
async def test_a_node_that_refuses_the_login_does_not_keep_the_daemon_from_the_other_one(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, connections: int
) -> None:
    cluster.nodes[0].faults.refuse(Kind.AUTH, error=AuthError("invalid username or password"))
    config = write_config()
    settings = json.loads(config.read_text())["thingsdb"] | {"connections": connections}
    command = await start("--config", write_config(thingsdb=settings))
    await command.ready()
    emit(cluster, 10)
    await until(lambda: len(lines("alerts.jsonl")) == 10, "all events")
    assert await command.stop() == 0


async def test_the_daemon_ends_with_78_if_every_node_refuses_the_login_and_names_each(
    start: Any, cluster: Cluster, write_config: Any
) -> None:
    for node in cluster.nodes:
        node.faults.refuse(Kind.AUTH, error=AuthError("invalid username or password"))
    command = await start("--config", write_config())
    assert await command.exit_code() == 78
    (said,) = [r for r in command.records() if r["event"] == "daemon.login_refused"]
    assert all(f"{node.address} refused the login" in said["reason"] for node in cluster.nodes)


async def test_while_a_node_is_down_a_refused_login_is_an_error_with_a_remedy_and_no_end(
    start: Any, until: Any, cluster: Cluster, write_config: Any
) -> None:
    cluster.nodes[0].faults.refuse(Kind.AUTH, error=AuthError("invalid username or password"))
    await cluster.nodes[1].stop()
    command = await start("--config", write_config())
    await until(lambda: "links.login_refused" in command.text, "the error")
    (said,) = [r for r in command.records() if r["event"] == "links.login_refused"]
    assert said["level"] == "error"
    assert "user or token" in said["remedy"]
    await cluster.nodes[1].start()
    await command.ready()
    assert await command.stop() == 0


async def test_the_daemon_waits_for_a_node_that_is_not_ready_though_the_other_one_refuses(
    start: Any, until: Any, cluster: Cluster, write_config: Any
) -> None:
    cluster.nodes[0].faults.refuse(Kind.AUTH, error=AuthError("invalid username or password"))
    cluster.nodes[1].faults.refuse(Kind.AUTH, count=3, error=NodeError("not ready"))
    command = await start("--config", write_config())
    await command.ready()
    assert await command.stop() == 0


BREAKS = """
from tdbwatch.daemon import {module}
def broken(*_, **__): raise RuntimeError("a mistake of ours")
{module}.{name} = broken
"""


@pytest.mark.parametrize(
    "beforehand",
    [
        BREAKS.format(module="parts", name="make_client"),
        BREAKS.format(module="supervisor", name="Redelivery"),
    ],
    ids=["while its parts are made", "while it starts"],
)
async def test_a_mistake_of_ours_at_the_start_is_logged_and_ends_it_with_70(
    start: Any, write_config: Any
) -> None:
    command = await start("--config", write_config())
    assert await command.exit_code() == 70
    (line,) = (one for one in command.records() if one["event"] == "daemon.part_died")
    assert line["part"] == "service"
    assert "RuntimeError: a mistake of ours" in line["exception"]


async def test_the_garbage_collector_is_not_to_look_at_what_the_start_has_made(
    start: Any, until: Any, cluster: Cluster, write_config: Any, tmp_path: Path
) -> None:
    (tmp_path / "plugins.d").mkdir(mode=0o755)
    (tmp_path / "plugins.d" / "looks.py").write_text(
        "import gc\nfrom tdbwatch.plugin import hookimpl\nBEFORE = gc.get_freeze_count()\n"
        "@hookimpl\ndef tdbwatch_event(event):\n"
        "    print('spared:', gc.get_freeze_count() > BEFORE, flush=True)\n"
    )
    daemon = await start("--config", write_config(plugins={"paths": [str(tmp_path / "plugins.d")]}))
    await daemon.ready()

    def spared() -> bool:
        cluster.emit("//stuff", "alerts", "e")
        return "spared: True" in daemon.text

    await until(spared, "what the start has made is spared")
    assert await daemon.stop() == 0
