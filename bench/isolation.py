"""Sick sinks beside a healthy one: what they change for it."""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.isolation_worker import HEALTHY
from bench.measure import percentile
from bench.pipeline import PACED_RATE, Follower, daemon
from bench.plan import Plan
from bench.processes import ServerProcess, server, soon
from bench.stream import EVENT
from bench.table import UNCHANGED, Row

ALONE, AGAIN = "alone", "alone again"
COMPANY: Final = {
    ALONE: "nobody",
    "beside sick sinks": "sick",
    "beside impatient sick sinks": "impatient",
    "beside healthy sinks": "healthy",
    AGAIN: "nobody",
}
"""What each run is called, and who is beside the healthy sink. Two are the same, to see what noise does."""
FILLING: Final = 2_200
"""Events after which the courier of a sick sink has read ahead as far as it may (2,000), and stops."""
JUDGED_ROUNDS: Final = 5
SICK: Final = {"sick", "impatient"}
METRICS: Final = {
    "wall": ("blast, time", "us/event"),
    "cpu": ("blast, CPU", "us/event"),
    "filling_cpu": (f"{PACED_RATE:,}/s, first {FILLING:,}, CPU", "us/event"),
    "filling_p50": (f"{PACED_RATE:,}/s, first {FILLING:,}, p50", "ms"),
    "filling_p99": (f"{PACED_RATE:,}/s, first {FILLING:,}, p99", "ms"),
    "steady_cpu": (f"{PACED_RATE:,}/s, then, CPU", "us/event"),
    "steady_p50": (f"{PACED_RATE:,}/s, then, p50", "ms"),
    "steady_p99": (f"{PACED_RATE:,}/s, then, p99", "ms"),
}
Runs = dict[str, list[dict[str, float]]]


def run(plan: Plan) -> list[Row]:
    """What the healthy sink takes alone, and how many times that in company, round for round."""
    runs: Runs = {name: [] for name in COMPANY}
    for number in range(plan.isolation_rounds):
        names = list(COMPANY)
        for name in names if number % 2 == 0 else reversed(names):  # so that no drift favours one
            with server() as source:
                runs[name].append(_measured(source, COMPANY[name], plan))
            print(f"  {number + 1}, {name}: {_shown(runs[name][-1])}", file=sys.stderr, flush=True)
    for name, found in runs.items():
        medians = {metric: median(one[metric] for one in found) for metric in METRICS}
        print(f"  median, {name}: {_shown(medians)}", file=sys.stderr, flush=True)
    return [*_alone(runs), *(row for metric in METRICS for row in _ratios(runs, metric))]


def _measured(source: ServerProcess, company: str, plan: Plan) -> dict[str, float]:
    """One run: events by the clock, then, with the sick ones sick since long, as fast as it goes."""
    paced, count = int(PACED_RATE * plan.isolation_seconds), plan.pipeline
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / f"{HEALTHY}.jsonl"
        follower = Follower(path, paced)

        def order() -> None:
            follower.start()
            source.pace(PACED_RATE, plan.isolation_seconds, soon())
            follower.join()
            source.blast(count)

        found = daemon(
            folder,
            [source.port],
            worker="bench.isolation_worker",
            company=company,
            # the servers say `last` after what is paced, and `first` and `last` around a blast
            filling=FILLING,
            paced=paced + 1,
            count=count + 2,
            order=order,
        )
        _check(path, paced, count)
    if company in SICK:
        _check_sick(found["sinks"])
    return {
        "wall": found["wall"] / count * 1e6,
        "cpu": found["cpu"] / count * 1e6,
        "filling_cpu": found["filling_cpu"] / FILLING * 1e6,
        "steady_cpu": found["steady_cpu"] / (paced - FILLING) * 1e6,
        **_latencies("filling", follower.latencies[:FILLING]),
        **_latencies("steady", follower.latencies[FILLING:]),
        "failures": sum(sink["retried"] for sink in found["sinks"].values()),
        "dead": sum(sink["dead"] for sink in found["sinks"].values()),
    }


def _latencies(phase: str, seconds: list[float]) -> dict[str, float]:
    return {f"{phase}_p{share}": percentile(seconds, share / 100) * 1e3 for share in (50, 99)}


def _check(path: Path, paced: int, count: int) -> None:
    """See that the healthy file has every event once, in order."""
    numbers = list(_numbers(path))
    blast = numbers[paced:]
    period = max(blast, default=0) + 1  # the server repeats a block of events
    if numbers[:paced] != list(range(paced)) or blast != [n % period for n in range(count)]:
        raise RuntimeError(f"the healthy file has not each of {paced} and {count} events once, in order")


def _numbers(path: Path) -> Iterator[int]:
    with path.open() as file:
        for record in map(json.loads, file):
            if record["event"] == EVENT:
                timed = isinstance(record["args"][0], int)
                yield record["args"][1 if timed else 3]


def _check_sick(sinks: dict[str, dict[str, Any]]) -> None:
    """See that the sick sinks were tried, and were sick."""
    for name, sink in sinks.items():
        if name != HEALTHY and (sink["delivered"] or not (sink["retried"] or sink["in_flight"])):
            raise RuntimeError(f"the sink {name} was to be sick: {sink}")


def _alone(runs: Runs) -> Iterator[Row]:
    for metric, (title, unit) in METRICS.items():
        values = [found[metric] for name in (ALONE, AGAIN) for found in runs[name]]
        yield Row("isolation", f"{title}, alone", median(values), unit, spread=(min(values), max(values)))


def _ratios(runs: Runs, metric: str) -> Iterator[Row]:
    """Against the run alone of the same round.

    CPU has no target: failing takes some, which is no harm while the healthy sink is as fast as alone. Nor
    have few rounds: all of them on one side of 1 is then mere chance, of two every second time.
    """
    title, _ = METRICS[metric]
    for name in COMPANY:
        if name != ALONE:
            pairs = zip(runs[name], runs[ALONE], strict=True)
            ratios = [found[metric] / alone[metric] for found, alone in pairs]
            judged = COMPANY[name] != "healthy" and "CPU" not in title and len(ratios) >= JUDGED_ROUNDS
            target = UNCHANGED if judged else ""
            spread = (min(ratios), max(ratios))
            yield Row("isolation", f"{title}, {name}", median(ratios), "times", target, spread)


def _shown(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())
