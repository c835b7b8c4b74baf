"""The two ways to watch a room: a client in this process, or the daemon in one of its own."""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from bench.resilience.verdict import Gap, Heard
from tdbwatch.client import Client, Heartbeat, Observer
from tdbwatch.client.addresses import Address
from tdbwatch.room import Room
from tests.real.daemon import DaemonProcess, JsonLines
from tests.real.target import Target


class Watch(Protocol):
    """Hears a room, and tells what it heard."""

    def heard(self) -> Sequence[Heard]: ...

    def gaps(self) -> Sequence[Gap]: ...

    def connections(self) -> Sequence[tuple[float, str, str]]:
        """When (Unix time) which node was `connected` or `disconnected`."""
        ...

    async def stop(self) -> None: ...


def in_use(watch: Watch) -> list[str]:
    """The nodes that the watch is connected to, by what it tells."""
    nodes: list[str] = []
    for _, what, node in watch.connections():
        if what == "connected" and node not in nodes:
            nodes.append(node)
        elif what == "disconnected" and node in nodes:
            nodes.remove(node)
    return nodes


class ClientWatch(Observer):
    """`tdbwatch.client.Client` and a `Room`. It writes no gap records."""

    def __init__(self) -> None:
        self._heard: list[Heard] = []
        self._connections: list[tuple[float, str, str]] = []
        self._client: Client

    async def start(
        self, target: Target, scope: str, room: str, connections: int, heartbeat: Heartbeat
    ) -> None:
        self._client = Client(connections=connections, heartbeat=heartbeat, observer=self)
        await self._client.connect_pool(target.nodes, *target.auth)
        await _Listening(room, scope, self._heard).join(self._client)

    def heard(self) -> Sequence[Heard]:
        return self._heard

    def gaps(self) -> Sequence[Gap]:
        return ()

    def connections(self) -> Sequence[tuple[float, str, str]]:
        return self._connections

    async def stop(self) -> None:
        await self._client.close_and_wait()

    def connected(self, address: Address) -> None:
        self._connections.append((time.time(), "connected", str(address)))

    def disconnected(self, address: Address, reason: str) -> None:  # noqa: ARG002
        self._connections.append((time.time(), "disconnected", str(address)))


class _Listening(Room):
    def __init__(self, room: str, scope: str, heard: list[Heard]) -> None:
        super().__init__(room, scope=scope)
        self._heard = heard

    def on_emit(self, event: str, *args: Any) -> None:  # noqa: ARG002
        self._heard.append(Heard(args[0], time.time()))


class DaemonWatch:
    """`tdbwatch --config FILE` with one file sink that gets everything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._journal = JsonLines(folder / "journal.jsonl")
        self._daemon: DaemonProcess | None = None

    async def start(
        self, target: Target, scope: str, room: str, connections: int, heartbeat: Heartbeat
    ) -> None:
        beat = {"interval": f"{heartbeat.interval}s", "timeout": f"{heartbeat.timeout}s"}
        self._daemon = DaemonProcess(
            self._folder,
            target.nodes,
            target.auth,
            {"connections": connections, "heartbeat": beat},
            {
                "rooms": [{"name": room, "scope": scope}],
                "sinks": {"journal": {"type": "file", "path": str(self._journal.path)}},
                "routes": [{"match": {"kind": ["event", "gap", "room", "node"]}, "to": ["journal"]}],
            },
        )
        await self._daemon.start()

    def heard(self) -> Sequence[Heard]:
        return [Heard(r["args"][0], _unix(r["time"]) or 0.0) for r in self._journal.of_kind("event")]

    def gaps(self) -> Sequence[Gap]:
        return [
            Gap(_unix(r["since"]), _unix(r["until"]), str(r.get("reason")))
            for r in self._journal.of_kind("gap")
        ]

    def connections(self) -> Sequence[tuple[float, str, str]]:
        return [
            (_unix(r["time"]) or 0.0, r["event"], r["node"])
            for r in self._journal.of_kind("node")
            if r["event"] in {"connected", "disconnected"}
        ]

    async def stop(self) -> None:
        if self._daemon is not None:
            try:
                await self._daemon.stop()
            finally:
                self._daemon.kill()


def _unix(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
