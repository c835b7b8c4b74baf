"""What a courier is told, and what it says of itself."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.histogram import CALLS, WAITS, Histogram
from tdbwatch.plugin.event import Event


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How many events a sink gets at once.

    Attributes:
        count: events.
        max_bytes: of their payloads and a little overhead each; a batch has at least one event.
        wait: seconds to wait for company before a batch that is not full goes.
    """

    count: int = 100
    max_bytes: int = 1 << 20
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class CourierSettings:
    """One sink.

    Attributes:
        name: the sink's name in the configuration.
        plugin: the sink's type, for messages that say whose fault it is.
        max_in_flight: batches under way at the same time; never two with events of one lane.
        order: the key of an event: those of a room that have one in common keep their order, and are a lane;
            None: a room is one.
        on_exhausted: what becomes of an event that is out of attempts; `block` goes on trying.
        max_ahead: unfinished entries beyond which no more are read.
        breaker_threshold: failures in a row, of the sink as a whole, after which it is only probed.
    """

    name: str
    plugin: str = ""
    batch: BatchLimits = field(default_factory=BatchLimits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    max_in_flight: int = 1
    order: Callable[[Event], str] | None = None
    on_exhausted: Literal["dead_letter", "block"] = "dead_letter"
    max_ahead: int = 2_000
    breaker_threshold: int = 5


@dataclass(slots=True)
class Counts:
    """What a courier counts since its start.

    Attributes:
        calls: how long calls of its sink took.
        waits: how long events were in the spool before the sink took them.
    """

    delivered: int = 0
    retried: int = 0
    rejected: int = 0
    dead: int = 0
    calls: Histogram = field(default_factory=lambda: Histogram(CALLS))
    waits: Histogram = field(default_factory=lambda: Histogram(WAITS))

    @property
    def now(self) -> "Counts":
        """A copy."""
        return replace(self, calls=Histogram(*self.calls.now), waits=Histogram(*self.waits.now))


@dataclass(slots=True)
class SinkHealth:
    """What is known of a sink as a whole.

    Attributes:
        failures: in a row.
        probing: it fails as a whole, so it is only tried now and then.
        last_error: since it last did what it should; None: none.
        mistake: the last error is the plugin's own mistake, not of what it talks to.
        refused_in_row: events that it refused since it took one; many of them make it `refusing`.
        last_refusal: what it said of the last event that it refused; empty: it refused none.
    """

    failures: int = 0
    probing: bool = False
    last_error: str | None = None
    mistake: bool = False
    refused_in_row: int = 0
    last_refusal: str = ""


@dataclass(frozen=True, slots=True)
class CourierStatus:
    """How a courier is doing.

    Attributes:
        state: `opening`, `running`, `retrying`, `refusing`, `stuck`, `paused` or `stopped`.
        lag: events that the sink is to get and has not finished. Of those that were not read yet (it is far
            behind) nobody has asked the routes, so all of them count.
        in_flight: batches that the sink has.
        waiting: batches that wait for another attempt.
        oldest_us: when the oldest unfinished event was received, in microseconds since the epoch; None: none.
        next_try_us: when it is tried next, in microseconds since the epoch; None: it is being tried, or has
            nothing to get.
        counting: after a restart it is still being counted: the lag is at least this.
        counts: as they were at this moment.
    """

    sink: str
    plugin: str
    state: str
    lag: int = 0
    in_flight: int = 0
    waiting: int = 0
    oldest_us: int | None = None
    next_try_us: int | None = None
    counting: bool = False
    counts: Counts = field(default_factory=Counts)
    health: SinkHealth = field(default_factory=SinkHealth)
