"""Real daemons, asked over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import pytest

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.config import load
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.node import Cluster

from .kit import Asker


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(2, shutdown_period=0.1) as made:
        made.add_room("//stuff", "alerts")
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


@pytest.fixture
def daemon_with(tmp_path: Path, cluster: Cluster) -> Callable[..., Daemon]:
    """A daemon with the given sections in place of the default ones."""

    def _make(clock: Clock = SYSTEM_CLOCK, **sections: Any) -> Daemon:
        config: dict[str, Any] = {
            "thingsdb": {
                "nodes": [node.address for node in cluster.nodes],
                "auth": {"username": "admin", "password": "pass"},
            },
            "rooms": ["alerts"],
            "sinks": {"audit": {"type": "file", "path": str(tmp_path / "out" / "{room}.jsonl")}},
            "spool": {"path": str(tmp_path / "spool.db")},
            "http": {"listen": "127.0.0.1:0"},
            "shutdown": {"grace": "500ms"},
        }
        config.update(sections)
        file = tmp_path / "watch.yaml"
        file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        folder = tmp_path / "plugins.d"
        registry = load_plugins((folder,) if folder.exists() else (), ())
        return Daemon(load(file, registry.sink_types), registry, clock=clock)

    return _make


@pytest.fixture
async def watch(
    daemon_with: Callable[..., Daemon], session: aiohttp.ClientSession
) -> AsyncIterator[Callable[..., Awaitable[Asker]]]:
    """Start a daemon, connected to all nodes; with `wait=False` it may still be connecting."""
    daemons: list[Daemon] = []
    starts: list[asyncio.Task[None]] = []

    async def _watch(wait: bool = True, **sections: Any) -> Asker:
        daemon = daemon_with(**sections)
        daemons.append(daemon)
        starting = asyncio.create_task(daemon.start())
        starts.append(starting)
        if wait:
            await starting
        assert daemon.status is not None
        await daemon.status.listening.wait()
        asker = Asker(daemon, session)
        if wait:
            await asker.until(lambda status: status["links"]["live"] == status["links"]["wanted"])
        return asker

    yield _watch
    for starting in starts:
        starting.cancel()
    await asyncio.gather(*starts, return_exceptions=True)
    for daemon in daemons:
        await daemon.stop()
