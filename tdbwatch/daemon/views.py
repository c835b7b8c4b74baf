"""What the status shows of the daemon: each part is looked at here, and nowhere else."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tdbwatch import __version__
from tdbwatch.client.rooms.subscriptions import RoomStatus, Subscription
from tdbwatch.daemon import logs
from tdbwatch.daemon.couriers import CourierStatus
from tdbwatch.daemon.in_use import InUse
from tdbwatch.daemon.intake.canary import Canary
from tdbwatch.daemon.intake.watched import WatchedRoom
from tdbwatch.daemon.routing.counts import NO_FAILURE
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.status import remedies
from tdbwatch.daemon.status.figures import SpoolFigures
from tdbwatch.daemon.status.journal import NodeStory
from tdbwatch.daemon.status.snapshot import (
    START_PATIENCE,
    AbsenceView,
    CanaryView,
    ConfigView,
    GapCount,
    Life,
    NodeView,
    RoomView,
    RouteView,
    SinkView,
    Snapshot,
    SpoolView,
)
from tdbwatch.daemon.status.spans import OpenGap
from tdbwatch.redaction import presentable
from tdbwatch.wire.scopes import short

if TYPE_CHECKING:
    from tdbwatch.daemon.parts import Parts


@dataclass(frozen=True, slots=True)
class Views:
    """The daemon's parts, as the status server and whoever tells of readiness ask for them."""

    parts: "Parts"

    def _routes(self) -> Iterator[RouteView]:
        router = self.parts.routing.now
        counted = router.counts
        for path in router.paths:
            failure = counted.failures.get(path, NO_FAILURE)
            counts = {"held": counted.held[path], "matched": counted.matched[path]}
            counts["groups"] = self.parts.remembering.holding.open[path]
            yield RouteView(path, failure.count, failure.event_id, failure.reason, **counts)

    @property
    def log(self) -> SqliteSpool:
        """Where the last events are."""
        return self.parts.spool

    def life(self) -> Life:
        """Where the daemon stands."""
        return self.parts.life()

    def configuration(self) -> str:
        """The one that is used, as YAML without secrets."""
        return self.parts.in_use.config.shown

    def counters(self) -> tuple[dict[Lane, int], dict[str, int]]:
        """Events since the start: heard by room, taken by sink."""
        heard = {room.lane: room.received for room in self.parts.rooms}
        return heard, {one.sink: one.counts.delivered for one in self.parts.deliveries.statuses()}

    def plugin_metrics(self) -> bytes:
        """The metrics that plugins have made, in Prometheus' text format."""
        return self.parts.registry.metrics.text()

    def snapshot(self, figures: SpoolFigures) -> Snapshot:
        """The daemon as it is now. Reads memory only.

        Args:
            figures: what was last read from the spool's file.
        """
        parts, now_us = self.parts, int(self.parts.clock.time() * 1_000_000)
        journal, life, config = parts.journal, parts.life(), parts.in_use.config
        types = parts.deliveries.types()
        return Snapshot(
            version=__version__,
            host=presentable(socket.gethostname()),
            taken_us=now_us,
            started_us=journal.started_us,
            phase="failed" if life.failure else life.phase,
            failure=life.failure,
            stalled=life.stalled,
            grace=config.shutdown.grace,
            links_wanted=config.thingsdb.live_connections,
            canary=None if parts.canary is None else _canary(parts.canary),
            nodes=self._nodes(life.phase),
            rooms=tuple(_room(room, parts.unrouted.rooms[room.lane]) for room in parts.rooms),
            sinks=tuple(
                _sink(status, figures, types[status.sink], parts.spool.held)
                for status in parts.deliveries.statuses()
            ),
            spool=self._spool(figures),
            gaps=tuple(reversed(journal.gaps)),
            spans=tuple(span.copied() for span in reversed(journal.spans)),
            open_gaps=tuple(self._open_gaps(life.phase, now_us)),
            gap_counts=tuple(GapCount(*which, count) for which, count in journal.gap_counts.items()),
            plugin_problems=tuple(self.parts.registry.problems),
            resting=self.parts.registry.resting,
            routes=tuple(self._routes()),
            absences=tuple(AbsenceView(*one.shown) for one in parts.remembering.holding.absences),
            log_dropped=logs.dropped(),
            left_behind=figures.left_behind,
            doubts=config.warnings,
            config=_config(parts.in_use),
        )

    def _nodes(self, phase: str) -> tuple[NodeView, ...]:
        now = self.parts.clock.monotonic()
        links = {str(link.address): link for link in self.parts.client.links() if link.is_live}
        trying = {str(address) for address in self.parts.client.in_use()} - links.keys()
        stopping, views = phase == "stopping", []
        # a link may be to an address that the configuration names in another way
        for address in dict.fromkeys([*map(str, self.parts.in_use.config.thingsdb.nodes), *links]):
            story, link = self.parts.journal.nodes.get(address, NodeStory()), links.get(address)
            troubled = link is None and not stopping and bool(story.trouble)
            if link is not None:
                state = "leaving" if link.leaving else "connected"
            elif stopping:
                state = "closed"
            else:
                trouble = "refusing" if story.refused else "unreachable"
                state = trouble if troubled else "connecting" if address in trying else "spare"
            views.append(
                NodeView(
                    address=address,
                    state=state,
                    status=story.status if link is not None else "",
                    silent=None if link is None else max(0.0, now - link.heard_at),
                    connects=story.connects,
                    losses=story.losses,
                    trouble=story.trouble if troubled else "",
                    since_us=story.trouble_us if troubled else None,
                )
            )
        return tuple(views)

    def _open_gaps(self, phase: str, now_us: int) -> Iterator[OpenGap]:
        """What is not heard now. A start has a moment before it counts; the next one tells of a stop."""
        if phase == "stopping":
            return
        if phase == "starting" and now_us - self.parts.journal.started_us < START_PATIENCE * 1e6:
            return
        for room in self.parts.rooms:
            if (silence := room.silence_now) is not None:
                since_us, reason = int(silence.since * 1e6), presentable(silence.reason)
                yield OpenGap(room.scope, room.name, since_us, reason, silence.cause.value)

    def _spool(self, figures: SpoolFigures) -> SpoolView:
        spool = self.parts.spool
        return SpoolView(
            path=str(spool.path.absolute()),
            size=figures.size,
            used=figures.used,
            max_size=self.parts.in_use.config.spool.max_size,
            entries=spool.entries,
            held=spool.held,
            dropped=spool.drops.count,
            last_drop_us=spool.drops.latest_us,
            lost_letters=spool.alarms.lost_letters,
            trouble=spool.alarms.trouble,
            log_grew=spool.alarms.log_bytes,
            log=figures.log,
        )


def _config(in_use: InUse) -> ConfigView:
    digest = in_use.config.digest
    return ConfigView(digest, in_use.since_us, in_use.read_us, in_use.verdict, in_use.restart)


def _sink(courier: CourierStatus, figures: SpoolFigures, type_name: str, held: int) -> SinkView:
    letters = figures.letters_of(courier.sink)
    if letters is not None:
        letters = replace(letters, last_reason=presentable(letters.last_reason))
    return SinkView(courier, letters, type_name, held)


def _room(room: WatchedRoom, unrouted: int) -> RoomView:
    subscription = room.subscription
    state, joined = _state_of(subscription), subscription.status is RoomStatus.JOINED
    return RoomView(
        scope=room.scope,
        name=room.name,
        room_id=subscription.id,
        state=state,
        reason="" if joined else presentable(subscription.reason),
        remedy=remedies.room(state, room.scope, subscription.error, by_code=subscription.is_code),
        required=room.required,
        links=len(subscription.links),
        received=room.received,
        last_event_us=room.last_event_us,
        doubled=subscription.doubled,
        uncertain=subscription.uncertain,
        unrouted=unrouted,
        heard_in=short(subscription.scope) if joined and subscription.is_followed else "",
    )


def _state_of(subscription: Subscription) -> str:
    if subscription.ended and not subscription.links:
        return "left"
    joined = subscription.status is RoomStatus.JOINED
    return "leaving" if joined and not subscription.heard else subscription.status.value


def _canary(canary: Canary) -> CanaryView:
    subscription = canary.subscription
    state = _state_of(subscription)
    mute = state == "joined" and bool(canary.not_emitted)
    reason = canary.not_emitted if mute else subscription.reason
    scope = short(subscription.scope)
    return CanaryView(
        scope=scope,
        room=str(subscription.key),
        state="mute" if mute else state,
        reason=presentable(reason),
        remedy=remedies.MUTE if mute else remedies.canary(state, scope, subscription.error),
        links=len(subscription.links),
        failures=canary.failures,
    )
