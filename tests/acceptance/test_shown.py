"""What tdbwatch says of itself in trouble: log, systemd, readyz, page and metrics of one run of it."""

import json
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tdbwatch.node import Cluster


@pytest.fixture
async def gone() -> AsyncIterator[str]:
    """The address of a receiver that wants no more events."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=410, text="moved out")

    application = web.Application()
    application.router.add_post("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_log_systemd_readyz_page_and_metrics_agree_from_the_start_to_a_sick_sink(
    start: Any, until: Any, cluster: Cluster, write_config: Any, systemd: Any, gone: str
) -> None:
    config = write_config(
        thingsdb={
            "nodes": [node.address for node in cluster.nodes],
            "auth": {"username": "admin", "password": "pass"},
            "canary": {"room": "canary"},
        },
        rooms=["alerts", {"name": "oncall", "required": True}],
        sinks={"hook": {"type": "webhook", "url": gone}},
        routes=[{"match": {"room": "alerts"}, "to": ["hook"]}],
        http={"listen": "127.0.0.1:0"},
    )
    command = await start("--config", config, env={"NOTIFY_SOCKET": str(systemd.path)})
    await until(lambda: command.said("daemon.not_ready"), "a word about the missing room")
    url = await command.url()
    await until(lambda: command.said("canary.no_room"), "a word about the canary")

    async def get(path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url.rstrip("/") + path) as answer,
        ):
            return answer.status, await answer.text()

    def reasons() -> list[str]:
        return [line["reasons"][0] for line in command.records() if line["event"] == "daemon.not_ready"]

    # a required room is missing: it was started, but is not ready, for nobody
    assert command.said("daemon.started")
    assert not command.said("daemon.ready")
    assert reasons()[0].startswith("Room oncall in //stuff: There is no such room")
    assert not systemd.is_ready
    await until(lambda: systemd.status.startswith("not ready: "), "systemd hears of it")
    assert systemd.status.startswith("not ready: Room oncall in //stuff: There is no such room")
    code, body = await get("/readyz")
    warnings = {warning["part"]: warning for warning in json.loads(body)["warnings"]}
    assert (code, warnings["canary"]["name"]) == (503, "canary in //stuff")
    assert warnings["canary"]["remedy"].startswith("Make its room in ThingsDB")
    assert command.said("canary.no_room")
    top = await start("top", "--url", url)
    assert await top.exit_code() == 0
    assert "Trouble: Not ready, because of this:\n  Room oncall in //stuff: There is no such room" in top.text
    assert "tdbwatch_ready 0\n" in (await get("/metrics"))[1]
    assert "tdbwatch_canary_joined 0\n" in (await get("/metrics"))[1]

    # the rooms are made: everyone says so
    cluster.add_room("//stuff", "oncall")
    cluster.add_room("//stuff", "canary")
    await until(lambda: command.said("daemon.ready") and command.said("canary.back"), "both are back")
    await until(lambda: systemd.is_ready, "systemd hears of it")
    assert (await get("/readyz"))[0] == 200
    assert "tdbwatch_canary_joined 1\n" in (await get("/metrics"))[1]

    # the receiver is gone: the next try is said, by all
    cluster.emit("//stuff", "alerts", "disk-full")
    await until(lambda: len(reasons()) == 2, "a word about the sink")
    await until(lambda: systemd.status.startswith("not ready: Sink hook: Paused"), "systemd hears of it")
    next_try = re.compile(r"Next try at \d\d:\d\d:\d\d UTC")
    assert next_try.search(reasons()[1])
    assert next_try.search(systemd.status)
    code, body = await get("/readyz")
    assert (code, json.loads(body)["reasons"][0]["name"]) == (503, "hook")
    assert next_try.search((await get("/"))[1])
    assert f"tdbwatch on <b>{socket.gethostname()}</b>" in (await get("/"))[1]
    assert await command.stop() == 0
    assert any(message.startswith("STOPPING=1") for message in systemd.said())
