"""One moment of the daemon, taken apart from it: page, metrics and readiness all read this, and so agree."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tdbwatch import __version__
from tdbwatch.client.rooms import RoomStatus
from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers import CourierStatus
from tdbwatch.daemon.source import WatchedRoom
from tdbwatch.daemon.status.figures import NO_FIGURES, Letters, SpoolFigures
from tdbwatch.daemon.status.journal import CAUSES, Gap, NodeStory

if TYPE_CHECKING:
    from tdbwatch.daemon.supervisor import Daemon


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node of the configuration, or one that there is a connection to.

    Attributes:
        state: `connected`, `leaving` (connected, but it shuts down), `connecting`, `unreachable`, or `spare`
            (enough others are connected).
        status: what the node said of itself last; empty: nothing.
        silent: seconds since anything was heard from it; None without a connection.
        trouble: why it was lost or could not be reached; empty: it was not.
        since_us: since when, in microseconds since the Unix epoch.
    """

    address: str
    state: str
    status: str
    silent: float | None
    connects: int
    losses: int
    trouble: str
    since_us: int | None


@dataclass(frozen=True, slots=True)
class RoomView:
    """A room of the configuration.

    Attributes:
        state: `joined`, `leaving` (joined only on nodes that shut down, which hear no other node's events),
            `waiting`, `missing`, `refused` or `deleted`.
        links: connections that hear it.
        received: events since the start.
        last_event_us: when the latest was heard, in microseconds since the Unix epoch; None: none yet.
        doubled: events that a second connection repeated, and that were rightly left out.
        uncertain: guesses that had to be made about those; each may be one event doubled.
    """

    scope: str
    name: str
    room_id: int | None
    state: str
    reason: str
    required: bool
    links: int
    received: int
    last_event_us: int | None
    doubled: int
    uncertain: int


@dataclass(frozen=True, slots=True)
class SinkView:
    """A sink.

    Attributes:
        courier: how its courier is doing.
        dead_letters: kept in the spool for it now; None: not known yet.
    """

    courier: CourierStatus
    dead_letters: Letters | None


@dataclass(frozen=True, slots=True)
class SpoolView:
    """The spool.

    Attributes:
        size: bytes on disk; None: not known yet.
        entries: events that are kept, delivered or not.
        held: events in memory that wait for the disk.
        dropped: undelivered events that were given up since the start.
        trouble: why the disk does not take events now; None: it does.
    """

    path: str
    size: int | None
    max_size: int
    entries: int
    held: int
    dropped: int
    trouble: str | None


@dataclass(frozen=True, slots=True)
class GapCount:
    """How many gaps a room had since the start, by cause."""

    scope: str
    room: str
    cause: str
    count: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything there is to show. Times in microseconds since the Unix epoch.

    Attributes:
        phase: `starting`, `running`, `stopping` or `failed`.
        failure: what died, if something did.
        links_wanted: connections that are to be kept.
        canary_failures: connections given up because the canary did not come back; None: there is no canary.
        gaps: the latest, the newest first.
        plugin_problems: plugins that did not load, and what else they did wrong.
    """

    version: str
    taken_us: int
    started_us: int
    phase: str
    failure: str
    links_wanted: int
    canary_failures: int | None
    nodes: tuple[NodeView, ...]
    rooms: tuple[RoomView, ...]
    sinks: tuple[SinkView, ...]
    spool: SpoolView
    gaps: tuple[Gap, ...]
    gap_counts: tuple[GapCount, ...]
    plugin_problems: tuple[str, ...]

    @property
    def links(self) -> int:
        """Nodes with a live connection."""
        return sum(node.state in {"connected", "leaving"} for node in self.nodes)


def take(daemon: "Daemon", clock: Clock, figures: SpoolFigures = NO_FIGURES) -> Snapshot:
    """The daemon as it is now. Reads memory only.

    Args:
        figures: what was last read from the spool's file.
    """
    journal = daemon.journal
    return Snapshot(
        version=__version__,
        taken_us=int(clock.time() * 1_000_000),
        started_us=journal.started_us,
        phase="failed" if (failure := _failure(daemon)) else daemon.phase,
        failure=failure,
        links_wanted=daemon.config.thingsdb.live_connections,
        canary_failures=None if daemon.canary is None else daemon.canary.failures,
        nodes=_nodes(daemon, clock.monotonic()),
        rooms=tuple(_room(room) for room in daemon.rooms),
        sinks=tuple(SinkView(status, figures.letters_of(status.sink)) for status in daemon.couriers()),
        spool=_spool(daemon, figures),
        gaps=tuple(reversed(journal.gaps)),
        gap_counts=tuple(
            GapCount(room.scope, room.name, cause, journal.gap_counts[room.scope, room.name, cause])
            for room in daemon.rooms
            for cause in CAUSES
        ),
        plugin_problems=tuple(map(str, daemon.registry.problems)),
    )


def _failure(daemon: "Daemon") -> str:
    if not daemon.failed.done() or daemon.failed.cancelled():
        return ""
    return type(daemon.failed.exception()).__name__


def _nodes(daemon: "Daemon", now: float) -> tuple[NodeView, ...]:
    links = {str(link.address): link for link in daemon.client.links() if link.is_live}
    trying = {str(address) for address in daemon.client.in_use()} - links.keys()
    views = []
    # a link may be to an address that the configuration names in another way
    for address in dict.fromkeys([*map(str, daemon.config.thingsdb.nodes), *links]):
        story, link = daemon.journal.nodes.get(address, NodeStory()), links.get(address)
        if link is not None:
            state = "leaving" if link.leaving else "connected"
        elif story.trouble:
            state = "unreachable"
        else:
            state = "connecting" if address in trying else "spare"
        views.append(
            NodeView(
                address=address,
                state=state,
                status=story.status if link is not None else "",
                silent=None if link is None else max(0.0, now - link.heard_at),
                connects=story.connects,
                losses=story.losses,
                trouble="" if link is not None else story.trouble,
                since_us=None if link is not None else story.trouble_us,
            )
        )
    return tuple(views)


def _room(room: WatchedRoom) -> RoomView:
    subscription = room.subscription
    joined, merge = subscription.status is RoomStatus.JOINED, subscription.merge
    return RoomView(
        scope=room.scope,
        name=room.name,
        room_id=subscription.id,
        state="leaving" if joined and not subscription.heard else subscription.status.value,
        reason="" if joined else subscription.reason,
        required=room.required,
        links=len(subscription.links),
        received=room.received,
        last_event_us=room.last_event_us,
        doubled=0 if merge is None else merge.doubled,
        uncertain=0 if merge is None else merge.uncertain,
    )


def _spool(daemon: "Daemon", figures: SpoolFigures) -> SpoolView:
    spool = daemon.spool
    return SpoolView(
        path=str(spool.path),
        size=figures.size,
        max_size=daemon.config.spool.max_size,
        entries=spool.entries,
        held=spool.held,
        dropped=spool.dropped,
        trouble=spool.trouble,
    )
