"""What the configuration says about delivering to one sink."""

from dataclasses import dataclass, field
from typing import Literal

from tdbwatch.daemon.retry import RetryPolicy


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
        max_in_flight: batches under way at the same time; never two with events of one room.
        on_exhausted: what becomes of an event that is out of attempts; `block` goes on trying.
        max_ahead: unfinished entries beyond which no more are read.
        breaker_threshold: failures in a row, of the sink as a whole, after which it is only probed.
    """

    name: str
    plugin: str = ""
    batch: BatchLimits = field(default_factory=BatchLimits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    max_in_flight: int = 1
    on_exhausted: Literal["dead_letter", "block"] = "dead_letter"
    max_ahead: int = 2_000
    breaker_threshold: int = 5
