"""What a second live connection costs: every event comes twice, and goes on once."""

import tempfile
from pathlib import Path

from bench.dispatch import Best, keep_least
from bench.pipeline import daemon
from bench.plan import Plan
from bench.processes import ServerProcess, server, soon
from bench.table import Row

RATE = 10_000


def run(plan: Plan) -> list[Row]:
    """CPU time of the daemon at 10,000 events/s with one and with two connections."""
    best: Best = {}
    with server() as first, server() as second:
        for _ in range(2):
            for sources in ([first], [first, second]):
                count = int(RATE * plan.seconds)
                found = _measured(sources, count, plan.seconds)
                if found["received"] not in {count, count + 1}:
                    raise RuntimeError(f"{found['received']} events arrived, and not {count}")
                keep_least(best, str(len(sources)), found["cpu"] / count)
    return [
        *(Row("connections", f"CPU, {n} at {RATE:,}/s", best[n] * 1e6, "us/event") for n in best),
        Row("connections", "two against one", best["2"] / best["1"], "times", "< 1.8"),
    ]


def _measured(sources: list[ServerProcess], count: int, seconds: float) -> dict[str, float]:
    def order() -> None:
        start = soon()
        for source in sources:
            source.pace(RATE, seconds, start)

    with tempfile.TemporaryDirectory() as folder:
        ports = [source.port for source in sources]
        return daemon(Path(folder), ports, sinks=1, count=count, order=order)
