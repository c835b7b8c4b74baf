"""A million events that some sink is still to get: what they take, and what a restart does with them."""

import tempfile
from typing import Any, Final

from bench.plan import Plan
from bench.processes import ServerProcess, server, work
from bench.table import Row

ROOMS: Final = 200
SICK: Final = 50
_LIMIT: Final = 300.0


def run(plan: Plan) -> list[Row]:
    """Filled, stopped and started again; then killed, and started again."""
    with server() as source, tempfile.TemporaryDirectory() as folder:
        source.rooms(ROOMS)
        filled = _life(folder, source, plan.backlog, "stop")
        again = _life(folder, source, 0, "stop")
        killed = _life(folder, source, plan.backlog // 10, "kill")
        last = _life(folder, source, 0, "stop")
    name = f"{plan.backlog:,} events in {ROOMS} rooms, {SICK} of them sick"
    return [
        Row("backlog", f"{name}: peak memory", filled["peak_rss"] / 1e6, "MB", "< 200"),
        Row("backlog", "start-up with it", again["startup"], "s", "< 1"),
        Row("backlog", "memory after start-up", again["peak_rss"] / 1e6, "MB", "< 200"),
        Row("backlog", "delivered again after a stop", again["again"], "events", "< 1"),
        Row("backlog", "delivered before the kill", killed["delivered"], "events"),
        Row("backlog", "delivered again after the kill", last["again"], "events"),
    ]


def _life(folder: str, source: ServerProcess, count: int, end: str) -> dict[str, Any]:
    return work(
        "bench.backlog_worker",
        (lambda: source.blast(count)) if count else (lambda: None),
        limit=_LIMIT,
        folder=folder,
        ports=[source.port],
        count=count,
        end=end,
        rooms=ROOMS,
        sick=SICK,
    )
