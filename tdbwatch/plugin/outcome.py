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

    Returned alone it speaks of the sink: nothing else is offered until then. In a list it speaks of its
    event: what is behind that in its room waits, other rooms go on.

    Attributes:
        after: seconds, obeyed up to an hour.
        pause: the sink as a whole is to be left alone, because somebody has to mend something: operators are
            told, nothing is offered for `after` seconds (an hour without), then a single batch. Events wait
            meanwhile: being told so costs none of them an attempt, and none gets too old for another.
    """

    reason: str
    after: float | None = None
    pause: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """Never: trying again cannot help. The event goes to the dead letters, with `reason`."""

    reason: str


Outcome = Delivered | Retry | Rejected

DELIVERED = Delivered()
