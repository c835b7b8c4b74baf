"""The real command in a process of its own, against embedded nodes in this process."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.node import Cluster
from tests.forked import COMMAND, Forked, Forker, reader_of

DEADLINE = 45.0
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

    process: asyncio.subprocess.Process | Forked
    output: list[str] = field(default_factory=list)
    reader: "asyncio.Task[None] | None" = None
    _records: list[dict[str, Any]] = field(default_factory=list)
    _read: int = 0

    @property
    def text(self) -> str:
        return "".join(self.output)

    def records(self) -> list[dict[str, Any]]:
        """The log lines, which are JSON when nobody looks."""
        new, self._read = self.output[self._read :], len(self.output)
        self._records += [json.loads(line) for line in new if line.startswith("{")]
        return self._records[:]

    def said(self, event: str) -> bool:
        return any(record["event"] == event for record in self.records())

    async def ready(self) -> None:
        await until(lambda: self.said("daemon.ready") or self.process.returncode is not None, "ready")
        assert self.said("daemon.ready"), self.text

    async def url(self) -> str:
        """Where it shows itself, once it listens; with a slash at the end."""
        await until(lambda: self.said("status.listening"), "the status port")
        return next(str(one["url"]) for one in self.records() if one["event"] == "status.listening")

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


class Systemd:
    """Reads the daemon's datagrams as they come, as systemd does: few may wait."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def said(self) -> list[str]:
        """All that came so far."""
        with suppress(BlockingIOError):
            while True:
                self._read()
        return self.heard

    @property
    def is_ready(self) -> bool:
        return any(message.startswith("READY=1") for message in self.said())

    @property
    def status(self) -> str:
        return [message.partition("STATUS=")[2] for message in self.said() if "STATUS=" in message][-1]

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        self.heard.append(self._socket.recv(4096).decode())


@pytest.fixture
async def systemd(tmp_path: Path) -> AsyncIterator[Systemd]:
    made = Systemd(tmp_path / "notify")
    yield made
    made.close()


Start = Callable[..., Awaitable[Command]]


@pytest.fixture
def fresh() -> bool:
    """Whether commands are interpreters of their own, which import everything themselves."""
    return False


@pytest.fixture
def beforehand() -> str:
    """Code that a command's process runs before the command, unless it is fresh."""
    return ""


@pytest.fixture
async def start(tmp_path: Path, fresh: bool, beforehand: str, forker: Forker) -> AsyncIterator[Start]:
    """Start `tdbwatch ARGS`, standard error beside standard output; what still runs at the end is killed."""
    commands: list[Command] = []

    async def _start(*args: str | Path, env: dict[str, str] | None = None) -> Command:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        reading, writing = os.pipe()
        with Path(os.devnull).open("rb") as nothing:
            process = await (_interpreter if fresh else partial(_fork, forker, beforehand + COMMAND))(
                args, nothing.fileno(), writing, tmp_path, environment
            )
        os.close(writing)
        command = Command(process)
        command.reader = asyncio.create_task(_collect(reading, command.output))
        commands.append(command)
        return command

    yield _start
    for command in commands:
        if command.process.returncode is None:
            command.process.kill()
        await command.process.wait()
        if command.reader is not None:
            await command.reader
        if isinstance(command.process, Forked):
            await command.process.close()
        else:
            command.process._transport.close()  # type: ignore[attr-defined]


async def _interpreter(
    args: Sequence[str | Path], stdin: int, out: int, folder: Path, environment: dict[str, str]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tdbwatch", *map(str, args),
        cwd=folder, env=environment, stdin=stdin, stdout=out, stderr=out,
    )  # fmt: skip


async def _fork(
    forker: Forker,
    code: str,
    args: Sequence[str | Path],
    stdin: int,
    out: int,
    folder: Path,
    environment: dict[str, str],
) -> Forked:
    return await forker.start(code, args, streams=(stdin, out, out), folder=folder, environment=environment)


async def _collect(fd: int, output: list[str]) -> None:
    reader, transport = await reader_of(fd)
    while line := await reader.readline():
        output.append(line.decode())
    transport.close()


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
def joined_everywhere(cluster: Cluster, until: Any) -> Callable[[], Awaitable[None]]:
    """Wait until the rooms are joined by way of each node. A link is there before its rooms are."""
    rooms = [cluster.collection("stuff").room("alerts"), cluster.collection("ops").room("deploys")]

    async def wait() -> None:
        everywhere = len(cluster.nodes)
        await until(lambda: all(len(room.listeners) == everywhere for room in rooms), "a join at each node")

    return wait


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


@dataclass
class _Written:
    """What a file had when it was read last; only what is new is read again."""

    file: int = 0
    size: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)

    def read(self, path: Path) -> None:
        with path.open("rb") as file:
            now = os.fstat(file.fileno())
            if now.st_ino != self.file or now.st_size < self.size:
                self.file, self.size, self.records = now.st_ino, 0, []
            file.seek(self.size)
            whole = file.read().rpartition(b"\n")
        self.size += len(whole[0]) + len(whole[1])
        self.records += map(json.loads, whole[0].splitlines())


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The records in a file that the file sink writes, but for a last line that is not whole yet."""
    seen: defaultdict[Path, _Written] = defaultdict(_Written)

    def read(name: str) -> list[dict[str, Any]]:
        path = tmp_path / "out" / name
        if not path.is_file():
            return []
        seen[path].read(path)
        return seen[path].records[:]

    return read
