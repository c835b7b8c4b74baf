"""The port itself: who listens, who may ask what, and how browsers are told to treat it."""

import asyncio
import socket
from collections.abc import Callable

import aiohttp
import aiohttp.web
import pytest

from tdbwatch.daemon.config.models.config import HttpConfig
from tdbwatch.daemon.status.health import problems
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.testing import ManualClock

from .kit import ADDRESSES, Asker, Watch


async def test_without_an_http_key_nothing_listens(daemon_with: Callable[..., Daemon]) -> None:
    assert daemon_with(http=None).status is None


async def test_after_the_stop_nobody_listens(watch: Watch) -> None:
    asker = await watch()
    base = asker.base
    assert (await asker.get("/healthz"))[
        0
    ] == 200  # leaves an idle connection, which must not hold up the end
    await asker.daemon.stop()
    async with aiohttp.ClientSession() as fresh:
        with pytest.raises(aiohttp.ClientConnectorError):
            await fresh.get(base + "/healthz")


async def test_a_port_in_use_is_said_and_tried_again_while_the_daemon_works(
    daemon_with: Callable[..., Daemon], session: aiohttp.ClientSession
) -> None:
    daemon, clock = daemon_with(http=None), ManualClock()
    await daemon.start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        daemon.showing.now = daemon.showing.server(HttpConfig(listen=f"127.0.0.1:{port}"), clock)
        running = asyncio.create_task(daemon.status.run())
        await clock.advance(0.0)
        assert daemon.status.trouble is not None
        assert "another program uses the port" in daemon.status.trouble
        [said] = problems(daemon.glance())
        assert (said.part, said.blocking) == ("http", False)
        assert daemon.status.trouble in said.text
    await clock.advance(120.0)
    await running
    assert daemon.status.trouble is None
    assert (await Asker(daemon, session).get("/readyz"))[0] == 200
    await daemon.stop()


@pytest.mark.parametrize("path", ADDRESSES)
async def test_browsers_are_told_to_trust_nothing_else(
    watch: Watch, session: aiohttp.ClientSession, path: str
) -> None:
    asker = await watch()
    async with session.get(asker.base + path) as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Server"] == "tdbwatch"


async def test_only_reading_is_answered(watch: Watch, session: aiohttp.ClientSession) -> None:
    asker = await watch()
    async with session.post(asker.base + "/healthz") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    async with session.get(asker.base + "/", data=b"x" * 100) as answer:
        assert answer.status == 413
    async with session.get(asker.base + "/etc/passwd") as answer:
        assert (answer.status, await answer.text()) == (404, "404 Not Found\n")
    async with session.head(asker.base + "/readyz") as answer:
        assert answer.status == 200
