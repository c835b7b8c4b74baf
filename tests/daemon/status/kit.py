"""Who asks a daemon's status server, and who is asked by its sinks."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
from prometheus_client.parser import text_string_to_metric_families

from tdbwatch.daemon.supervisor import Daemon

DOCS = Path(__file__).parents[3] / "docs" / "operations.md"

ADDRESSES = ("/healthz", "/readyz", "/metrics", "/status.json", "/tail", "/letters", "/config", "/")


class Asker:
    """Asks a daemon's status server."""

    def __init__(self, daemon: Daemon, session: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self._session = session

    @property
    def base(self) -> str:
        assert self.daemon.status is not None
        return f"http://127.0.0.1:{self.daemon.status.port}"

    async def get(self, path: str) -> tuple[int, str]:
        async with self._session.get(self.base + path) as answer:
            return answer.status, await answer.text()

    async def json(self, path: str = "/status.json") -> dict[str, Any]:
        return dict(json.loads((await self.get(path))[1]))

    async def metrics(self) -> dict[tuple[str, ...], float]:
        """Values by (name, label value, ...), the labels in the order of their names."""
        families = text_string_to_metric_families((await self.get("/metrics"))[1])
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    async def everything(self) -> str:
        return "\n".join([(await self.get(path))[1] for path in ADDRESSES])

    async def until(self, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The status, as soon as it is as expected; the deadline is only reached when something is broken."""
        async with asyncio.timeout(20):
            while not met(status := await self.json()):
                await asyncio.sleep(0.02)
        return status


class Receiver:
    """An HTTP server that gives the same answer to all, once it is released."""

    def __init__(self, status: int, release: asyncio.Event | None = None) -> None:
        self.bodies: list[bytes] = []
        self._status = status
        self._release = release
        application = aiohttp.web.Application()
        application.router.add_post("/", self._answer)
        self._runner = aiohttp.web.AppRunner(application)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def __aenter__(self) -> "Receiver":
        await self._runner.setup()
        await aiohttp.web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        self.bodies.append(await request.read())
        if self._release is not None:
            await self._release.wait()
        return aiohttp.web.Response(status=self._status)


Watch = Callable[..., Awaitable[Asker]]
