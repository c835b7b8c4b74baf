"""What a client costs when nothing happens, what memory it keeps, and how long it takes to import."""

import subprocess
import sys
import time

from bench.contestants import NAMES
from bench.dispatch import Best
from bench.plan import Plan
from bench.processes import server, work
from bench.table import Row

_MODULES = {"python-thingsdb": "thingsdb.client", "tdbwatch": "tdbwatch.client"}


def run(plan: Plan) -> list[Row]:
    """Wake-ups, memory, imports."""
    rows: list[Row] = []
    with server() as source:
        for name in NAMES:
            found = work("bench.idle_worker", name=name, port=source.port, seconds=plan.idle_seconds)
            per_minute = found["waits"] * 60 / plan.idle_seconds
            rows.append(Row("idle", f"wake-ups, {name}", per_minute, "per minute"))
        found = work(
            "bench.blast_worker", lambda: source.blast(plan.memory), name="tdbwatch", port=source.port
        )
    grown = (found["rss_after"] - found["rss_before"]) / 2**20
    rows.append(Row("idle", f"memory kept after {plan.memory:,} events", grown, "MiB", "< 5"))
    return rows + _imports(plan.rounds)


def _imports(rounds: int) -> list[Row]:
    """Wall time of an interpreter that imports, less that of one that does not; the least of the rounds."""
    times: dict[str, list[float]] = {name: [] for name in ("nothing", *_MODULES)}
    for _ in range(rounds * 3):
        for name, seconds in times.items():
            seconds.append(_start(f"import {_MODULES[name]}" if name in _MODULES else "pass"))
    least: Best = {name: min(seconds) for name, seconds in times.items()}
    return [
        Row("idle", f"import, {name}", (least[name] - least["nothing"]) * 1e3, "ms", target)
        for name, target in (("python-thingsdb", ""), ("tdbwatch", "< 150"))
    ]


def _start(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started
