"""What a sink's answer means for each event of its batch. Pure."""

from collections.abc import Sequence

from tdbwatch.daemon.blame import PluginMistakeError
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
