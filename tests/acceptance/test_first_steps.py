"""`tdbwatch tail` and `emit`: from a node's address to events, without a daemon."""

from pathlib import Path
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
    why = "refused the login: invalid username or password; check the user or the token"
    assert f"emit: {cluster.nodes[0].address} {why}" in emit.text


async def test_the_name_of_an_event_reaches_no_terminal_as_it_is(start: Any, cluster: Cluster) -> None:
    emit = await start("emit", *admin(cluster), "alerts", "a\x1b[2Jb", env=PASSWORD)
    assert await emit.exit_code() == 0, emit.text
    assert "\x1b" not in emit.text
    assert "[2Jb to alerts in //stuff" in emit.text


async def test_a_room_whose_code_returns_no_id_is_named(
    start: Any, write_config: Any, cluster: Cluster
) -> None:
    cluster.on_query(".which;", None)
    config = write_config(rooms=[{"code": ".which;", "as": "which"}])
    emit = await start("emit", "--config", config, "which", "x")
    assert await emit.exit_code() == 66, emit.text
    assert "the code of which must return a room's id, not None" in emit.text


async def test_a_test_event_goes_through_a_sink_as_the_daemon_would_send_it(
    start: Any, write_config: Any, lines: Any, tmp_path: Path
) -> None:
    routes = [{"where": "args[0].severity > 3", "set": {"host": "args[0].host"}, "to": ["audit"]}]
    config = write_config(routes=routes)
    sent = await start(
        "send", "audit", '{"host": "db1", "severity": 5}', "--config", config, "--event", "disk-full"
    )
    assert await sent.exit_code() == 0, sent.text
    assert sent.text == "audit: delivered\n"
    (record,) = lines("alerts.jsonl")
    assert (record["event"], record["fields"]) == ("disk-full", {"host": "db1"})
    assert not (tmp_path / "spool.db").exists()


async def test_a_sink_that_asks_thingsdb_can_be_tried_too(
    start: Any, cluster: Cluster, write_config: Any, tmp_path: Path
) -> None:
    (tmp_path / "plugins.d").mkdir(mode=0o755)
    (tmp_path / "plugins.d" / "asks.py").write_text(
        "from tdbwatch.plugin import Rejected, hookimpl\n@hookimpl\n"
        "async def tdbwatch_event(event, context):\n"
        "    return Rejected(await context.client.run('owner_of', *event.args, timeout=5))\n"
    )
    cluster.on_procedure("owner_of", lambda host: f"it is ann's {host}")
    config = write_config(plugins={"paths": [str(tmp_path / "plugins.d")]})
    sent = await start("send", "asks", '"db1"', "--config", config)
    assert await sent.exit_code() == 1
    assert sent.text == "asks: rejected for good: it is ann's db1\n"


async def test_a_sink_that_takes_nothing_says_why(start: Any, write_config: Any) -> None:
    hook = {"type": "webhook", "url": "http://127.0.0.1:1/secret-path-of-a-hook"}
    config = write_config(sinks={"hook": hook})
    sent = await start("send", "hook", "--config", config)
    assert await sent.exit_code() == 1
    assert sent.text.startswith(
        "hook: not delivered, and would be tried again: http://127.0.0.1:1/...: cannot connect"
    )
    assert "secret-path" not in sent.text
    for arguments, said in (
        (["hok"], "did you mean hook?"),
        (["hook", "--room", "alert"], "did you mean alerts?"),
    ):
        sent = await start("send", *arguments, "--config", config)
        assert (await sent.exit_code(), said in sent.text) == (64, True), sent.text


async def test_check_connects_and_says_which_rooms_can_be_joined(
    start: Any, cluster: Cluster, write_config: Any
) -> None:
    checked = await start("check", "--connect", "--config", write_config())
    assert await checked.exit_code() == 0, checked.text
    assert "joined alerts in //stuff (id " in checked.text
    assert "joined deploys in //ops (id " in checked.text
    checked = await start("check", "--connect", "--config", write_config(rooms=["alerts", "nowhere"]))
    assert await checked.exit_code() == 69
    assert "not joined: nowhere in //stuff: " in checked.text
    assert "Make the room in ThingsDB" in checked.text
    assert "1 room cannot be joined" in checked.text
    wrong = {"nodes": [cluster.nodes[0].address], "auth": {"username": "admin", "password": "wrong"}}
    checked = await start("check", "--connect", "--config", write_config(thingsdb=wrong))
    assert await checked.exit_code() == 78
    assert "refused the login" in checked.text
