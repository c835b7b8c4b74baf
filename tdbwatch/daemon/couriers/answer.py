"""What a sink's answer means for each entry, and what is written down of it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import ceil
from types import NoneType
from typing import Generic, NamedTuple, TypeVar

from tdbwatch.daemon.couriers.lane import LaneQueue, Parcel, Share
from tdbwatch.daemon.couriers.pieces import Piece
from tdbwatch.daemon.hosting.blame import PluginMistakeError
from tdbwatch.plugin.outcome import DELIVERED, Delivered, Outcome, Rejected, Retry
from tdbwatch.plugin.sink import Verdict

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
        about_sink: one `Retry` for the whole batch: the wait that it asks for holds for the sink.
        cause: what was raised.
    """

    outcomes: Sequence[Outcome | None] | None
    about_sink: bool = False
    cause: Exception | None = None


_O_co = TypeVar("_O_co", covariant=True)


class Part(NamedTuple, Generic[_O_co]):
    """Entries of one lane of which the sink said one kind of thing, and what it said of each."""

    lane: LaneQueue
    piece: Piece
    outcomes: Sequence[_O_co]


@dataclass(frozen=True, slots=True)
class Told:
    """The entries of a parcel by what the sink said of them."""

    answer: Answer
    delivered: list[Part[Delivered]]
    refused: list[Part[Rejected]]
    again: list[Part[Retry]]
    untried: list[Part[None]]

    @classmethod
    def of(cls, parcel: Parcel, answer: Answer) -> "Told":
        kinds = _parts(parcel, answer, Delivered), _parts(parcel, answer, Rejected)
        return cls(answer, *kinds, _parts(parcel, answer, Retry), _parts(parcel, answer, NoneType))

    @property
    def nothing_finished(self) -> bool:
        return not (self.delivered or self.refused)

    @property
    def pause(self) -> Retry | None:
        """What the sink said when it asked to be left alone: then it said so of all that comes again."""
        first = self.again[0].outcomes[0] if self.again else None
        return first if first is not None and first.pause else None

    @property
    def history(self) -> list[tuple[str, Sequence[int], str]]:
        """(outcome, seqs, detail) as `Attempt` has them, by what was said; what was delivered is one."""
        again = "error" if self.answer.cause is not None else "paused" if self.pause else "retry"
        failed: dict[str, list[Part[Rejected | Retry]]] = {"rejected": [*self.refused], again: [*self.again]}
        found = dict[tuple[str, str], list[int]]()
        for outcome, parts in failed.items():
            for seq, said in said_of(parts):
                found.setdefault((outcome, said.reason), []).append(seq)
        delivered = said_of(self.delivered)
        first = [("delivered", [seq for seq, _ in delivered], delivered[0][1].detail)] if delivered else []
        return [*first, *((outcome, seqs, detail) for (outcome, detail), seqs in found.items())]


def _parts(parcel: Parcel, answer: Answer, kind: type[_O_co]) -> list[Part[_O_co]]:
    """What of each share the sink said this kind of thing of."""
    parts, start, outcomes = list[Part[_O_co]](), 0, answer.outcomes or ()
    for lane, piece in parcel.shares:
        own = outcomes[start : start + piece.count]
        start += piece.count
        if found := [(index, outcome) for index, outcome in enumerate(own) if isinstance(outcome, kind)]:
            parts.append(Part(lane, piece.only([index for index, _ in found]), [one for _, one in found]))
    return parts


def shares_of(parts: Iterable[Part[object]]) -> list[Share]:
    """The entries of these, as they were."""
    return [(lane, piece) for lane, piece, _ in parts]


def said_of(parts: Iterable[Part[_O_co]]) -> list[tuple[int, _O_co]]:
    """Each entry, and what the sink said of it."""
    return [said for part in parts for said in zip(part.piece.seqs, part.outcomes, strict=True)]


def count_of(parts: Iterable[Part[object]]) -> int:
    """How many entries these are."""
    return sum([part.piece.count for part in parts])


def waits_of(again: Iterable[Part[Retry]], most: float) -> dict[LaneQueue, float]:
    """For how many seconds each lane is to wait, as the sink named them; 0 for none.

    Equally long means to the second: a sink that names times a moment apart still gets its events together.

    Args:
        most: seconds; no wait is longer.
    """
    waits: dict[LaneQueue, float] = {}
    for lane, _, retries in again:
        after = max([0.0, *[retry.after or 0.0 for retry in retries]])
        waits[lane] = max(waits.get(lane, 0.0), min(after, most))
    together: dict[int, float] = {}
    for after in waits.values():
        together[ceil(after)] = max(together.get(ceil(after), 0.0), after)
    return {lane: together[ceil(after)] for lane, after in waits.items()}
