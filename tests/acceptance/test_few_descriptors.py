"""A process that may have few files and connections open is slower, and loses nothing."""

import asyncio
import resource
from pathlib import Path
from typing import Any

import aiohttp

from tdbwatch.node import Cluster

FEW = 64
NAMES = [f"e{n}" for n in range(40)]
"""Of events, each of which has a file of its own in each sink."""


def counts(folder: Path) -> set[int]:
    """How many times each event is in its file."""
    files = [folder / str(sink) / f"{name}.jsonl" for sink in range(5) for name in NAMES]
    return {file.read_text().count('"kind":"event"') if file.exists() else 0 for file in files}


async def test_with_64_descriptors_for_more_files_than_that_all_events_arrive(
    start: Any, until: Any, cluster: Cluster, write_config: Any, tmp_path: Path
) -> None:
    sinks = {f"s{n}": {"type": "file", "path": str(tmp_path / str(n) / "{event}.jsonl")} for n in range(5)}
    (node, other) = cluster.nodes
    await other.stop()
    config = write_config(sinks=sinks, http={"listen": "127.0.0.1:0"})
    command = await start("run", "--config", config)
    resource.prlimit(command.process.pid, resource.RLIMIT_NOFILE, (FEW, FEW))
    await command.ready()
    url = await command.url()
    port = int(url.rstrip("/").rpartition(":")[2])
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(FEW)]
    for time in (1, 2):
        for name in NAMES:
            cluster.emit("//stuff", "alerts", name, time)
        await until(lambda time=time: counts(tmp_path) == {time}, "all events in all files")
        async with aiohttp.ClientSession() as session, session.get(f"{url}healthz") as answer:
            assert answer.status == 200
        if time == 1:
            await node.stop()
            await node.start()
            await until(lambda: said(command, "room.joined") == 4, "a link again")
    for _, writer in idle:
        writer.close()
    assert await command.stop() == 0


def said(command: Any, event: str) -> int:
    return sum(record["event"] == event for record in command.records())
