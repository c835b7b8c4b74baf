"""Whenever events may have been missed, a record says since when, until when, and why."""

import asyncio
import signal
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.client.rooms.hearing import IN_FLIGHT
from tdbwatch.daemon.intake.causes import Cause
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.stored import beats
from tdbwatch.daemon.spool.stored.orders import Selection
from tdbwatch.node import Cluster

SLOW = """
import time
from pathlib import Path
from tdbwatch.plugin import Sink, sink

@sink("slow")
def slow(event):
    if event.kind == "event":
        Path("begun").touch()
        while not Path("go-on").exists():  # for so long a stop waits for it, and rooms are heard meanwhile
            time.sleep(0.01)

@sink("quick")
class Quick(Sink):
    async def deliver(self, batch):
        pass

    async def close(self):
        Path("closed").touch()
"""


def causes(spool: Path) -> list[Cause]:
    """Why rooms were not heard at the last beat: before the first join, too, there is one that says so."""
    with closing(sqlite3.connect(spool)) as connection:
        beat = beats.load(connection)
    return [silence.cause for silence in beat.silent.values()] if beat is not None else []


def kept(spool: Path) -> list[list[Any]]:
    """The arguments of the events in it."""
    with opened(spool) as look:
        return [list(one.event.args) for one in look.log.some(Selection()) if one.event.kind == "event"]


def gaps(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["kind"] == "gap"]


async def test_the_first_start_knows_of_no_gap(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any
) -> None:
    command = await start("--config", write_config())
    await command.ready()
    cluster.emit("//stuff", "alerts", "counted", 1)
    await until(lambda: lines("alerts.jsonl"), "the event")
    assert await command.stop() == 0
    assert not gaps(lines("alerts.jsonl"))


async def test_the_daemons_own_downtime_is_a_gap_in_every_room(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any
) -> None:
    config = write_config()
    for number in (signal.SIGKILL, signal.SIGTERM):
        command = await start("--config", config)
        await command.ready()
        command.signal(number)
        await command.exit_code()
    command = await start("--config", config)
    await command.ready()
    await until(
        lambda: len(gaps(lines("alerts.jsonl"))) == 2 and len(gaps(lines("deploys.jsonl"))) == 2, "gaps"
    )
    assert await command.stop() == 0
    for gap in gaps(lines("alerts.jsonl")):
        assert gap["reason"] == "tdbwatch was not running"
        assert gap["dropped"] is None
        assert datetime.fromisoformat(gap["since"]) < datetime.fromisoformat(gap["until"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_restart_while_there_is_no_connection_does_not_shorten_the_gap(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any, number: signal.Signals
) -> None:
    config = write_config()
    command = await start("--config", config)
    await command.ready()
    for node in cluster.nodes:
        await node.stop()
    lost_at = datetime.now().astimezone()
    await until(lambda: "lost the connection" in command.text, "the loss")
    spool = config.with_name("spool.db")
    await until(lambda: causes(spool) == [Cause.CONNECTION] * 2, "a beat that says so of both rooms")
    command.signal(number)
    await command.exit_code()
    command = await start("--config", config)
    await until(lambda: command.said("daemon.connecting"), "another try")
    for node in cluster.nodes:
        await node.start()
    await until(lambda: len(gaps(lines("alerts.jsonl"))) == 2, "the gaps")
    assert await command.stop() == 0
    lost, stopped = gaps(lines("alerts.jsonl"))
    assert (lost["cause"], stopped["cause"]) == ("connection", "downtime")
    assert datetime.fromisoformat(lost["since"]) < lost_at < datetime.fromisoformat(lost["until"])
    assert lost["until"] == stopped["since"] < stopped["until"]


async def test_what_is_emitted_while_a_stop_waits_for_a_sink_is_heard_and_delivered_after_the_restart(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "plugins.d"
    folder.mkdir(mode=0o755)
    (folder / "slow.py").write_text(SLOW)
    sinks = {
        "slow": {"type": "slow"},
        "quick": {"type": "quick"},
        "audit": {"type": "file", "path": str(tmp_path / "out" / "{room}.jsonl")},
    }
    config = write_config(sinks=sinks, plugins={"paths": [str(folder)]}, shutdown={"grace": "60s"})
    command = await start("--config", config)
    await command.ready()
    cluster.emit("//stuff", "alerts", "counted", 1)
    await until((tmp_path / "begun").exists, "a delivery that takes long")
    command.signal(signal.SIGTERM)
    await until((tmp_path / "closed").exists, "a stop that waits for the slow one alone")
    cluster.emit("//stuff", "alerts", "counted", 2)
    emitted_at = datetime.now().astimezone()
    await until(lambda: kept(config.with_name("spool.db")) == [[1], [2]], "that it is heard")
    (tmp_path / "go-on").touch()
    assert await command.exit_code() == 0
    assert [record["args"] for record in lines("alerts.jsonl") if record["kind"] == "event"] == [[1]]
    command = await start("--config", config)
    await until(lambda: gaps(lines("alerts.jsonl")), "the gap")
    assert await command.stop() == 0
    assert [record["args"] for record in lines("alerts.jsonl") if record["kind"] == "event"] == [[1], [2]]
    (gap,) = gaps(lines("alerts.jsonl"))
    assert datetime.fromisoformat(gap["since"]) > emitted_at


async def test_a_stop_does_not_wait_for_a_sink_that_fails(
    start: Any, until: Any, cluster: Cluster, write_config: Any
) -> None:
    sinks = {"oncall": {"type": "webhook", "url": "http://127.0.0.1:9/"}}  # where nobody listens
    command = await start("--config", write_config(sinks=sinks, shutdown={"grace": "60s"}))
    await command.ready()
    cluster.emit("//stuff", "alerts", "counted", 1)
    await until(lambda: command.said("sink.failed"), "the failure")
    assert await command.stop() == 0  # long before the grace is over
    assert command.said("sink.undelivered")


async def test_with_one_connection_a_crash_of_its_node_is_a_gap_that_encloses_what_was_lost(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any
) -> None:
    nodes = [node.address for node in cluster.nodes]
    auth = {"username": "admin", "password": "pass"}
    config = write_config(thingsdb={"nodes": nodes, "auth": auth, "connections": 1})
    command = await start("--config", config)
    await command.ready()
    (used,) = [node for node in cluster.nodes if node.connections]
    (other,) = [node for node in cluster.nodes if not node.connections]
    await other.stop()
    await used.stop()
    lost_at = datetime.now().astimezone()
    await until(lambda: "lost the connection" in command.text, "the loss")
    await other.start()
    await until(lambda: gaps(lines("alerts.jsonl")), "the gap")
    assert await command.stop() == 0
    (gap,) = gaps(lines("alerts.jsonl"))
    assert datetime.fromisoformat(gap["since"]) < lost_at < datetime.fromisoformat(gap["until"])


async def test_with_one_connection_a_planned_shutdown_is_a_gap_until_the_next_join(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any
) -> None:
    nodes = [node.address for node in cluster.nodes]
    auth = {"username": "admin", "password": "pass"}
    config = write_config(thingsdb={"nodes": nodes, "auth": auth, "connections": 1})
    command = await start("--config", config)
    await command.ready()
    (used,) = [node for node in cluster.nodes if node.connections]
    await used.shutdown()
    await until(lambda: gaps(lines("alerts.jsonl")), "the gap")
    assert await command.stop() == 0
    (gap,) = gaps(lines("alerts.jsonl"))
    assert gap["reason"] == f"{used.address} is shutting down"


async def test_with_two_connections_the_loss_of_one_is_no_gap(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any, joined_everywhere: Any
) -> None:
    command = await start("--config", write_config())
    await command.ready()
    await joined_everywhere()
    for number in (1, 2):  # each connection has heard the room for so long that it vouches for the other
        cluster.emit("//stuff", "alerts", "counted", number, node=0)
        await until(lambda number=number: len(lines("alerts.jsonl")) == number, "the event")
        await asyncio.sleep((2 - number) * (IN_FLIGHT + 0.1))
    await cluster.nodes[0].stop()
    await until(lambda: "lost the connection" in command.text, "the loss")
    cluster.emit("//stuff", "alerts", "counted", 3, node=1)
    await until(lambda: len(lines("alerts.jsonl")) == 3, "the event")
    assert await command.stop() == 0
    assert not gaps(lines("alerts.jsonl"))


async def test_a_room_that_was_missing_is_a_gap_until_it_is_joined(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any
) -> None:
    command = await start("--config", write_config(rooms=["alerts", "later"]))
    await command.ready()
    cluster.add_room("//stuff", "later")
    await until(lambda: gaps(lines("later.jsonl")), "the gap")
    assert await command.stop() == 0
    (gap,) = gaps(lines("later.jsonl"))
    assert "has no room later" in gap["reason"]
