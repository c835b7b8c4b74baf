"""What tdbwatch says of itself in trouble: log, systemd, readyz, page and metrics of one run of it."""

import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tdbwatch.node import Cluster


class Systemd:
    """Reads the daemon's datagrams, as systemd does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def said(self) -> list[str]:
        while True:
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self.heard

    @property
    def is_ready(self) -> bool:
        return any(message.startswith("READY=1") for message in self.said())

    @property
    def status(self) -> str:
        return [message.partition("STATUS=")[2] for message in self.said() if "STATUS=" in message][-1]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Any:
    made = Systemd(tmp_path / "notify")
    yield made
    made.close()


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
    start: Any, until: Any, cluster: Cluster, write_config: Any, systemd: Systemd, gone: str
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
    await until(lambda: command.said("status.listening"), "the port")
    await until(lambda: command.said("canary.no_room"), "a word about the canary")
    [listening] = [line for line in command.records() if line["event"] == "status.listening"]

    async def get(path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(listening["url"].rstrip("/") + path) as answer,
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
    top = await start("top", "--url", listening["url"])
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
