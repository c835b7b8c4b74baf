"""Daemons in real time, with short heartbeats, and what they say over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tdbwatch.daemon.config import load
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.node import Cluster

HEARTBEAT = {"interval": "100ms", "timeout": "400ms"}
DEADLINE = 20.0
"""Seconds; only reached when something is broken."""


class Watch:
    """A daemon that runs, with one file sink per room that gets every kind of record."""

    def __init__(self, daemon: Daemon, folder: Path, session: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self._folder = folder
        self._session = session

    async def status(self) -> dict[str, Any]:
        assert self.daemon.status is not None
        async with self._session.get(f"http://127.0.0.1:{self.daemon.status.port}/status.json") as answer:
            return dict(await answer.json())

    async def is_ready(self) -> bool:
        assert self.daemon.status is not None
        async with self._session.get(f"http://127.0.0.1:{self.daemon.status.port}/readyz") as answer:
            return answer.status == 200

    async def room(self, name: str) -> dict[str, Any]:
        return next(room for room in (await self.status())["rooms"] if room["name"] == name)

    async def until_room(self, name: str, state: str) -> dict[str, Any]:
        """The room's row of the status, once it is in this state."""
        async with asyncio.timeout(DEADLINE):
            while (room := await self.room(name))["state"] != state:
                await asyncio.sleep(0.02)
        return room

    def records(self, room: str, kind: str = "event") -> list[dict[str, Any]]:
        """Those in its file, but for a last line that is not whole yet."""
        path = self._folder / f"{room}.jsonl"
        lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
        return [record for record in map(json.loads, lines) if record["kind"] == kind]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await asyncio.sleep(0.01)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Three nodes with `alerts` in //stuff and `deploys` in //ops."""
    async with Cluster(3, shutdown_period=0.5) as made:
        made.add_room("//stuff", "alerts")
        made.add_room("//ops", "deploys")
        yield made


@pytest.fixture
async def start(tmp_path: Path, cluster: Cluster) -> AsyncIterator[Callable[..., Awaitable[Watch]]]:
    """Start a daemon with these rooms; keys of `thingsdb` may be given. Without `wait` it may still join."""
    daemons: list[Daemon] = []
    starting: list[asyncio.Task[None]] = []
    out = tmp_path / "out"

    async with aiohttp.ClientSession() as session:

        async def _start(rooms: list[Any], *, wait: bool = True, **thingsdb: Any) -> Watch:
            config = {
                "thingsdb": {
                    "nodes": [node.address for node in cluster.nodes],
                    "auth": {"username": "admin", "password": "pass"},
                    "heartbeat": HEARTBEAT,
                    **thingsdb,
                },
                "rooms": rooms,
                "sinks": {"audit": {"type": "file", "path": str(out / "{room}.jsonl")}},
                "routes": [{"match": {"kind": ["event", "gap", "room"]}, "to": ["audit"]}],
                "spool": {"path": str(tmp_path / "spool.db")},
                "http": {"listen": "127.0.0.1:0"},
                "shutdown": {"grace": "500ms"},
            }
            file = tmp_path / "watch.yaml"
            file.write_text(json.dumps(config))
            registry = load_plugins((), ())
            daemon = Daemon(load(file, registry.sink_types), registry)
            daemons.append(daemon)
            starting.append(asyncio.create_task(daemon.start()))
            if wait:
                await starting[-1]
            assert daemon.status is not None
            await daemon.status.listening.wait()
            return Watch(daemon, out, session)

        yield _start
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        for daemon in daemons:
            await daemon.stop()
