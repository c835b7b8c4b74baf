"""What an operator does about sinks, through the real commands, beside the running daemon."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tdbwatch.node import Cluster

Ask = Callable[..., Awaitable[tuple[int, str]]]
Lines = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def ask(start: Any) -> Ask:
    """Run a command to its end; its exit code and what it printed."""

    async def ask(*args: Any) -> tuple[int, str]:
        command = await start(*args)
        return await command.exit_code(), command.text

    return ask


class Hook:
    """A receiver that gives the answer that it has now."""

    def __init__(self) -> None:
        self.status = 200
        self.numbers: list[Any] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        record = await request.json()
        if self.status == 200 and record["kind"] == "event":
            self.numbers.append(record["args"][0])
        return web.Response(status=self.status)


@asynccontextmanager
async def hook() -> AsyncIterator[Hook]:
    made, application = Hook(), web.Application()
    application.router.add_post("/", made.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield made
    finally:
        await runner.cleanup()


async def page(command: Any, path: str) -> Any:
    """What the status port answers there."""
    url = (await command.url()).rstrip("/") + path
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await (answer.json() if path.endswith(("z", "json")) else answer.text())


async def test_a_paused_sink_is_tried_at_once_when_people_wake_it_and_repeats_nothing(
    start: Any, until: Any, cluster: Cluster, write_config: Any, ask: Ask
) -> None:
    async with hook() as receiver:
        sinks = {"oncall": {"type": "webhook", "url": receiver.url}}
        config = write_config(sinks=sinks, http={"listen": "127.0.0.1:0"})
        command = await start("--config", config)
        await command.ready()
        cluster.emit("//stuff", "alerts", "counted", 1)
        await until(lambda: receiver.numbers == [1], "the first")
        receiver.status = 410
        cluster.emit("//stuff", "alerts", "counted", 2)
        await until(lambda: command.said("sink.paused"), "the pause")
        receiver.status = 200
        [problem] = (await page(command, "/readyz"))["reasons"]
        assert f"`tdbwatch spool wake oncall --spool {config.with_name('spool.db')}`" in problem["remedy"]
        code, text = await ask("spool", "wake", "oncall", "--config", config)
        assert (code, text) == (
            0,
            f"oncall: will be tried within about a second, by process {command.process.pid}\n",
        )
        await until(lambda: receiver.numbers == [1, 2], "the second, once")
        assert (await page(command, "/readyz"))["ready"]
        assert await command.stop() == 0
        code, text = await ask("spool", "wake", "oncall", "--config", config)
        assert (code, text) == (0, "oncall: no daemon runs; when it starts, it tries at once\n")
        code, text = await ask("spool", "wake", "onkall", "--config", config)
        assert code == 64
        assert "there is no sink 'onkall'" in text


async def test_a_renamed_sink_is_named_everywhere_until_its_backlog_is_moved_beside_the_daemon(
    start: Any, until: Any, cluster: Cluster, write_config: Any, ask: Ask
) -> None:
    async with hook() as receiver:
        receiver.status = 500
        old = {"oncall": {"type": "webhook", "url": receiver.url}}
        command = await start("--config", write_config(sinks=old))
        await command.ready()
        for number in (1, 2, 3):
            cluster.emit("//stuff", "alerts", "counted", number)
        await until(lambda: command.said("sink.failed"), "the failure")
        assert await command.stop() == 0
        receiver.status = 200
        new = {"pager": {"type": "webhook", "url": receiver.url}}
        config = write_config(sinks=new, http={"listen": "127.0.0.1:0"})
        code, text = await ask("check", "--config", config)
        assert code == 0
        assert "there is no oncall, and the spool" in text
        assert "`tdbwatch spool move oncall NEW --config FILE`" in text
        command = await start("--config", config)
        await command.ready()
        await until(lambda: command.said("sink.gone"), "the line at the start")
        cluster.emit("//stuff", "alerts", "counted", 4)
        await until(lambda: receiver.numbers == [4], "what the new one gets itself")
        ready = await page(command, "/readyz")
        assert ready["ready"]
        [warning] = [one for one in ready["warnings"] if one["name"] == "oncall"]
        events = int(re.findall(r"(\d+) undelivered events", warning["text"])[0])
        assert events >= 3, "events, and records of rooms and nodes"
        assert "tdbwatch spool move oncall NEW" in await page(command, "/")
        assert f'tdbwatch_sink_left_behind{{sink="oncall"}} {events}\n' in await page(command, "/metrics")
        code, text = await ask("spool", "move", "oncall", "pager", "--config", config)
        assert code == 0
        assert f"{events} undelivered events and 0 dead letters of oncall: will be pager's within" in text
        await until(lambda: receiver.numbers == [4, 1, 2, 3], "what the old one left")
        code, text = await ask("check", "--config", config)
        assert "oncall" not in text
        assert await command.stop() == 0
        assert receiver.numbers == [4, 1, 2, 3]
