"""A sink for configurations that nobody runs."""

from collections.abc import Sequence

from tdbwatch.daemon.config import Problem
from tdbwatch.plugin import Event, Sink


class Idle(Sink):
    async def deliver(self, batch: Sequence[Event]) -> None:
        """Takes everything."""


def has_remedy(problem: Problem) -> bool:
    """Whether it says what to do: in words of its own, or by what the value must be."""
    return bool(problem.hint) or "must" in problem.message or "; " in problem.message
