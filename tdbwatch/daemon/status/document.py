"""The snapshot as /status.json shows it. Pure."""

from dataclasses import fields
from functools import cache
from typing import Any

from tdbwatch.daemon.status.health import is_ready, problems, state_of
from tdbwatch.daemon.status.history import NO_HISTORY, History
from tdbwatch.daemon.status.snapshot import ConfigView, RoomView, SinkView, Snapshot
from tdbwatch.plugin.event import format_time


def document(snapshot: Snapshot, history: History = NO_HISTORY) -> dict[str, Any]:
    """A JSON object; times are RFC 3339 in UTC, durations seconds, sizes bytes."""
    found = problems(snapshot)
    return {
        "state": state_of(snapshot, found),
        "ready": is_ready(snapshot),
        "problems": [_readable(problem) for problem in found],
        "version": snapshot.version,
        "host": snapshot.host,
        "time": format_time(snapshot.taken_us),
        "started": format_time(snapshot.started_us),
        "uptime": snapshot.uptime,
        "canary": None if snapshot.canary is None else _readable(snapshot.canary),
        "links": {"live": snapshot.links, "wanted": snapshot.links_wanted},
        "nodes": [_readable(node) for node in snapshot.nodes],
        "rooms": [_room(room, history) for room in snapshot.rooms],
        "sinks": [_sink(sink, history) for sink in snapshot.sinks],
        "spool": _readable(snapshot.spool),
        "routes": [_readable(route) for route in snapshot.routes],
        "absences": [_readable(absence) for absence in snapshot.absences],
        "gaps": [_readable(gap) for gap in snapshot.gaps],
        "open_gaps": [_readable(gap) for gap in snapshot.open_gaps],
        "gap_counts": [_readable(count) for count in snapshot.gap_counts if count.count],
        "config": _config(snapshot.config),
        "plugin_problems": [
            f"plugin {problem.plugin}: {problem.placed}" for problem in snapshot.plugin_problems
        ],
        "plugin_functions": [_readable(one) for one in snapshot.resting],
    }


def _config(config: ConfigView) -> dict[str, Any]:
    verdict = None if config.verdict is None else dict(config.verdict.document())
    since = format_time(config.since_us)
    return {"hash": config.hash, "since": since, "restart": list(config.restart), "last_reload": verdict}


def _room(room: RoomView, history: History) -> dict[str, Any]:
    return {**_readable(room), "per_minute": history.room(room.scope, room.name).per_minute}


def _sink(sink: SinkView, history: History) -> dict[str, Any]:
    courier, counts = _readable(sink.courier), _readable(sink.courier.counts)
    del counts["calls"], counts["waits"]  # which are for Prometheus
    del courier["counts"], courier["health"]
    return {
        "name": courier.pop("sink"),
        "type": sink.type,
        **courier,
        **counts,
        **_readable(sink.courier.health),
        "lag": sink.lag,
        "dead_letters": None if sink.dead_letters is None else _readable(sink.dead_letters),
        "per_minute": history.sink(sink.courier.sink).per_minute,
    }


def _readable(view: Any) -> dict[str, Any]:
    """A view without views in it; its times as text: `last_event_us` becomes `last_event`."""
    found = {}
    for name, key, is_time in _names(view.__class__):
        value = getattr(view, name)
        found[key] = format_time(value) if is_time and value is not None else value
    return found


@cache
def _names(kind: type) -> tuple[tuple[str, str, bool], ...]:
    """Of each field its name, what it is called here, and whether it is a time; `asdict` takes far longer."""
    names = (field.name for field in fields(kind))
    return tuple((name, name.removesuffix("_us"), name.endswith("_us")) for name in names)
