"""The metrics, each with its meaning (docs/operations.md lists them), read from a snapshot at each scrape.

Labels come from the configuration only (rooms, sinks, nodes) and from fixed lists: what is emitted can never
make a new time series.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest

from tdbwatch.daemon.couriers import CourierStatus
from tdbwatch.daemon.status.exposition import Definition, Histograms, Samples, pieces
from tdbwatch.daemon.status.health import is_ready
from tdbwatch.daemon.status.journal import CAUSES
from tdbwatch.daemon.status.snapshot import CanaryView, NodeView, RoomView, Snapshot


def _one(read: Callable[[Snapshot], float | None]) -> Callable[[Snapshot], Samples]:
    def samples(snapshot: Snapshot) -> Samples:
        value = read(snapshot)
        return [] if value is None else [((), value)]

    return samples


def _of_canary(read: Callable[[CanaryView], float]) -> Callable[[Snapshot], Samples]:
    return _one(lambda snapshot: None if snapshot.canary is None else read(snapshot.canary))


def _per_node(read: Callable[[NodeView], float]) -> Callable[[Snapshot], Samples]:
    return lambda snapshot: [((node.address,), read(node)) for node in snapshot.nodes]


def _per_room(read: Callable[[RoomView], float | None]) -> Callable[[Snapshot], Samples]:
    def samples(snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], float]]:
        for room in snapshot.rooms:
            if (value := read(room)) is not None:
                yield (room.scope, room.name), value

    return samples


_DOWN: Final = frozenset({"stuck", "paused", "refusing"})


def _per_sink(read: Callable[[CourierStatus], float]) -> Callable[[Snapshot], Samples]:
    return lambda snapshot: [((sink.courier.sink,), read(sink.courier)) for sink in snapshot.sinks]


def _oldest(snapshot: Snapshot) -> Samples:
    for sink in snapshot.sinks:
        oldest_us = sink.courier.oldest_us
        age = 0.0 if oldest_us is None else max(0.0, (snapshot.taken_us - oldest_us) / 1e6)
        yield (sink.courier.sink,), age


def _dead_letters(snapshot: Snapshot) -> Samples:
    for sink in snapshot.sinks:
        if sink.dead_letters is not None:
            yield (sink.courier.sink,), sink.dead_letters.count


def _gaps(snapshot: Snapshot) -> Samples:
    counts = {(room.scope, room.name, cause): 0 for room in snapshot.rooms for cause in CAUSES}
    counts |= {(gap.scope, gap.room, gap.cause): gap.count for gap in snapshot.gap_counts}
    return counts.items()


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1e6


_NODE: Final = ("node",)
_ROOM: Final = ("scope", "room")
_SINK: Final = ("sink",)

DEFINITIONS: Final = (
    Definition("tdbwatch_build_info", "gauge", "Always 1; the version is a label", ("version",),
               lambda s: [((s.version,), 1.0)]),
    Definition("tdbwatch_start_timestamp_seconds", "gauge", "When the daemon started, as Unix time", (),
               _one(lambda s: s.started_us / 1e6)),
    Definition("tdbwatch_ready", "gauge", "1 when /readyz answers 200", (), _one(is_ready)),
    Definition("tdbwatch_config_last_reload_successful", "gauge",
               "0 when the last reload was refused, so that the file differs from what is in use", (),
               _one(lambda s: not s.config.refused)),
    Definition("tdbwatch_config_last_reload_success_timestamp_seconds", "gauge",
               "When the configuration was last read and taken up, changed or not, as Unix time", (),
               _one(lambda s: s.config.read_us / 1e6)),
    Definition("tdbwatch_config_hash", "gauge",
               "A number that is the same for daemons with the same configuration", (),
               _one(lambda s: int(s.config.hash[:12] or "0", 16))),
    Definition("tdbwatch_config_restart_needed", "gauge",
               "Keys of the configuration that have changed and wait for a restart", (),
               _one(lambda s: len(s.config.restart))),
    Definition("tdbwatch_log_dropped_total", "counter",
               "Log lines that were not written: nobody reads them, or no disk takes them", (),
               _one(lambda s: s.log_dropped)),
    Definition("tdbwatch_links", "gauge", "Live connections to ThingsDB", (), _one(lambda s: s.links)),
    Definition("tdbwatch_links_wanted", "gauge", "Connections that are to be kept", (),
               _one(lambda s: s.links_wanted)),
    Definition("tdbwatch_node_connected", "gauge", "1 while there is a connection to the node", _NODE,
               _per_node(lambda node: node.state in {"connected", "leaving"})),
    Definition("tdbwatch_link_connects_total", "counter", "Connections made to the node", _NODE,
               _per_node(lambda node: node.connects)),
    Definition("tdbwatch_link_reconnects_total", "counter",
               "Connections made to the node after the first one", _NODE,
               _per_node(lambda node: max(0, node.connects - 1))),
    Definition("tdbwatch_link_losses_total", "counter",
               "Connections to the node that ended while in use", _NODE, _per_node(lambda node: node.losses)),
    Definition("tdbwatch_canary_failures_total", "counter",
               "Connections given up because the canary did not come back; absent without a canary", (),
               _of_canary(lambda canary: canary.failures)),
    Definition("tdbwatch_canary_joined", "gauge",
               "1 while the canary's room is joined and it can be emitted; absent without a canary", (),
               _of_canary(lambda canary: canary.state == "joined")),
    Definition("tdbwatch_room_joined", "gauge", "1 while the room is joined", _ROOM,
               _per_room(lambda room: room.state == "joined")),
    Definition("tdbwatch_room_links", "gauge", "Connections that hear the room", _ROOM,
               _per_room(lambda room: room.links)),
    Definition("tdbwatch_events_received_total", "counter", "Events heard in the room", _ROOM,
               _per_room(lambda room: room.received)),
    Definition("tdbwatch_events_unrouted_total", "counter",
               "Events heard in the room that no route takes", _ROOM, _per_room(lambda room: room.unrouted)),
    Definition("tdbwatch_route_matched_total", "counter",
               "Events and other records that the route matched, as sinks came to them", ("route",),
               lambda s: [((route.path,), route.matched) for route in s.routes]),
    Definition("tdbwatch_route_failures_total", "counter",
               "Events for which the route's expressions had no value", ("route",),
               lambda s: [((route.path,), route.failures) for route in s.routes]),
    Definition("tdbwatch_route_held_total", "counter", "Events that the route held back", ("route",),
               lambda s: [((route.path,), route.held) for route in s.routes if route.held]),
    Definition("tdbwatch_route_groups", "gauge", "Groups that the route has open", ("route",),
               lambda s: [((r.path,), r.groups) for r in s.routes if r.held or r.groups]),
    Definition("tdbwatch_absent", "gauge", "Whether what the absence waits for has not come", ("absence",),
               lambda s: [((one.name,), int(one.absent_us is not None)) for one in s.absences]),
    Definition("tdbwatch_last_event_timestamp_seconds", "gauge",
               "When the room's latest event was heard, as Unix time; absent before the first one", _ROOM,
               _per_room(lambda room: _seconds(room.last_event_us))),
    Definition("tdbwatch_gaps_total", "counter",
               "Times in which events of the room may have been missed, or were dropped",
               (*_ROOM, "cause"), _gaps),
    Definition("tdbwatch_merge_doubled_total", "counter",
               "Events that a second connection repeated and that were left out", _ROOM,
               _per_room(lambda room: room.doubled)),
    Definition("tdbwatch_merge_uncertain_total", "counter",
               "Guesses made while leaving those out; each may have doubled one event", _ROOM,
               _per_room(lambda room: room.uncertain)),
    Definition("tdbwatch_events_delivered_total", "counter", "Events that the sink took", _SINK,
               _per_sink(lambda sink: sink.counts.delivered)),
    Definition("tdbwatch_events_retried_total", "counter", "Events that were to be offered again", _SINK,
               _per_sink(lambda sink: sink.counts.retried)),
    Definition("tdbwatch_events_rejected_total", "counter", "Events that the sink refused for good", _SINK,
               _per_sink(lambda sink: sink.counts.rejected)),
    Definition("tdbwatch_events_dead_total", "counter",
               "Events that became dead letters: refused, or out of attempts", _SINK,
               _per_sink(lambda sink: sink.counts.dead)),
    Histograms("tdbwatch_delivery_duration_seconds", "How long calls of the sink took, whatever came of them",
               _SINK, lambda s: [((one.courier.sink,), one.courier.counts.calls.now) for one in s.sinks]),
    Histograms("tdbwatch_spool_duration_seconds",
               "How long events were in the spool before the sink took them", _SINK,
               lambda s: [((one.courier.sink,), one.courier.counts.waits.now) for one in s.sinks]),
    Definition("tdbwatch_sink_up", "gauge", "1 unless stuck, paused, only probed, or refusing all", _SINK,
               _per_sink(lambda sink: not (sink.health.probing or sink.state in _DOWN))),
    Definition("tdbwatch_sink_lag", "gauge", "Events that the sink has yet to finish", _SINK,
               lambda s: [((one.courier.sink,), one.lag) for one in s.sinks if not one.courier.counting]),
    Definition("tdbwatch_sink_oldest_seconds", "gauge",
               "Age of the sink's oldest undelivered event; 0 without one", _SINK, _oldest),
    Definition("tdbwatch_sink_in_flight", "gauge", "Batches that the sink has now", _SINK,
               _per_sink(lambda sink: sink.in_flight)),
    Definition("tdbwatch_sink_failures", "gauge", "Failures of the sink as a whole, in a row", _SINK,
               _per_sink(lambda sink: sink.health.failures)),
    Definition("tdbwatch_dead_letters", "gauge", "Dead letters that the spool keeps for the sink", _SINK,
               _dead_letters),
    Definition("tdbwatch_sink_left_behind", "gauge",
               "Undelivered events and dead letters of a sink that is gone from the configuration", _SINK,
               lambda s: [((one.sink,), one.events + one.dead_letters) for one in s.left_behind]),
    Definition("tdbwatch_spool_bytes", "gauge", "Bytes of the spool's file that hold something", (),
               _one(lambda s: s.spool.used)),
    Definition("tdbwatch_spool_max_bytes", "gauge", "The most that these may be: spool.max_size", (),
               _one(lambda s: s.spool.max_size)),
    Definition("tdbwatch_spool_disk_bytes", "gauge", "Bytes of the spool on disk, side files included", (),
               _one(lambda s: s.spool.size)),
    Definition("tdbwatch_spool_log_bytes", "gauge", "Bytes of SQLite's log beside the spool's file", (),
               _one(lambda s: s.spool.log)),
    Definition("tdbwatch_spool_entries", "gauge", "Entries in the spool, delivered or not", (),
               _one(lambda s: s.spool.entries)),
    Definition("tdbwatch_spool_held", "gauge", "Events in memory that wait for the disk", (),
               _one(lambda s: s.spool.held)),
    Definition("tdbwatch_spool_dropped_total", "counter", "Undelivered events that were given up", (),
               _one(lambda s: s.spool.dropped)),
    Definition("tdbwatch_spool_dead_letters_dropped_total", "counter",
               "Dead letters that were given up since there were too many", (),
               _one(lambda s: s.spool.lost_letters)),
    Definition("tdbwatch_spool_trouble", "gauge", "1 while the disk does not take events", (),
               _one(lambda s: s.spool.trouble is not None)),
)  # fmt: skip


class Metrics:
    """Writes snapshots in Prometheus' text format, with the process's own figures (CPU, memory, files)."""

    def __init__(self) -> None:
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)

    async def text(self, snapshot: Snapshot) -> bytes:
        """All of it; others have their turns meanwhile."""
        made = []
        for piece in pieces(DEFINITIONS, snapshot):
            made.append(piece)
            await asyncio.sleep(0)
        return "".join(made).encode() + generate_latest(self._process)
