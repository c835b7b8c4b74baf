"""What a courier says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CourierStatus:
    """How a courier is doing.

    Attributes:
        state: `opening`, `running`, `retrying`, `refusing`, `stuck`, `paused` or `stopped`.
        lag: events that the sink is to get and has not finished. Of those that were not read yet (it is far
            behind) nobody has asked the routes, so all of them count.
        oldest_us: when the oldest unfinished event was received, in microseconds since the epoch; None: none.
        refused_in_row: events that it refused since it took one; many of them make it `refusing`.
        probing: the sink fails as a whole, so it is only tried now and then.
        held_until_us: no attempt before then, in microseconds since the epoch; None: at any time.
    """

    sink: str
    plugin: str
    state: str
    delivered: int
    retried: int
    rejected: int
    dead: int
    lag: int
    in_flight: int
    waiting: int
    failures: int
    last_error: str | None
    oldest_us: int | None
    refused_in_row: int = 0
    probing: bool = False
    held_until_us: int | None = None


@dataclass(slots=True)
class Counters:
    """What a courier counts since its start, and what its sink said last.

    Attributes:
        refused_in_row: events since the last that was delivered.
        stuck: its thread does not come back.
    """

    delivered: int = 0
    retried: int = 0
    rejected: int = 0
    dead: int = 0
    refused_in_row: int = 0
    stuck: bool = False
    last_error: str | None = None
