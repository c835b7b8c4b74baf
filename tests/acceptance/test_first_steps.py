"""`tdbwatch tail` and `emit`: from a node's address to events, without a daemon."""

from typing import Any

from tdbwatch.node import Cluster

PASSWORD = {"THINGSDB_PASSWORD": "pass"}


def admin(cluster: Cluster) -> list[str]:
    return ["--node", cluster.nodes[0].address, "--user", "admin"]


async def test_what_is_emitted_by_hand_is_tailed(start: Any, until: Any, cluster: Cluster) -> None:
    tail = await start("tail", *admin(cluster), "--event", "disk-*", "--count", "2", "alerts", env=PASSWORD)
    await until(lambda: "-- //stuff alerts: joined" in tail.text, "the room")
    for event, *args in (["disk-full", "db1", '{"used": 97}'], ["login"], ["disk-ok", "\x1b[2J"]):
        emit = await start("emit", *admin(cluster), "alerts", event, *args, env=PASSWORD)
        assert await emit.exit_code() == 0, emit.text
        assert f"emitted {event} to alerts in //stuff" in emit.text
    assert await tail.exit_code() == 0, tail.text
    records = tail.records()
    assert [(record["event"], record["args"]) for record in records] == [
        ("disk-full", ["db1", {"used": 97}]),
        ("disk-ok", ["\x1b[2J"]),
    ]
    assert {record["kind"] for record in records} == {"event"}


async def test_tail_takes_rooms_and_login_of_a_configuration(
    start: Any, until: Any, cluster: Cluster, write_config: Any
) -> None:
    tail = await start("tail", "--config", write_config(sinks={}, routes=[]), "--count", "1")
    await until(lambda: tail.text.count(": joined") == 2, "both rooms")
    cluster.emit("//ops", "deploys", "started", "web")
    assert await tail.exit_code() == 0
    assert [record["room"] for record in tail.records()] == ["deploys"]


async def test_a_room_that_is_missing_is_said_and_joined_once_it_is_there(
    start: Any, until: Any, cluster: Cluster
) -> None:
    tail = await start("tail", *admin(cluster), "later", "--count", "1", env=PASSWORD)
    await until(lambda: "-- //stuff later: unjoinable" in tail.text, "a word about the room")
    cluster.add_room("//stuff", "later")
    await until(lambda: "-- //stuff later: joined" in tail.text, "the room")
    cluster.emit("//stuff", "later", "hello")
    assert await tail.exit_code() == 0


async def test_a_room_that_is_not_there_and_a_login_that_is_refused_have_their_exit_codes(
    start: Any, cluster: Cluster
) -> None:
    emit = await start("emit", *admin(cluster), "nowhere", "x", env=PASSWORD)
    assert await emit.exit_code() == 66
    assert "there is no room 'nowhere' in //stuff" in emit.text
    emit = await start("emit", *admin(cluster), "alerts", "x", env={"THINGSDB_PASSWORD": "wrong"})
    assert await emit.exit_code() == 78
    assert "the login is refused by" in emit.text
