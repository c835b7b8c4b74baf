"""The file sink with a file for each room, against one file for all of them."""

import tempfile
from pathlib import Path
from statistics import median
from typing import Final

from bench.pipeline import daemon
from bench.plan import Plan
from bench.processes import ServerProcess, server
from bench.table import Row

ROOMS: Final = 5
_PATHS: Final = {
    "one file": "{n}.jsonl",
    "a file for each room": "{{room}}.jsonl",
    "a file for each room and event": "{{room}}/{{event}}.jsonl",
}


def run(plan: Plan) -> list[Row]:
    """They take turns, and of each the median counts."""
    cpu: dict[str, list[float]] = {name: [] for name in _PATHS}
    with server() as source:
        source.rooms(ROOMS)
        for _ in range(plan.pipeline_rounds):
            for name, path in _PATHS.items():
                cpu[name].append(_blasted(source, plan.pipeline, path))
    base, *others = _PATHS
    return [
        *(
            Row("files", f"{ROOMS} rooms, {name}, CPU", median(cpu[name]) * 1e6, "us/event")
            for name in _PATHS
        ),
        *(
            Row("files", f"{name}, against one", median(cpu[name]) / median(cpu[base]), "times", "< 1.2")
            for name in others
        ),
    ]


def _blasted(source: ServerProcess, count: int, path: str) -> float:
    """Seconds of processor time for an event."""
    with tempfile.TemporaryDirectory() as folder:
        found = daemon(
            Path(folder),
            [source.port],
            sinks=1,
            rooms=ROOMS,
            path=path,
            count=count,
            order=lambda: source.blast(count),
        )
    return float(found["cpu"]) / count
