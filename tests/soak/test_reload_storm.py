"""Reload after reload while events flow: nothing is lost or doubled, and the daemon is as it was.

A few by default; `make soak` says how many more with TDBWATCH_RELOADS. Half of the files are bad. Sinks,
rooms and routes come and go, and one sink hangs. A failure prints its seed, for TDBWATCH_SEED.
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tdbwatch.node import Cluster
from tdbwatch.testing import free_port

RELOADS = int(os.environ.get("TDBWATCH_RELOADS", "4"))
PER_SECOND = 1_000
DEADLINE = 60.0
"""Seconds; only ever reached when something is broken."""
MOST_GROWTH = 8 << 20
"""Bytes by which the process may grow after the first third of at least a hundred reloads."""

HANG = """
import time
from tdbwatch.plugin import Event, Options, sink

class HangOptions(Options):
    mark: int = 0

@sink("hang", options=HangOptions)
def hang(event: Event, options: HangOptions) -> None:
    time.sleep(10_000)
"""


class Storm:
    """The nodes, the daemon in a process of its own, and what its sinks have written."""

    def __init__(self, folder: Path, cluster: Cluster, hook: int) -> None:
        self.folder = folder
        self.cluster = cluster
        self.config = folder / "watch.yaml"
        self.rng = random.Random(seed := int(os.environ.get("TDBWATCH_SEED", random.randrange(1 << 32))))
        print(f"seed {seed}")
        self.sent = Counter[str]()
        self._hook = f"http://127.0.0.1:{hook}/"
        self.listen = f"127.0.0.1:{free_port()}"
        self.process: asyncio.subprocess.Process
        self.text = b""
        (plugins := folder / "plugins.d").mkdir(mode=0o755)
        (plugins / "hang.py").write_text(HANG)

    def write(self) -> None:
        """Another configuration: what always is, and what comes and goes."""
        rng = self.rng

        def file(name: str, **more: Any) -> dict[str, Any]:
            return {"type": "file", "path": str(self.folder / f"{name}.jsonl"), **more}

        sinks: dict[str, Any] = {
            **{name: file(name) for name in ("all", "left", "right", "notes")},
            "tuned": file("tuned", batch={"count": rng.randint(10, 500)}, retry={"initial": "100ms"}),
            "hook": {"type": "webhook", "url": self._hook, "format": "batch"},
        }
        optional = {
            "side": file("side"),
            "hang": {"type": "hang", "mark": rng.randint(0, 3), "timeout": "1s"},
        }
        chosen = {name: sink for name, sink in optional.items() if rng.random() < 0.6}
        routes: list[dict[str, Any]] = [
            {"match": {"event": "counted"}, "to": ["all", "tuned", "hook"]},
            {"match": {"event": "flip"}, "to": [rng.choice(["left", "right"])]},
            {"match": {"kind": ["gap", "config"]}, "to": ["notes"]},
            *({"match": {"room": "*"}, "to": [name]} for name in chosen),
        ]
        rng.shuffle(routes)
        config = {
            "thingsdb": {
                "nodes": [node.address for node in self.cluster.nodes],
                "auth": {"username": "admin", "password": "pass"},
            },
            "rooms": ["alerts", *(["deploys"] if rng.random() < 0.5 else [])],
            "sinks": sinks | chosen,
            "routes": routes,
            "spool": {"path": str(self.folder / "spool.db")},
            "http": {"listen": self.listen},
            "plugins": {"paths": [str(self.folder / "plugins.d")]},
            "shutdown": {"grace": "5s"},
        }
        self.config.write_text(json.dumps(config))

    def spoil(self) -> None:
        """One that is bad, in some way."""
        text = self.config.read_text()
        self.config.write_text(
            self.rng.choice(
                [
                    text[:-5],
                    text.replace('"rooms"', '"roms"'),
                    text.replace('"type": "file"', '"type": "fill"', 1),
                    text.replace('"to": ["notes"]', '"to": ["nobody"]'),
                    text.replace('"count":', '"cuont":'),
                    "",
                ]
            )
        )

    async def start(self) -> None:
        log = (self.folder / "log.txt").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tdbwatch", "--config", self.config, cwd=self.folder, stdout=log, stderr=log
        )
        log.close()
        await self.until(lambda: '"daemon.ready"' in self.log(), "ready")

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    async def emit(self) -> None:
        """Until cancelled."""
        while True:
            self.some(PER_SECOND // 100)
            await asyncio.sleep(0.01)

    async def fill(self) -> None:
        """Fill the memory that the spool has for the newest events, so that it does not grow later."""
        for _ in range(1_250):
            self.some(100)
            await asyncio.sleep(0.02)
        await self.until(lambda: len(self.got("hook")) >= self.sent["counted"], "all events at the hook")

    def some(self, count: int) -> None:
        """Emit so many."""
        for name in self.rng.choices(["counted", "flip", "elsewhere"], [8, 1, 1], k=count):
            room = "deploys" if name == "elsewhere" else "alerts"
            self.cluster.emit("//stuff", room, name, self.sent[name])
            self.sent[name] += 1

    def got(self, sink: str, name: str = "counted") -> list[int]:
        """The numbers of the events of this name, in the order in which the sink got them."""
        path = self.folder / f"{sink}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [r["args"][0] for r in map(json.loads, lines) if r["kind"] == "event" and r["event"] == name]

    def size(self) -> tuple[int, int]:
        """Bytes of memory, and open files."""
        proc = Path(f"/proc/{self.process.pid}")
        pages = int((proc / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE"), len(list((proc / "fd").iterdir()))

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                assert self.process.returncode is None, f"it ended before {what}: {self.log()[-4000:]}"
                await asyncio.sleep(0.2)


@pytest.fixture
async def storm(tmp_path: Path) -> AsyncIterator[Storm]:
    async with Cluster(2) as cluster:
        for room in ("alerts", "deploys"):
            cluster.add_room("//stuff", room)

        async def hook(request: web.Request) -> web.Response:
            with (tmp_path / "hook.jsonl").open("a") as file:
                file.writelines(json.dumps(record) + "\n" for record in await request.json())
            return web.Response()

        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/", hook)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made = Storm(tmp_path, cluster, runner.addresses[0][1])
        made.write()
        await made.start()
        yield made
        if made.process.returncode is None:
            made.process.kill()
            await made.process.wait()
        await runner.cleanup()


@pytest.mark.timeout(90 + 4 * RELOADS)
async def test_a_storm_of_reloads_loses_nothing_doubles_nothing_and_keeps_the_order(storm: Storm) -> None:
    if RELOADS >= 100:
        await storm.fill()
    emitting = asyncio.create_task(storm.emit())
    url = f"http://{storm.listen}/-/reload"
    sizes: list[tuple[int, int]] = []
    connector = aiohttp.TCPConnector(force_close=True)  # the port lets go of each after a while
    async with aiohttp.ClientSession(connector=connector) as session:
        for turn in range(RELOADS):
            storm.write()
            if bad := turn % 2 == 1:
                storm.spoil()
            async with session.post(url, headers={"X-Tdbwatch": "storm"}) as answer:
                verdict = await answer.json()
            assert (answer.status, verdict["verdict"] == "refused") == (422 if bad else 200, bad), verdict
            assert verdict["restart"] == []
            await asyncio.sleep(storm.rng.uniform(0, 0.1))
            sizes.append(storm.size())
        emitting.cancel()
        storm.write()  # one that is good, to end with
        async with session.post(url, headers={"X-Tdbwatch": "storm"}) as answer:
            assert answer.status == 200
    await storm.until(lambda: storm.got("all")[-1:] == [storm.sent["counted"] - 1], "all events")
    await storm.until(
        lambda: len(storm.got("tuned")) >= storm.sent["counted"], "all events in the tuned sink"
    )
    await storm.until(lambda: len(storm.got("hook")) >= storm.sent["counted"], "all events at the hook")
    flipped = lambda: storm.got("left", "flip") + storm.got("right", "flip")  # noqa: E731
    await storm.until(lambda: len(flipped()) >= storm.sent["flip"], "all that was sent left or right")

    every = list(range(storm.sent["counted"]))
    assert storm.got("all") == every
    assert storm.got("tuned") == every
    assert storm.got("hook") == every
    left, right = storm.got("left", "flip"), storm.got("right", "flip")
    assert sorted(left + right) == list(range(storm.sent["flip"])), "each by the routes of its time"
    assert (left, right) == (sorted(left), sorted(right))
    for name in ("counted", "flip", "elsewhere"):
        side = storm.got("side", name)
        assert side == sorted(set(side))

    def notes(kind: str) -> list[Any]:
        whole = (storm.folder / "notes.jsonl").read_text().rpartition("\n")[0]
        return [note for note in map(json.loads, whole.splitlines()) if note["kind"] == kind]

    await storm.until(lambda: len(notes("config")) > RELOADS, "a record of each reload")
    assert notes("gap") == []
    assert len(notes("config")) == RELOADS + 1
    logins = [entry for entry in storm.cluster.log if entry.kind.name == "AUTH"]
    assert len(logins) == len(storm.cluster.nodes), "no connection was ever made again"
    print(f"{RELOADS} reloads, {sum(storm.sent.values())} events; sizes {sizes[:: max(1, RELOADS // 8)]}")
    early, late = sizes[RELOADS // 3 : RELOADS // 2], sizes[-max(2, RELOADS // 6) :]
    if RELOADS >= 100:  # before, not every thread that may hang does
        assert max(fds for _, fds in late) <= max(fds for _, fds in early) + 8
        assert min(size for size, _ in late) - min(size for size, _ in early) < MOST_GROWTH
    storm.process.terminate()
    async with asyncio.timeout(DEADLINE):
        assert await storm.process.wait() == 0, storm.log()[-4000:]
    assert '"level": "critical"' not in storm.log()
