"""The real command in a subprocess, against embedded nodes in this process."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.node import Cluster

DEADLINE = 20.0
"""Seconds; only ever reached when something is broken."""


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition in the outside world, which no clock of ours can turn."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)
    assert condition(), what


@dataclass
class Command:
    """A running `tdbwatch` command and what it has printed so far."""

    process: asyncio.subprocess.Process
    output: list[str] = field(default_factory=list)
    reader: "asyncio.Task[None] | None" = None

    @property
    def text(self) -> str:
        return "".join(self.output)

    def records(self) -> list[dict[str, Any]]:
        """The log lines, which are JSON when nobody looks."""
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    def said(self, event: str) -> bool:
        return any(record["event"] == event for record in self.records())

    async def ready(self) -> None:
        await until(lambda: self.said("daemon.ready") or self.process.returncode is not None, "ready")
        assert self.said("daemon.ready"), self.text

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        async with asyncio.timeout(DEADLINE):
            code = await self.process.wait()
            if self.reader is not None:
                await self.reader
        return code

    async def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return await self.exit_code()


Start = Callable[..., Awaitable[Command]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start `python -m tdbwatch ARGS`; whatever still runs at the end of the test is killed."""
    commands: list[Command] = []

    async def _start(*args: str | Path, env: dict[str, str] | None = None) -> Command:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tdbwatch",
            *map(str, args),
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        command = Command(process)
        command.reader = asyncio.create_task(_collect(process, command.output))
        commands.append(command)
        return command

    yield _start
    for command in commands:
        if command.process.returncode is None:
            command.process.kill()
        await command.process.wait()
        if command.reader is not None:
            await command.reader
        command.process._transport.close()  # type: ignore[attr-defined]


async def _collect(process: asyncio.subprocess.Process, output: list[str]) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        output.append(line.decode())


@pytest.fixture(name="until")
def _until() -> Callable[[Callable[[], bool], str], Awaitable[None]]:
    return until


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Two embedded nodes with the rooms alerts and //ops/deploys."""
    async with Cluster(2, shutdown_period=0.2) as made:
        made.add_room("//stuff", "alerts")
        made.add_room("//ops", "deploys")
        yield made


@pytest.fixture
def write_config(tmp_path: Path, cluster: Cluster) -> Callable[..., Path]:
    """Write a configuration for the cluster: the given sections in place of the default ones."""

    def write(name: str = "watch.yaml", **sections: Any) -> Path:
        config: dict[str, Any] = {
            "thingsdb": {
                "nodes": [node.address for node in cluster.nodes],
                "auth": {"username": "admin", "password": "pass"},
            },
            "rooms": ["alerts", {"name": "deploys", "scope": "//ops"}],
            "sinks": {"audit": {"type": "file", "path": str(tmp_path / "out" / "{room}.jsonl")}},
            "spool": {"path": str(tmp_path / "spool.db")},
            "shutdown": {"grace": "5s"},
        }
        config.update(sections)
        path = tmp_path / name
        path.write_text(json.dumps(config))  # JSON is YAML
        return path

    return write


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The records in a file that the file sink wrote."""

    def read(name: str) -> list[dict[str, Any]]:
        path = tmp_path / "out" / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read
