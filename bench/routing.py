"""What routes and templates cost, an event: by name, by condition, a hundred of them, and a body.

Routes are asked as a courier asks them, about events that lie in the log in blocks.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Raw
from msgspec.structs import replace

from bench.plan import Plan
from bench.table import Row
from tdbwatch.daemon.config import RouteConfig
from tdbwatch.daemon.couriers.reading import Wanted
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Block, Lane, encode_run, pack, run_of
from tdbwatch.plugin import Event, JsonTemplate

_WHERE: Final = {"where": "args[0].severity >= 5 && event.startsWith('disk')", "to": ["a"]}
_NEW_VALUES: Final = {"where": "args[0].host != 'db1' && event.startsWith('disk')", "to": ["a"]}
_BLOCK: Final = 200
"""Events in a block."""
_BODY: Final = {
    "text": "{{ event }} on {{ args[0].host }}: {{ args[0].severity }}",
    "severity": "{{ args[0].severity }}",
    "room": "{{ scope }}/{{ room }}",
}
_CASES: Final[tuple[tuple[str, list[dict[str, Any]], str], ...]] = (
    ("a route by name", [{"match": {"room": "alerts", "event": "disk-*"}, "to": ["a"]}], "< 1"),
    ("a route with a condition", [_WHERE], "< 5"),
    ("a condition on values that are always new", [_NEW_VALUES], "< 5"),
    ("a hundred routes by name", [{"match": {"event": f"x{n}-*"}, "to": ["a"]} for n in range(100)], "< 60"),
    ("a hundred routes, five with conditions that are asked",
     [*({"match": {"event": f"x{n}-*"}, **_WHERE} for n in range(95)), *[_WHERE] * 5], "< 60"),
    ("a hundred conditions that are asked", [_WHERE] * 100, ""),
)  # fmt: skip


def run(plan: Plan) -> list[Row]:
    """Microseconds of processor time, the least disturbed round."""
    count = plan.decode // 10
    events = [
        Event.create("alerts", "disk-full", [{"host": f"db{n}", "severity": n % 10}]) for n in range(count)
    ]
    rows = []
    for name, routes, target in _CASES:
        best = min(_routed(routes, events) for _ in range(plan.rounds))
        rows.append(Row("routing", name, best, "us/event", target))
    template = JsonTemplate(_BODY)
    best = min(_each(template.render, events) for _ in range(plan.rounds))
    return [*rows, Row("routing", "a templated body", best, "us/event", "< 10")]


def _routed(routes: list[dict[str, Any]], events: Sequence[Event]) -> float:
    made = [RouteConfig.model_validate_json(json.dumps(route)) for route in routes]
    wanted = Wanted("a", Router.of_names(made, ["a", "b"]).matcher("a"))
    return _each(lambda block: wanted.piece(block, 0), _blocks(events)) / _BLOCK


def _blocks(events: Sequence[Event]) -> list[Block]:
    """These events as they lie in the log, each block read by somebody before."""
    blocks = []
    for start in range(0, len(events), _BLOCK):
        some = events[start : start + _BLOCK]
        names, payloads = [event.event for event in some], [Raw(event.payload) for event in some]
        run = replace(run_of(some[0]), events=names, payloads=payloads)
        lane = Lane(some[0].scope, some[0].room)
        block = Block(start + 1, len(some), lane, None, pack([encode_run(run)]))
        _ = block.events, block.runs
        blocks.append(block)
    return blocks


def _each(work: Callable[[Any], Any], what: Sequence[Any]) -> float:
    started = time.process_time()
    for one in what:
        work(one)
    return (time.process_time() - started) / len(what) * 1e6
