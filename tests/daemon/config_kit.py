"""A sink for configurations that nobody runs."""

from collections.abc import Sequence

from tdbwatch.plugin import Event, Sink


class Idle(Sink):
    async def deliver(self, batch: Sequence[Event]) -> None:
        """Takes everything."""
