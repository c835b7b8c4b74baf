"""Whether it is alive and ready, from the start to the stop, and which gaps that leaves."""

import asyncio
import json
from collections.abc import Callable

import pytest

from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.node import Cluster
from tdbwatch.testing import ManualClock

from .kit import Receiver, Watch

MIB = 1 << 20


async def test_a_daemon_that_works_is_alive_and_ready(watch: Watch) -> None:
    asker = await watch()
    assert await asker.get("/healthz") == (200, '{"alive": true, "failure": ""}')
    code, _ = await asker.get("/readyz")
    assert code == 200
    status = await asker.until(lambda status: status["links"]["live"] == 2)
    assert (status["state"], status["problems"]) == ("ok", [])
    assert "All is well" in (await asker.get("/"))[1]


async def test_it_is_ready_once_its_required_room_is_there(watch: Watch, cluster: Cluster) -> None:
    asker = await watch(rooms=["alerts", {"name": "oncall", "required": True}])
    code, body = await asker.get("/readyz")
    assert code == 503
    (reason,) = json.loads(body)["reasons"]
    assert (reason["part"], reason["name"]) == ("room", "oncall in //stuff")
    assert (await asker.metrics())["tdbwatch_room_joined", "oncall", "//stuff"] == 0
    cluster.add_room("//stuff", "oncall")
    await asker.until(lambda status: status["rooms"][1]["state"] == "joined")
    assert (await asker.get("/readyz"))[0] == 200


async def test_a_missing_room_that_is_not_required_is_a_warning_only(watch: Watch) -> None:
    asker = await watch(rooms=["alerts", "later"])
    code, body = await asker.get("/readyz")
    assert code == 200
    assert [warning["name"] for warning in json.loads(body)["warnings"]] == ["later in //stuff"]
    assert (await asker.json())["state"] == "warning"


async def test_it_answers_before_it_is_connected(watch: Watch, cluster: Cluster) -> None:
    for node in cluster.nodes:
        await node.stop()
    asker = await watch(wait=False)
    status = await asker.until(lambda status: any(node["trouble"] for node in status["nodes"]))
    assert status["state"] == "starting"
    assert (await asker.get("/healthz"))[0] == 200
    assert (await asker.get("/readyz"))[0] == 503


async def test_without_a_connection_it_is_alive_but_not_ready_and_the_gap_is_shown_later(
    watch: Watch, cluster: Cluster
) -> None:
    asker = await watch()
    for node in cluster.nodes:
        await node.stop()
    status = await asker.until(lambda status: all(n["state"] == "unreachable" for n in status["nodes"]))
    assert status["links"]["live"] == 0
    assert status["problems"][0]["part"] == "links"
    assert [(gap["room"], gap["cause"]) for gap in status["open_gaps"]] == [("alerts", "connection")]
    since = status["open_gaps"][0]["since"]
    page = (await asker.get("/"))[1]
    assert "still open" in page
    assert "No event was missed" not in page
    assert (await asker.get("/readyz"))[0] == 503
    assert (await asker.get("/healthz"))[0] == 200
    await cluster.nodes[0].start()
    status = await asker.until(lambda status: bool(status["gaps"]))
    assert (status["gaps"][0]["room"], status["gaps"][0]["since"]) == ("alerts", since)
    assert status["open_gaps"] == []
    metrics = await asker.metrics()
    assert metrics["tdbwatch_gaps_total", "connection", "alerts", "//stuff"] == 1
    assert metrics["tdbwatch_gaps_total", "downtime", "alerts", "//stuff"] == 0
    assert metrics["tdbwatch_link_reconnects_total", cluster.nodes[0].address] >= 0
    assert (await asker.get("/readyz"))[0] == 200


async def test_a_start_that_finds_no_node_is_trouble_after_ten_seconds_and_a_gap_in_the_end(
    watch: Watch, cluster: Cluster
) -> None:
    for node in cluster.nodes:
        await node.stop()
    clock = ManualClock()
    asker = await watch(wait=False, clock=clock)
    await clock.advance(9.9)
    status = await asker.until(lambda status: all(node["trouble"] for node in status["nodes"]))
    assert (status["state"], status["open_gaps"]) == ("starting", [])
    await clock.advance(0.2)
    status = await asker.json()
    assert (status["state"], status["ready"]) == ("trouble", False)
    assert [problem["part"] for problem in status["problems"]] == ["links", "node", "node"]
    assert all(problem["remedy"] for problem in status["problems"])
    [gap] = status["open_gaps"]
    assert (gap["since"], gap["cause"]) == (status["started"], "connection")
    await cluster.nodes[0].start()
    async with asyncio.timeout(20):
        while not (status := await asker.json())["gaps"]:
            await clock.advance(1.0)
    assert (status["gaps"][0]["since"], status["open_gaps"]) == (gap["since"], [])


async def test_a_daemon_that_stops_says_what_it_waits_for_and_of_nothing_that_it_is_in_trouble(
    watch: Watch, cluster: Cluster
) -> None:
    release = asyncio.Event()
    async with Receiver(204, release) as receiver:
        sinks = {"hook": {"type": "webhook", "url": receiver.url}}
        asker = await watch(sinks=sinks, shutdown={"grace": "20s"})
        cluster.emit("//stuff", "alerts", "disk-full")
        await asker.until(lambda status: status["sinks"][0]["in_flight"] == 1)
        stopping = asyncio.create_task(asker.daemon.stop())
        status = await asker.until(lambda status: status["state"] == "stopping")
        assert [(node["state"], node["trouble"]) for node in status["nodes"]] == [("connected", "")] * 2
        assert [room["state"] for room in status["rooms"]] == ["joined"]
        assert [(p["part"], p["text"], p["remedy"]) for p in status["problems"]] == [
            ("daemon", "It was told to stop, and ends within about 20 s.", ""),
            ("links", "2 connections still open: what is heard now stays in the spool.", ""),
            ("sink", "1 event to be delivered.", ""),
        ]
        _, page = await asker.get("/")
        assert "there is nothing to do" in page
        assert "To do:" not in page
        release.set()
        await stopping


async def test_the_daemons_own_downtime_and_a_deleted_room_are_gaps_of_their_causes(
    watch: Watch, daemon_with: Callable[..., Daemon], cluster: Cluster
) -> None:
    before = daemon_with(http=None)
    await before.start()
    await before.stop()
    asker = await watch()
    await asker.until(lambda status: bool(status["gaps"]))
    cluster.delete_room("//stuff", "alerts")
    await asker.until(lambda status: status["rooms"][0]["state"] == "deleted")
    cluster.add_room("//stuff", "alerts")
    status = await asker.until(lambda status: len(status["gaps"]) == 2)
    assert [gap["cause"] for gap in status["gaps"]] == ["room", "downtime"]


async def test_when_a_part_died_it_is_not_alive(watch: Watch) -> None:
    asker = await watch()

    async def die() -> None:
        raise RuntimeError("a mistake of ours")

    asker.daemon.tasks.spawn(die(), "dying")
    with pytest.raises(RuntimeError):
        await asker.daemon.failed
    assert await asker.get("/healthz") == (503, '{"alive": false, "failure": "RuntimeError"}')
    assert (await asker.get("/readyz"))[0] == 503
    assert "Broken" in (await asker.get("/"))[1]
