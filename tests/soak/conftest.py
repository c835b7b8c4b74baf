"""A daemon that is killed again and again, and an oracle outside of it that forgets nothing."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tdbwatch.daemon.spool.stored.log import blocks_where
from tdbwatch.node import Cluster

DEADLINE = 30.0
"""Seconds; only ever reached when something is broken."""

SLOW = """
import os, time
from tdbwatch.plugin import Event, sink

@sink("slow")
def slow(event: Event) -> None:
    time.sleep(0.001)
    with open("slow.jsonl", "ab", buffering=0) as file:
        file.write(event.json() + b"\\n")
"""
SINKS = ("file", "hook", "slow")


@dataclass
class Oracle:
    """What the sinks were seen to take, and what the spool was seen to hold."""

    first: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {s: {} for s in SINKS})
    """By sink and id: records, in the order of their first delivery."""
    deliveries: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    spooled: dict[str, int] = field(default_factory=dict)
    """By id: its place in the log."""
    contradictions: list[str] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    """By id of the record: its members."""
    members: dict[str, str] = field(default_factory=dict)
    """By id of a member: the record that has it."""

    def grouped(self, record: dict[str, Any]) -> None:
        members = [member["id"] for member in record["members"]]
        if self.groups.setdefault(record["id"], members) != members:
            self.contradictions.append(f"the group {record['id']} became another")
        for member in members:
            if self.members.setdefault(member, record["id"]) != record["id"]:
                self.contradictions.append(f"{member} is in two groups")

    @property
    def ungrouped(self) -> set[str]:
        """What should be in a group, and is in none."""
        records = self.first["file"].values()
        return {one["id"] for one in records if one["room"] == "alerts" and one["kind"] == "event"} - set(
            self.members
        )

    def took(self, sink: str, record: dict[str, Any]) -> None:
        self.deliveries[sink] += 1
        known = self.first[sink].setdefault(record["id"], record)
        if known != record:
            self.contradictions.append(f"{sink}: {known} became {record}")

    def holds(self, path: Path) -> None:
        """Look into the spool of a daemon that is dead."""
        if not path.exists():
            return
        with closing(sqlite3.connect(path)) as connection:
            blocks = blocks_where(connection, "1 ORDER BY first_seq", ())
        for block in blocks:
            for seq, event in block.numbered():
                if event.kind in {"event", "gap"} and self.spooled.setdefault(event.id, seq) != seq:
                    self.contradictions.append(f"{event.id} was {self.spooled[event.id]} and is {seq}")

    @property
    def acknowledged(self) -> set[str]:
        return set(self.spooled).union(*self.first.values())

    def complete(self) -> bool:
        return not self.ungrouped and all(set(taken) >= self.acknowledged for taken in self.first.values())

    def verdict(self) -> list[str]:
        """Every promise that was broken."""
        broken = list(self.contradictions)
        broken += [f"{one} was held back, and is in no group" for one in self.ungrouped]
        for sink, taken in self.first.items():
            missing = self.acknowledged - set(taken)
            if missing:
                broken.append(f"{sink} never got {len(missing)} acknowledged events, such as {min(missing)}")
            rooms: dict[tuple[str, str], list[str]] = defaultdict(list)
            for event_id, record in taken.items():
                rooms[record["scope"], record["room"]].append(event_id)
            broken += [f"{sink}: {room} out of order" for room, ids in rooms.items() if ids != sorted(ids)]
        ids: dict[Any, set[str]] = defaultdict(set)
        for taken in self.first.values():
            for event_id, record in taken.items():
                if record["kind"] == "event":
                    ids[record["room"], record["args"][0]].add(event_id)
        broken += [f"{what} has the ids {found}" for what, found in ids.items() if len(found) > 1]
        return broken


@dataclass
class Rig:
    """The cluster, the daemon that is killed, its three sinks, and the oracle."""

    folder: Path
    cluster: Cluster
    config: Path
    rng: random.Random
    oracle: Oracle = field(default_factory=Oracle)
    emitted: int = 0
    process: asyncio.subprocess.Process | None = None
    _log_start: int = 0
    _read: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def spool(self) -> Path:
        return self.folder / "spool.db"

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tdbwatch", "--config", self.config,
                cwd=self.folder, env=dict(os.environ), stdout=log, stderr=log,
            )  # fmt: skip

    async def kill(self) -> None:
        """SIGKILL, and what the dead leave behind."""
        assert self.process is not None
        self.process.kill()
        assert await self.process.wait() == -signal.SIGKILL, self.log()
        self.look()
        self.oracle.holds(self.spool)

    async def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        async with asyncio.timeout(DEADLINE):
            code = await self.process.wait()
        self.look()
        self.oracle.holds(self.spool)
        return code

    @property
    def _log(self) -> Path:
        return self.folder / "log.txt"

    def log(self) -> str:
        """The end of what the running daemon has logged."""
        with self._log.open() as file:
            file.seek(self._log_start)
            return file.read()[-4000:]

    async def ready(self) -> None:
        await self.until(lambda: '"daemon.ready"' in self.log(), "ready")

    def emit(self, count: int) -> None:
        for _ in range(count):
            scope, room = self.rng.choice((("//stuff", "alerts"), ("//ops", "deploys")))
            self.cluster.emit(scope, room, "counted", self.emitted)
            self.emitted += 1

    async def emit_for(self, seconds: float) -> None:
        """A few hundred events a second, in bursts."""
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            self.emit(self.rng.randint(0, 10))
            await asyncio.sleep(0.01)

    def look(self) -> None:
        """Read on in what the file sink and the slow sink have written. A torn last line is not whole yet."""
        for sink in ("file", "slow", "grouped"):
            path = self.folder / f"{sink}.jsonl"
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(self._read[sink])
                for line in file:
                    if line.endswith(b"\n"):
                        record = json.loads(line)
                        if sink == "grouped":
                            self.oracle.grouped(record)
                        else:
                            self.oracle.took(sink, record)
                        self._read[sink] += len(line)

    def sees(self) -> set[str]:
        self.look()
        return set().union(*self.oracle.first.values())

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                assert self.process is not None
                assert self.process.returncode is None, f"it ended before {what}: {self.log()}"
                await asyncio.sleep(0.02)
                self.look()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Two embedded nodes in this process, and a configuration with a file, a webhook and a slow plugin."""
    seed = int(os.environ.get("TDBWATCH_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    async with Cluster(2) as cluster:
        cluster.add_room("//stuff", "alerts")
        cluster.add_room("//ops", "deploys")
        made = Rig(tmp_path, cluster, tmp_path / "watch.yaml", random.Random(seed))

        async def hook(request: web.Request) -> web.Response:
            for record in await request.json():
                made.oracle.took("hook", record)
            return web.Response()

        app = web.Application()
        app.router.add_post("/", hook)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _configure(made, cluster, runner.addresses[0][1])
        yield made
        if made.process is not None and made.process.returncode is None:
            made.process.kill()
            await made.process.wait()
        await runner.cleanup()


def _configure(rig: Rig, cluster: Cluster, port: int) -> None:
    plugins = rig.folder / "plugins.d"
    plugins.mkdir(mode=0o755)
    (plugins / "slow.py").write_text(SLOW)
    config = {
        "thingsdb": {
            "nodes": [node.address for node in cluster.nodes],
            "auth": {"username": "admin", "password": "pass"},
        },
        "rooms": ["alerts", {"name": "deploys", "scope": "//ops"}],
        "sinks": {
            "file": {"type": "file", "path": str(rig.folder / "file.jsonl")},
            "hook": {
                "type": "webhook",
                "url": f"http://127.0.0.1:{port}/",
                "format": "batch",
                "batch": {"count": 50},
                "retry": {"initial": "50ms", "max": "1s"},
            },
            "slow": {"type": "slow"},
            "grouped": {"type": "file", "path": str(rig.folder / "grouped.jsonl")},
        },
        "routes": [
            {"match": {"kind": ["event", "gap"]}, "to": [*SINKS]},
            {
                "match": {"room": "alerts"},
                "group": {"key": "args[0] % 3", "wait": "1s", "max": 50},
                "to": ["grouped"],
            },
        ],
        "spool": {"path": str(rig.spool)},
        "plugins": {"paths": [str(plugins)]},
    }
    rig.config.write_text(json.dumps(config))
