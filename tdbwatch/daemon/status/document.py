"""The snapshot as /status.json shows it. Pure."""

from dataclasses import asdict
from typing import Any

from tdbwatch.daemon.status.health import is_ready, problems, state_of
from tdbwatch.daemon.status.snapshot import SinkView, Snapshot
from tdbwatch.plugin.event import format_time


def document(snapshot: Snapshot) -> dict[str, Any]:
    """A JSON object; times are RFC 3339 in UTC, durations seconds, sizes bytes."""
    found = problems(snapshot)
    return {
        "state": state_of(snapshot, found),
        "ready": is_ready(snapshot),
        "problems": [asdict(problem) for problem in found],
        "version": snapshot.version,
        "host": snapshot.host,
        "time": format_time(snapshot.taken_us),
        "started": format_time(snapshot.started_us),
        "uptime": snapshot.uptime,
        "canary": None if snapshot.canary is None else asdict(snapshot.canary),
        "links": {"live": snapshot.links, "wanted": snapshot.links_wanted},
        "nodes": [_readable(asdict(node)) for node in snapshot.nodes],
        "rooms": [_readable(asdict(room)) for room in snapshot.rooms],
        "sinks": [_sink(sink) for sink in snapshot.sinks],
        "spool": _readable(asdict(snapshot.spool)),
        "routes": [asdict(route) for route in snapshot.routes],
        "gaps": [_readable(asdict(gap)) for gap in snapshot.gaps],
        "open_gaps": [_readable(asdict(gap)) for gap in snapshot.open_gaps],
        "gap_counts": [asdict(count) for count in snapshot.gap_counts if count.count],
        "plugin_problems": [
            f"plugin {problem.plugin}: {problem.placed}" for problem in snapshot.plugin_problems
        ],
    }


def _sink(sink: SinkView) -> dict[str, Any]:
    courier = asdict(sink.courier)
    del courier["calls"], courier["waits"]  # which are for Prometheus
    letters = None if sink.dead_letters is None else asdict(sink.dead_letters)
    return _readable(
        {"name": courier.pop("sink"), "type": sink.type, **courier, "lag": sink.lag, "dead_letters": letters}
    )


def _readable(view: dict[str, Any]) -> dict[str, Any]:
    """Times as text: `last_event_us` becomes `last_event`."""
    return {
        name.removesuffix("_us"): format_time(value) if name.endswith("_us") and value is not None else value
        for name, value in view.items()
    }
