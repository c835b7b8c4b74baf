"""How long a single event takes from the emit to the handler, on the embedded node."""

from functools import partial

from bench.contestants import NAMES
from bench.dispatch import Best, keep_least
from bench.plan import Plan
from bench.processes import ServerProcess, server, soon, work
from bench.table import Row

RATES = (100, 1_000)


def run(plan: Plan) -> list[Row]:
    """p50 and p99, at two rates, for both clients."""
    rows: list[Row] = []
    for rate in RATES:
        best: Best = {}
        with server("bench.node_server") as node:
            for _ in range(3):
                for name in NAMES:
                    found = work(
                        "bench.latency_worker", partial(_pace, node, rate, plan), name=name, port=node.port
                    )
                    keep_least(best, f"{name}, p50", found["p50"])
                    keep_least(best, f"{name}, p99", found["p99"])
        for name, seconds in best.items():
            target = "< 1" if name == "tdbwatch, p99" else ""
            rows.append(Row(f"latency, {rate}/s", name, seconds * 1e3, "ms", target))
    return rows


def _pace(node: ServerProcess, rate: int, plan: Plan) -> None:
    node.pace(rate, plan.seconds / 3, soon())
