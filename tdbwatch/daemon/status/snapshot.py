"""One moment of the daemon, taken apart from it: page, metrics and readiness all read this, and so agree."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from tdbwatch.daemon.config import Problem as ConfigProblem
from tdbwatch.daemon.couriers import CourierStatus
from tdbwatch.daemon.plugins.registry import PluginProblem, Resting
from tdbwatch.daemon.reload.verdict import Verdict
from tdbwatch.daemon.spool.looking.gone import LeftBehind
from tdbwatch.daemon.spool.looking.stats import Letters
from tdbwatch.daemon.status.spans import Gap, OpenGap, Span

START_PATIENCE: Final = 10.0
"""Seconds after which a daemon that has found no node is not just starting any more."""


class Life(NamedTuple):
    """Where the daemon stands.

    Attributes:
        phase: `starting`, `running` or `stopping`.
        failure: what died; empty: nothing did.
        stalled: what makes no progress; empty: all does.
    """

    phase: str
    failure: str
    stalled: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether every part lives. If not, only a restart helps."""
        return not (self.failure or self.stalled)


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node of the configuration, or one that there is a connection to.

    Attributes:
        state: `connected`, `leaving` (connected, but it shuts down), `connecting`, `unreachable`, `refusing`
            (it is there, but refuses the login), `spare` (enough others are connected), or `closed` (we
            stop).
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
            `waiting`, `missing`, `refused`, `deleted`, or `left` (we stop).
        remedy: what to do where it is not joined.
        links: connections that hear it.
        received: events since the start.
        last_event_us: when the latest was heard, in microseconds since the Unix epoch; None: none yet.
        doubled: events that a second connection repeated, and that were rightly left out.
        uncertain: guesses that had to be made about those; each may be one event doubled.
        unrouted: of the received ones, those that no route takes.
        heard_in: the name that its collection was given since, and under which it is heard; empty: none.
    """

    scope: str
    name: str
    room_id: int | None
    state: str
    reason: str
    remedy: str
    required: bool
    links: int
    received: int
    last_event_us: int | None
    doubled: int
    uncertain: int
    unrouted: int = 0
    heard_in: str = ""


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route.

    Attributes:
        path: as messages about the configuration say it, such as `routes[1]`.
        held: how many events it has held back since the start, or collected for groups.
        groups: how many groups are open.
        matched: how many it has matched.
        failures: for how many events its expressions had no value.
        event_id: the last of them.
        reason: why, of that one.
    """

    path: str
    failures: int
    event_id: str
    reason: str
    held: int = 0
    matched: int = 0
    groups: int = 0


@dataclass(frozen=True, slots=True)
class AbsenceView:
    """What an absence waits for.

    Attributes:
        absent_us: since when nothing has come, where that was told; None: nothing is missing.
        heard: whether all was heard meanwhile that came.
    """

    name: str
    absent_us: int | None
    heard: bool = True


@dataclass(frozen=True, slots=True)
class CanaryView:
    """The canary.

    Attributes:
        state: as a room's, or `mute`: its room is joined, but it cannot be emitted.
        remedy: what to do where it is not `joined`.
        links: connections on which it must come back.
        failures: connections given up because it did not.
    """

    scope: str
    room: str
    state: str
    reason: str
    remedy: str
    links: int
    failures: int


@dataclass(frozen=True, slots=True)
class SinkView:
    """A sink.

    Attributes:
        courier: how its courier is doing.
        dead_letters: kept in the spool for it now; None: not known yet.
        held: events in memory that wait for the disk before any sink may have them.
        type: as in the configuration; it may differ from the name of the plugin that offers it.
    """

    courier: CourierStatus
    dead_letters: Letters | None
    type: str
    held: int = 0

    @property
    def lag(self) -> int:
        """Events that it is to get and has not finished: in the spool, or in memory for want of a disk."""
        return self.courier.lag + self.held


@dataclass(frozen=True, slots=True)
class SpoolView:
    """The spool.

    Attributes:
        size: bytes on disk; None: not known yet.
        used: bytes of these that count for `max_size`; None: not known yet.
        entries: events that are kept, delivered or not.
        held: events in memory that wait for the disk.
        dropped: undelivered events that were given up since the start.
        last_drop_us: when the latest of them were; None: none was.
        lost_letters: dead letters that were given up since the start.
        trouble: why the disk does not take events now; None: it does.
        log_grew: how large SQLite's log was when it was found too large; 0: it is as usual.
        log: bytes of it; None: not known yet.
    """

    path: str
    size: int | None
    used: int | None
    max_size: int
    entries: int
    held: int
    dropped: int
    last_drop_us: int | None
    lost_letters: int
    trouble: str | None
    log_grew: int = 0
    log: int | None = None


@dataclass(frozen=True, slots=True)
class GapCount:
    """How many gaps a room had since the start, by cause."""

    scope: str
    room: str
    cause: str
    count: int


@dataclass(frozen=True, slots=True)
class ConfigView:
    """The configuration in use.

    Attributes:
        hash: the same for two daemons with the same files; empty: nobody knows of a file.
        since_us: the time since which it is in use, in microseconds since the Unix epoch.
        read_us: when the files were last read and said this.
        verdict: of the last reload; None: there was none.
        restart: the keys that the file has otherwise, and that wait for a restart.
    """

    hash: str = ""
    since_us: int = 0
    read_us: int = 0
    verdict: Verdict | None = None
    restart: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the last reload was."""
        return self.verdict is not None and not self.verdict.accepted


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything there is to show. Times in microseconds since the Unix epoch.

    Attributes:
        host: the machine's name.
        phase: `starting`, `running`, `stopping` or `failed`.
        failure: what died, if something did.
        stalled: what makes no progress though it should; empty: nothing.
        grace: seconds that stopping may take.
        links_wanted: connections that are to be kept.
        canary: None: there is none.
        gaps: the latest, the newest first.
        spans: the same, those in one that belong together.
        open_gaps: those that go on.
        plugin_problems: plugins that did not load, and what else they did wrong.
        resting: functions and filters of plugins that are not called now.
        routes: all, in their order.
        log_dropped: log lines that were not written since the start.
        left_behind: what the spool has of sinks that are gone from the configuration.
        http_trouble: why nobody can ask the status server; empty: all is well.
        doubts: what the configuration says and hardly means.
        config: the configuration in use.
    """

    version: str
    host: str
    taken_us: int
    started_us: int
    phase: str
    failure: str
    grace: float
    links_wanted: int
    canary: CanaryView | None
    nodes: tuple[NodeView, ...]
    rooms: tuple[RoomView, ...]
    sinks: tuple[SinkView, ...]
    spool: SpoolView
    gaps: tuple[Gap, ...]
    spans: tuple[Span, ...]
    open_gaps: tuple[OpenGap, ...]
    gap_counts: tuple[GapCount, ...]
    plugin_problems: tuple[PluginProblem, ...]
    resting: tuple[Resting, ...] = ()
    routes: tuple[RouteView, ...] = ()
    absences: tuple[AbsenceView, ...] = ()
    log_dropped: int = 0
    stalled: str = ""
    left_behind: tuple[LeftBehind, ...] = ()
    http_trouble: str = ""
    doubts: tuple[ConfigProblem, ...] = ()
    config: ConfigView = ConfigView()

    @property
    def links(self) -> int:
        """Nodes with a live connection."""
        return sum(node.state in {"connected", "leaving"} for node in self.nodes)

    @property
    def starts_in_vain(self) -> bool:
        """Whether it looks for a node for longer than a start takes, or all that answer refuse the login."""
        if self.phase != "starting" or self.links:
            return False
        states = {node.state for node in self.nodes}
        refused = "refusing" in states and states <= {"refusing", "unreachable"}
        return refused or self.uptime >= START_PATIENCE

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return (self.taken_us - self.started_us) / 1e6
