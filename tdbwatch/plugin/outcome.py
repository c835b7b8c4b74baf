"""What a sink says of an event it was given."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivered:
    """The event is where it should be; it will not be offered to this sink again."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. The event is offered again, not before `after` seconds if the sink names them.

    Raising an exception, or taking longer than the sink's `timeout`, means the same.
    """

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Never: trying again cannot help. The event goes to the dead letters, with `reason`."""

    reason: str


Outcome = Delivered | Retry | Rejected

DELIVERED = Delivered()
