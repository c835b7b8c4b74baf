"""What a sink's answer means for each entry, and what is written down of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

from tdbwatch.daemon.blame import PluginMistakeError
from tdbwatch.daemon.couriers.lane import LaneQueue
from tdbwatch.daemon.couriers.parcel import Fate, Parcel
from tdbwatch.daemon.couriers.pieces import Failure
from tdbwatch.daemon.spool.api import DeadLetter, Entry
from tdbwatch.plugin.event import Event
from tdbwatch.plugin.outcome import DELIVERED, Delivered, Outcome, Rejected, Retry
from tdbwatch.plugin.sink import Verdict
from tdbwatch.redaction import presentable

_OUTCOMES = (Delivered, Retry, Rejected)


class VerdictError(PluginMistakeError):
    """The sink answered something that is no verdict: the plugin's mistake. Its batch is tried again."""


def judge(verdict: Verdict, count: int) -> Sequence[Outcome | None] | None:
    """One outcome for each of `count` events, None where it was not tried; None when all are delivered.

    Raises:
        VerdictError: not a verdict.
    """
    if verdict is None or isinstance(verdict, Delivered):
        return None
    if isinstance(verdict, Retry | Rejected):
        return [_checked(verdict)] * count
    if not isinstance(verdict, list | tuple):
        raise VerdictError(_complaint(verdict))
    if len(verdict) == count == verdict.count(DELIVERED):  # nearly always
        return None
    outcomes = [_checked(outcome) for outcome in verdict]
    if not 0 < len(outcomes) <= count:
        raise VerdictError(f"it answered {len(outcomes)} outcomes for {count} events")
    if len(outcomes) == count and all(isinstance(outcome, Delivered) for outcome in outcomes):
        return None
    return [*_with_pause(outcomes), *[None] * (count - len(outcomes))]


def merged(
    outcomes: Sequence[Outcome | None] | None, refused: Mapping[int, Rejected], count: int
) -> Sequence[Outcome | None] | None:
    """Outcomes as `judge` returns them, and between them, by index, of those that the sink was not given."""
    if not refused:
        return outcomes
    said = repeat(DELIVERED) if outcomes is None else iter(outcomes)
    return [refused[index] if index in refused else next(said) for index in range(count)]


def _with_pause(outcomes: list[Outcome]) -> list[Outcome]:
    """Where one event's answer is a pause, the others that are to come again wait for the same reason."""
    pause = next((one for one in outcomes if isinstance(one, Retry) and one.pause), None)
    return outcomes if pause is None else [pause if isinstance(one, Retry) else one for one in outcomes]


def _checked(outcome: object) -> Outcome:
    """The outcome, if all in it is of the type that it should be: plugins are not type-checked."""
    if outcome is DELIVERED:
        return DELIVERED
    if not isinstance(outcome, _OUTCOMES):
        raise VerdictError(_complaint(outcome))
    text = outcome.detail if isinstance(outcome, Delivered) else outcome.reason
    if not isinstance(text, str):
        raise VerdictError(f"it returned {type(outcome).__name__} with a {type(text).__name__} for text")
    if isinstance(outcome, Retry) and not isinstance(outcome.after, float | int | None):
        raise VerdictError(f"it returned Retry with a {type(outcome.after).__name__} for seconds in after")
    return outcome


def _complaint(value: object) -> str:
    return f"it returned a {type(value).__name__} where None, Delivered, Retry or Rejected is expected"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call of the sink.

    Attributes:
        outcomes: as `judge` returns them.
        asked: the breaker's before the call began.
        about_sink: one `Retry` for the whole batch: the wait that it asks for holds for the sink.
        cause: what was raised.
    """

    outcomes: Sequence[Outcome | None] | None
    asked: int
    about_sink: bool = False
    cause: Exception | None = None

    @property
    def pause(self) -> Retry | None:
        """What the sink said when it asked to be left alone."""
        outcomes = self.outcomes or ()
        return next((one for one in outcomes if isinstance(one, Retry) and one.pause), None)


@dataclass(frozen=True, slots=True)
class Told:
    """One entry, and what the sink said of it."""

    seq: int
    event: Event
    lane: LaneQueue
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Sorted:
    """The entries of a parcel by what the sink said of them."""

    refused: list[tuple[Told, Rejected]]
    again: list[tuple[Told, Retry]]
    untried: int
    delivered: int

    @classmethod
    def of(cls, parcel: Parcel, outcomes: Sequence[Outcome | None]) -> "Sorted":
        told = list(map(Told, parcel.seqs, parcel.events, parcel.lane_of_each, outcomes))
        refused = [(one, one.outcome) for one in told if isinstance(one.outcome, Rejected)]
        again = [(one, one.outcome) for one in told if isinstance(one.outcome, Retry)]
        untried = sum(one.outcome is None for one in told)
        return cls(refused, again, untried, len(told) - len(refused) - len(again) - untried)

    @property
    def nothing_finished(self) -> bool:
        return not self.delivered and not self.refused


def fates_of(outcomes: Sequence[Outcome | None], retry: Fate) -> list[Fate]:
    """What becomes of each entry.

    Args:
        retry: of those that the sink wants to get again.
    """
    return [
        Fate.UNTRIED if one is None else retry if isinstance(one, Retry) else Fate.FINISHED
        for one in outcomes
    ]


def dead_letter(
    sink: str, failure: Failure, told: Told, reason: str, last_error: str, now_us: int
) -> DeadLetter:
    """What is kept of an entry that this sink will not get any more."""
    reason = presentable(reason)
    return DeadLetter(
        sink=sink,
        entry=Entry(told.seq, told.event),
        reason=reason,
        attempts=failure.attempts,
        first_error=failure.first_error_of(told.seq) or reason,
        last_error=presentable(last_error) or reason,
        first_us=failure.first_us,
        dead_us=now_us,
    )


def outcomes_by_kind(
    seqs: Sequence[int], outcomes: Sequence[Outcome | None] | None
) -> list[tuple[str, Sequence[int], str]]:
    """(outcome, seqs, detail) for each kind of failure; of what was delivered the detail of the first."""
    if outcomes is None:
        return [("delivered", seqs, "")]
    groups: dict[tuple[str, str], tuple[list[int], str]] = {}
    for seq, outcome in zip(seqs, outcomes, strict=True):
        if outcome is not None:
            taken = isinstance(outcome, Delivered)
            detail = outcome.detail if isinstance(outcome, Delivered) else outcome.reason
            groups.setdefault((_name(outcome), "" if taken else detail), ([], detail))[0].append(seq)
    return [(name, found, detail) for (name, _), (found, detail) in groups.items()]


def _name(outcome: Outcome) -> str:
    """As `Attempt.outcome`."""
    if isinstance(outcome, Retry):
        return "paused" if outcome.pause else "retry"
    return "delivered" if isinstance(outcome, Delivered) else "rejected"
