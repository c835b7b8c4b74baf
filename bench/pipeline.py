"""The whole daemon: socket -> spool on disk -> file sinks."""

import json
import tempfile
import threading
import time
from collections import defaultdict
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.dispatch import Best, keep_least
from bench.measure import percentile
from bench.plan import Plan
from bench.processes import ServerProcess, server, soon, work
from bench.table import Row

_THEIRS: Final = "python-thingsdb, empty handler"
_DURABLE: Final = "socket -> durable spool"
_FILE: Final = "socket -> spool -> file"
PACED_RATE = 1_000
SINKS_RATE = 5_000


def run(plan: Plan) -> list[Row]:
    """Rates, latency, what ten sinks cost."""
    with server() as source:
        return [
            *_rates(source, plan),
            *_latency(source, plan),
            *_many_sinks(source, plan),
        ]


def daemon(folder: Path, ports: list[int], **options: Any) -> dict[str, Any]:
    """Run the daemon in a folder, in a worker: `bench.daemon_worker` if no other is given."""
    order, worker = options.pop("order"), options.pop("worker", "bench.daemon_worker")
    found = work(worker, order, folder=str(folder), ports=ports, **options)
    if found["dropped"]:
        raise RuntimeError(f"{found['dropped']} events were dropped: the disk is too slow for this bench")
    return found


def _rates(source: ServerProcess, plan: Plan) -> list[Row]:
    """Against python-thingsdb's empty handler, which keeps nothing.

    They take turns, round after round, and of each the median counts: python-thingsdb's best and worst rounds
    are far apart, so one lucky round of either says little.
    """
    wall: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    for _ in range(plan.pipeline_rounds):
        found = {
            _THEIRS: work(
                "bench.blast_worker",
                lambda: source.blast(plan.pipeline),
                name="python-thingsdb",
                port=source.port,
            ),
            _DURABLE: _blasted(source, plan.pipeline, 0),
            _FILE: _blasted(source, plan.pipeline, 1),
        }
        for name, one in found.items():
            wall[name].append(one["wall"] / plan.pipeline)
            cpu[name].append(one["cpu"] / plan.pipeline)
    return [
        row
        for name, least in ((_THEIRS, ""), (_DURABLE, ">= 5"), (_FILE, ">= 2"))
        for row in _rate_rows(name, wall[name], cpu[name], wall[_THEIRS] if least else None, least)
    ]


def _rate_rows(
    name: str, wall: list[float], cpu: list[float], theirs: list[float] | None, least: str
) -> list[Row]:
    rows = [
        Row("pipeline", name, 1 / median(wall), "events/s"),
        Row("pipeline", f"{name}, slowest round", 1 / max(wall), "events/s"),
        Row("pipeline", f"{name}, fastest round", 1 / min(wall), "events/s"),
        Row("pipeline", f"{name}, CPU", median(cpu) * 1e6, "us/event"),
    ]
    if theirs is None:
        return rows
    return [*rows, Row("pipeline", f"{name}, ratio", median(theirs) / median(wall), "times", least)]


def _blasted(source: ServerProcess, count: int, sinks: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return daemon(
            Path(folder), [source.port], sinks=sinks, count=count, order=lambda: source.blast(count)
        )


def _latency(source: ServerProcess, plan: Plan) -> list[Row]:
    """The file is watched from here, every half millisecond, which the result contains."""
    count = int(PACED_RATE * plan.seconds)
    with tempfile.TemporaryDirectory() as folder:
        follower = Follower(Path(folder) / "out" / "0.jsonl", count)

        def order() -> None:
            follower.start()
            source.pace(PACED_RATE, plan.seconds, soon())

        daemon(Path(folder), [source.port], sinks=1, count=count, order=order)
        follower.join()
    latencies = follower.latencies
    return [
        Row("pipeline", f"socket -> file, p50 at {PACED_RATE:,}/s", percentile(latencies, 0.5) * 1e3, "ms"),
        Row(
            "pipeline",
            f"socket -> file, p99 at {PACED_RATE:,}/s",
            percentile(latencies, 0.99) * 1e3,
            "ms",
            "< 25",
        ),
    ]


def _many_sinks(source: ServerProcess, plan: Plan) -> list[Row]:
    """CPU time of ten file sinks and of one: at a rate that both sustain, and as fast as it goes."""
    count, seconds = plan.many_sinks, plan.many_sinks / SINKS_RATE
    regimes = {
        f"at {SINKS_RATE:,}/s": lambda: source.pace(SINKS_RATE, seconds, soon()),
        "in a blast": lambda: source.blast(count),
    }
    best: Best = {}
    for _ in range(2):
        for (regime, order), sinks in product(regimes.items(), (1, 10)):
            with tempfile.TemporaryDirectory() as folder:
                found = daemon(Path(folder), [source.port], sinks=sinks, count=count, order=order)
            keep_least(best, f"{sinks} sinks {regime}", found["cpu"] / count)
    return [
        *(Row("pipeline", f"CPU, {name}", cost * 1e6, "us/event") for name, cost in best.items()),
        *(
            Row(
                "pipeline",
                f"ten sinks against one, {regime}",
                best[f"10 sinks {regime}"] / best[f"1 sinks {regime}"],
                "times",
                "< 3",
            )
            for regime in regimes
        ),
    ]


class Follower(threading.Thread):
    """Reads a file as it grows, and notes how old each event is when its line is there."""

    def __init__(self, path: Path, count: int) -> None:
        super().__init__(daemon=True)
        self.latencies: list[float] = []
        self._path, self._count = path, count

    def run(self) -> None:
        until = time.monotonic() + 60.0
        while not self._path.exists() and time.monotonic() < until:
            time.sleep(0.0005)
        with self._path.open("rb") as file:
            rest = b""
            while len(self.latencies) < self._count and time.monotonic() < until:
                now, data = time.monotonic_ns(), file.read()
                *lines, rest = (rest + data).split(b"\n")
                self.latencies += [(now - due) / 1e9 for due in filter(None, map(_due, lines))]
                time.sleep(0.0005)


def _due(line: bytes) -> int:
    record = json.loads(line)
    return int(record["args"][0]) if record["kind"] == "event" and record["args"] else 0
