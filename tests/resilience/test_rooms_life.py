"""Rooms have a life: each state is visible with its reason, tried again, and in no other room's way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tdbwatch import exceptions as errors
from tdbwatch.node import Cluster

Start = Callable[..., Awaitable[Any]]


async def hears(watch: Any, cluster: Cluster, scope: str, room: str, name: str = "") -> None:
    """What is emitted now arrives in the sink."""
    before = len(watch.records(name or room))
    cluster.emit(scope, room, "tick", before)
    await watch.until(lambda: len(watch.records(name or room)) > before)


async def test_a_room_that_is_missing_at_the_start_is_joined_when_it_is_made(
    start: Start, cluster: Cluster
) -> None:
    watch = await start(["alerts", "later"])
    room = await watch.until_room("later", "missing")
    assert "has no room later" in room["reason"]
    await hears(watch, cluster, "//stuff", "alerts")
    cluster.add_room("//stuff", "later")
    await watch.until_room("later", "joined")
    await hears(watch, cluster, "//stuff", "later")
    assert len(watch.records("later", "gap")) == 1


async def test_a_room_in_a_collection_that_is_missing_is_joined_when_both_are_made(
    start: Start, cluster: Cluster
) -> None:
    watch = await start(["alerts", {"name": "deploys", "scope": "//new"}])
    room = await watch.until_room("deploys", "missing")
    assert "collection `new` not found" in room["reason"]
    await hears(watch, cluster, "//stuff", "alerts")
    cluster.add_room("//new", "deploys")
    await watch.until_room("deploys", "joined")
    await hears(watch, cluster, "//new", "deploys")


async def test_a_forbidden_room_is_joined_when_the_user_may(start: Start, cluster: Cluster) -> None:
    cluster.add_user("admin", "pass", scopes=["//stuff"])
    watch = await start(["alerts", {"name": "deploys", "scope": "//ops"}])
    room = await watch.until_room("deploys", "refused")
    assert "JOIN" in room["reason"]
    await hears(watch, cluster, "//stuff", "alerts")
    cluster.add_user("admin", "pass")
    for node in cluster.nodes:  # a grant is seen by the next login of an embedded node
        node.faults.close_connections()
    await watch.until_room("deploys", "joined")
    await hears(watch, cluster, "//ops", "deploys")


async def test_a_deleted_room_is_told_and_joined_under_its_new_id_when_it_is_made_again(
    start: Start, cluster: Cluster
) -> None:
    watch = await start(["alerts", {"name": "deploys", "scope": "//ops"}])
    first = (await watch.until_room("deploys", "joined"))["room_id"]
    cluster.delete_room("//ops", "deploys")
    room = await watch.until_room("deploys", "deleted")
    assert room["reason"]
    await hears(watch, cluster, "//stuff", "alerts")
    cluster.add_room("//ops", "deploys")
    again = await watch.until_room("deploys", "joined")
    assert again["room_id"] != first
    await hears(watch, cluster, "//ops", "deploys")
    (gap,) = watch.records("deploys", "gap")
    assert gap["reason"] == "the room was deleted"
    assert [r["state"] for r in watch.records("deploys", "room") if r["state"] in {"joined", "deleted"}] == [
        "joined",
        "deleted",
        "joined",
    ]


async def test_the_rooms_of_a_deleted_collection_are_deleted(start: Start, cluster: Cluster) -> None:
    watch = await start(["alerts", {"name": "deploys", "scope": "//ops"}])
    await watch.until_room("deploys", "joined")
    cluster.delete_collection("ops")
    await watch.until_room("deploys", "deleted")
    await hears(watch, cluster, "//stuff", "alerts")
    cluster.add_room("//ops", "deploys")
    await watch.until_room("deploys", "joined")
    await hears(watch, cluster, "//ops", "deploys")


async def test_the_rooms_of_a_renamed_collection_go_on(start: Start, cluster: Cluster) -> None:
    watch = await start(["alerts", {"name": "deploys", "scope": "//ops"}])
    await watch.until_room("deploys", "joined")
    cluster.rename_collection("ops", "operations")
    await hears(watch, cluster, "//operations", "deploys")
    room = await watch.room("deploys")
    assert (room["state"], room["heard_in"]) == ("joined", "//operations")
    assert (await watch.room("alerts"))["heard_in"] == ""
    assert not watch.records("deploys", "gap")
    await hears(watch, cluster, "//stuff", "alerts")


async def test_a_name_that_another_collection_got_is_told_and_that_one_is_heard(
    start: Start, cluster: Cluster
) -> None:
    watch = await start(["alerts", {"name": "deploys", "scope": "//ops"}])
    await watch.until_room("deploys", "joined")
    cluster.rename_collection("ops", "old")
    cluster.add_room("//ops", "deploys", room_id=17)
    cluster.emit("//old", "deploys", "tick")
    await watch.until(lambda: [r["room_id"] for r in watch.records("deploys", "gap")] == [17])
    await hears(watch, cluster, "//ops", "deploys")
    (gap,) = watch.records("deploys", "gap")
    assert (gap["cause"], "called //old now" in gap["reason"]) == ("room", True)
    assert (await watch.room("deploys"))["state"] == "joined"


def fail(*_: Any) -> None:
    raise errors.CustomError("not today")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (fail, "not today"),
        ("nonsense", "must return a room's id, not str"),
        (None, "must return a room's id, not NoneType"),
        (True, "must return a room's id, not bool"),
        (-7, "has no room -7"),
        (4711, "has no room 4711"),
    ],
)
async def test_code_that_raises_or_returns_nonsense_says_so_and_is_run_again(
    start: Start, cluster: Cluster, answer: Any, reason: str
) -> None:
    cluster.on_query(".monitor.room.id();", answer)
    watch = await start(["alerts", {"code": ".monitor.room.id();", "as": "monitor"}])
    room = await watch.room("monitor")
    assert room["state"] in {"refused", "missing"}
    assert reason in room["reason"]
    await hears(watch, cluster, "//stuff", "alerts")
    cluster.on_query(".monitor.room.id();", cluster.add_room("//stuff", "made"))
    await watch.until_room("monitor", "joined")
    await hears(watch, cluster, "//stuff", "made", "monitor")


async def test_code_that_never_returns_holds_up_no_other_room(start: Start, cluster: Cluster) -> None:
    cluster.on_query(".slow.id();", lambda *_: asyncio.get_running_loop().create_future())
    slow = {"code": ".slow.id();", "as": "slow", "required": True}
    watch = await start(["alerts", slow], wait=False)
    await watch.until_room("alerts", "joined")
    await hears(watch, cluster, "//stuff", "alerts")
    assert (await watch.room("slow"))["state"] == "waiting"
    assert not await watch.is_ready()


async def test_a_required_room_counts_for_readiness_in_each_state_and_others_do_not(
    start: Start, cluster: Cluster
) -> None:
    required = {"name": "deploys", "scope": "//ops", "required": True}
    watch = await start(["alerts", "never", required])
    await watch.until_room("deploys", "joined")
    assert await watch.is_ready()
    cluster.delete_room("//ops", "deploys")
    await watch.until_room("deploys", "deleted")
    assert not await watch.is_ready()
    (problem,) = [p for p in (await watch.status())["problems"] if p["blocking"]]
    assert (problem["part"], problem["name"]) == ("room", "deploys in //ops")
    cluster.add_room("//ops", "deploys")
    await watch.until_room("deploys", "joined")
    assert await watch.is_ready()
    assert (await watch.room("never"))["state"] == "missing"
