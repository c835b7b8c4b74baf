"""`tdbwatch demo`: the main job on two embedded nodes, with one of them going away."""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits

if TYPE_CHECKING:
    from tdbwatch.daemon.supervisor import Daemon
    from tdbwatch.node import Cluster

_EXAMPLE = """example:
  tdbwatch demo                  runs until Ctrl-C
  tdbwatch demo --seconds 15     ends by itself, with a summary"""

_CONFIG: Final = """\
thingsdb:
  nodes: [{nodes}]
  auth: {{username: admin, password: pass}}
  scope: //stuff
rooms:
  - alerts
  - {{name: deploys, scope: //ops}}
sinks:
  console: {{type: log, levels: {{"disk-*": warning, "login-failed": error}}}}
  audit:   {{type: file, path: "{folder}/{{room}}.jsonl"}}
spool:    {{path: "{folder}/spool.db"}}
shutdown: {{grace: 5s}}
"""
_ROOMS: Final = (("//stuff", "alerts"), ("//ops", "deploys"))
SHUTDOWN_PERIOD: Final = 3.0
"""Seconds between a node's announcement and its end."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="see it work, with two embedded nodes of which one goes away",
        description="Start two embedded nodes and the daemon, emit an event every second, show them\n"
        "here and write them to files. After a while the node in use shuts down, and\ncomes back later.",
        epilog=_EXAMPLE,
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="end after N seconds (default: at Ctrl-C)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo; returns the exit code."""
    from tdbwatch.daemon import logs

    if options.seconds is not None and not 0 < options.seconds <= 86_400:
        print("tdbwatch demo: --seconds must be more than 0 and at most 86400", file=sys.stderr)
        return exits.USAGE
    logs.configure("info", "console", sys.stdout)
    folder = Path(tempfile.mkdtemp(prefix="tdbwatch-demo-"))
    return asyncio.run(_Demo(folder, options.seconds).run())


@dataclass(slots=True)
class _Demo:
    folder: Path
    seconds: float | None
    emitted: int = 0
    rng: random.Random = field(default_factory=random.Random)

    async def run(self) -> int:
        from tdbwatch.cli.daemon.loading import load_or_explain
        from tdbwatch.daemon.supervisor import Daemon
        from tdbwatch.node import Cluster

        stop = _on_signals()
        async with Cluster(2, shutdown_period=SHUTDOWN_PERIOD) as cluster:
            for scope, room in _ROOMS:
                cluster.add_room(scope, room)
            loaded = load_or_explain(self._write_config(cluster))
            if loaded is None:
                return exits.BAD_CONFIG
            daemon = Daemon(*loaded)
            await daemon.start()
            tasks = [
                asyncio.create_task(self._emit(cluster), name="demo-emit"),
                asyncio.create_task(self._break(cluster, daemon), name="demo-break"),
            ]
            await asyncio.wait({stop, *tasks}, timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await daemon.drained()
            await daemon.stop()
        self._summarize(daemon)
        return next((exits.SOFTWARE for r in results if isinstance(r, Exception)), exits.OK)

    def _write_config(self, cluster: "Cluster") -> Path:
        path = self.folder / "demo.yaml"
        nodes = ", ".join(f'"{node.address}"' for node in cluster.nodes)
        path.write_text(_CONFIG.format(nodes=nodes, folder=self.folder))
        _say(f"Two embedded nodes run, at {nodes}. The configuration is {path}")
        return path

    async def _emit(self, cluster: "Cluster") -> None:
        """Something happens about every second, on whichever node is there."""
        while True:
            scope, room = self.rng.choice(_ROOMS)
            event, args = _happening_for(room, self.rng)
            cluster.emit(scope, room, event, *args)
            self.emitted += 1
            await asyncio.sleep(self.rng.uniform(0.6, 1.1))

    async def _break(self, cluster: "Cluster", daemon: "Daemon") -> None:
        """Now and then the node in use shuts down, and comes back."""
        pause = 8.0 if self.seconds is None else self.seconds / 3
        while True:
            await asyncio.sleep(pause)
            in_use = daemon.client.connection_info()
            node = next(n for n in cluster.nodes if n.address == in_use)
            _say(f"Node {node.address} announces its shutdown. Events must go on.")
            await node.shutdown()
            await asyncio.sleep(1.0)
            await node.start()
            _say(f"Node {node.address} is back.")
            pause = 20.0

    def _summarize(self, daemon: "Daemon") -> None:
        sinks = ", ".join(f"{status.sink} {status.counts.delivered}" for status in daemon.couriers())
        _say(f"Events emitted {self.emitted}, heard {daemon.received}; delivered: {sinks}.")
        for file in sorted(self.folder.glob("*.jsonl")):
            _say(f"{sum(1 for _ in file.open()):>6} lines in {file}")


def _happening_for(room: str, rng: random.Random) -> tuple[str, list[Any]]:
    from tdbwatch.cli.daemon.happenings import happening

    while True:
        event, args = happening(rng)
        if event.startswith("deploy") == (room == "deploys"):
            return event, args


def _say(text: str) -> None:
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    print(f"{bold}== {text}{plain}", flush=True)


def _on_signals() -> "asyncio.Future[None]":
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def caught() -> None:
        if not stop.done():
            stop.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, caught)
    return stop
