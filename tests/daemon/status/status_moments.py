"""Made-up moments of a daemon: one in which all is well, and parts to replace in it."""

from dataclasses import fields, replace
from typing import Any

from tdbwatch.daemon.couriers import Counts, CourierStatus, SinkHealth
from tdbwatch.daemon.plugins import PluginProblem
from tdbwatch.daemon.plugins.registry import Resting
from tdbwatch.daemon.spool.looking.stats import Letters
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.status.figures import SpoolFigures
from tdbwatch.daemon.status.health import problems, state_of
from tdbwatch.daemon.status.snapshot import (
    CanaryView,
    Life,
    NodeView,
    RoomView,
    SinkView,
    Snapshot,
    SpoolView,
)
from tdbwatch.daemon.status.spans import Gap, OpenGap
from tests.daemon.spool.memory_spool_kit import MemorySpool

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
HOSTILE = "<img src=x onerror=alert(1)>&\"'"

NODE = NodeView("node01:9200", "connected", "READY", 0.2, 1, 0, "", None)
ROOM = RoomView("//stuff", "alerts", 3, "joined", "", "", True, 1, 10, NOW - SECOND, 0, 0)
COURIER = CourierStatus("oncall", "webhook", "running", counts=Counts(delivered=10))
SINK = SinkView(COURIER, Letters(), "webhook")
SPOOL = SpoolView("/var/lib/tdbwatch/spool.db", 8192, 4096, 1 << 30, 10, 0, 0, None, 0, None)
GAP = Gap(
    NOW - SECOND, "//stuff", "alerts", None, "2027-01-15T08:00:00.000000Z", "spool: max_size", "spool", 7
)
OPEN = OpenGap("//stuff", "alerts", NOW - 61 * SECOND, "Connection refused", "connection")
BROKEN = PluginProblem("typo", "/etc/tdbwatch/plugins.d/typo.py:3", "it cannot be imported: SyntaxError")
STUCK = Resting("geo", "function", "owner", "stuck", 90.0)
CANARY = CanaryView("//stuff", "canary", "joined", "", "", 1, 0)
FINE = Snapshot(
    version="1.0",
    host="watch01",
    taken_us=NOW,
    started_us=NOW - 3_600 * SECOND,
    phase="running",
    failure="",
    grace=10.0,
    links_wanted=1,
    canary=None,
    nodes=(NODE,),
    rooms=(ROOM,),
    sinks=(SINK,),
    spool=SPOOL,
    gaps=(),
    spans=(),
    open_gaps=(),
    gap_counts=(),
    plugin_problems=(),
)


def sink(letters: Letters | None = None, **courier: Any) -> SinkView:
    health = {one.name: courier.pop(one.name) for one in fields(SinkHealth) if one.name in courier}
    return SinkView(replace(COURIER, health=SinkHealth(**health), **courier), letters, "webhook")


def state(**changes: Any) -> str:
    snapshot = replace(FINE, **changes)
    return state_of(snapshot, problems(snapshot))


class Fine:
    """Something to show that is well."""

    def __init__(self) -> None:
        self.log = MemorySpool()

    def plugin_metrics(self) -> bytes:
        return b""

    def life(self) -> Life:
        return Life("running", "")

    def configuration(self) -> str:
        return "rooms: [alerts]\n"

    def counters(self) -> tuple[dict[Lane, int], dict[str, int]]:
        return {}, {}

    def snapshot(self, figures: SpoolFigures) -> Snapshot:
        return FINE
