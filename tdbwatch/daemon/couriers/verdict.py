"""What a sink's answer means for each event of its batch. Pure."""

from collections.abc import Sequence

from tdbwatch.plugin.outcome import Delivered, Outcome, Rejected, Retry
from tdbwatch.plugin.sink import Verdict

_OUTCOMES = (Delivered, Retry, Rejected)


class VerdictError(Exception):
    """The sink answered something that is no verdict: the plugin's mistake. Its batch is tried again."""


def judge(verdict: Verdict, count: int) -> Sequence[Outcome | None] | None:
    """One outcome for each of `count` events, None where it was not tried; None when all are delivered.

    Raises:
        VerdictError: not a verdict.
    """
    if verdict is None or isinstance(verdict, Delivered):
        return None
    if isinstance(verdict, Retry | Rejected):
        return [verdict] * count
    if not isinstance(verdict, list | tuple):
        raise VerdictError(_complaint(verdict))
    if not 0 < len(verdict) <= count:
        raise VerdictError(f"it answered {len(verdict)} outcomes for {count} events")
    for outcome in verdict:
        if not isinstance(outcome, _OUTCOMES):
            raise VerdictError(_complaint(outcome))
    if len(verdict) == count and all(isinstance(outcome, Delivered) for outcome in verdict):
        return None
    return [*verdict, *[None] * (count - len(verdict))]


def _complaint(value: object) -> str:
    return f"it returned a {type(value).__name__} where None, Delivered, Retry or Rejected is expected"
