"""A daemon with a configuration that tests change and reload, an embedded node, and a sink that remembers."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tdbwatch.daemon.config import Config, load
from tdbwatch.daemon.plugins import Registry, load_plugins
from tdbwatch.daemon.reload.verdict import Verdict
from tdbwatch.daemon.supervisor import Daemon
from tdbwatch.node import Cluster
from tdbwatch.plugin import Event, Options, Sink, SinkContext, SinkType

LIMIT = 20.0
"""Seconds; only ever reached when something is broken."""


class ListOptions(Options):
    mark: str = ""
    hang: bool = False


class Lists:
    """What sinks of type `list` got, by sink, and how often each was opened and closed."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = {}
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.release = asyncio.Event()

    def numbers(self, sink: str) -> list[int]:
        return [event.args[0] for event in self.events.get(sink, []) if event.kind == "event"]

    def of_kind(self, sink: str, kind: str) -> list[Event]:
        return [event for event in self.events.get(sink, []) if event.kind == kind]

    def sink_type(self) -> SinkType:
        lists = self

        class ListSink(Sink):
            def __init__(self, options: ListOptions, context: SinkContext) -> None:
                super().__init__(options, context)
                self.name = context.name

            async def open(self) -> None:
                lists.opened.append(self.name)

            async def deliver(self, batch: Sequence[Event]) -> None:
                if self.options.hang:
                    await lists.release.wait()
                lists.events.setdefault(self.name, []).extend(batch)

            async def close(self) -> None:
                lists.closed.append(self.name)

        return SinkType("list", ListSink, ListOptions, threaded=False)


class Rig:
    """One daemon."""

    def __init__(self, folder: Path, cluster: Cluster, registry: Registry | None = None) -> None:
        self.folder = folder
        self.cluster = cluster
        self.lists = Lists()
        self.registry = registry if registry is not None else load_plugins((), ())
        self.registry.offer("test", self.lists.sink_type())
        self.file = folder / "watch.yaml"
        self.sections: dict[str, Any] = {
            "thingsdb": {
                "nodes": [node.address for node in cluster.nodes],
                "auth": {"username": "admin", "password": "pass"},
            },
            "rooms": ["alerts"],
            "sinks": {"a": {"type": "list"}},
            "spool": {"path": str(folder / "spool.db")},
            "shutdown": {"grace": f"{LIMIT:g}s"},
        }
        self.sent = 0
        self.daemon: Daemon

    def write(self, **sections: Any) -> None:
        self.sections |= sections
        self.file.write_text(json.dumps({k: v for k, v in self.sections.items() if v is not None}))

    def read(self) -> Config:
        return load(self.file, self.registry.sink_types)

    async def start(self, **sections: Any) -> None:
        self.write(**sections)
        self.daemon = Daemon(self.read(), self.registry, read=self.read)
        await self.daemon.start()

    async def reload(self, **sections: Any) -> Verdict:
        self.write(**sections)
        async with asyncio.timeout(LIMIT):
            return await self.daemon.reload()

    def emit(self, count: int = 1, room: str = "alerts", event: str = "counted") -> list[int]:
        """Emit numbers that were never emitted; returns them."""
        numbers = list(range(self.sent, self.sent + count))
        self.sent += count
        for number in numbers:
            self.cluster.emit("//stuff", room, event, number)
        return numbers

    async def heard(self) -> None:
        """Return when all that was emitted is in the spool."""
        await self.daemon.client.query("nil", scope="//stuff")
        self.daemon.source.flush()
        await self.daemon.spool.flush()

    async def drained(self) -> None:
        async with asyncio.timeout(LIMIT):
            await self.heard()
            await self.daemon.drained()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.005)
