"""The whole daemon: socket -> spool on disk -> file sinks."""

import json
import tempfile
import threading
import time
from itertools import product
from pathlib import Path
from typing import Any

from bench.dispatch import Best, keep_least
from bench.measure import percentile
from bench.plan import Plan
from bench.processes import ServerProcess, server, soon, work
from bench.table import Row

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
    """Against python-thingsdb's empty handler, which keeps nothing."""
    best: Best = {}
    for _ in range(plan.rounds):
        found = work(
            "bench.blast_worker",
            lambda: source.blast(plan.pipeline),
            name="python-thingsdb",
            port=source.port,
        )
        keep_least(best, "theirs", found["wall"] / plan.pipeline)
        for name, sinks in (("durable", 0), ("file", 1)):
            found = _blasted(source, plan.pipeline, sinks)
            keep_least(best, name, found["wall"] / plan.pipeline)
            keep_least(best, f"{name} cpu", found["cpu"] / plan.pipeline)
    theirs = best["theirs"]
    return [
        Row("pipeline", "python-thingsdb, empty handler", 1 / theirs, "events/s"),
        Row("pipeline", "socket -> durable spool", 1 / best["durable"], "events/s"),
        Row("pipeline", "socket -> durable spool, ratio", theirs / best["durable"], "times", ">= 5"),
        Row("pipeline", "socket -> durable spool, CPU", best["durable cpu"] * 1e6, "us/event"),
        Row("pipeline", "socket -> spool -> file", 1 / best["file"], "events/s"),
        Row("pipeline", "socket -> spool -> file, ratio", theirs / best["file"], "times", ">= 2"),
        Row("pipeline", "socket -> spool -> file, CPU", best["file cpu"] * 1e6, "us/event"),
    ]


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
