"""How the daemon ends: its parts in order, each within its share of the grace.

Sinks finish what they can, then nothing more is heard, then the last of it becomes durable. What is heard
while sinks finish stays in the spool: nobody is deaf for a sink's sake.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog

from tdbwatch.daemon.parts import Parts

LEAVE_TIMEOUT: Final = 2.0
"""Seconds to leave all rooms, and for closing; a node that does not answer is left without."""
LEAST_CLOSE: Final = 0.25
"""Seconds that closing the connections may always take."""
SINKS_SHARE: Final = 0.8
"""The share of the grace that sinks have; the rest is for leaving the rooms and for the last commit."""


class Stopping:
    """One end of the daemon, begun when it is made.

    Args:
        spool_is_open: whether anything could be delivered at all.
    """

    def __init__(self, parts: Parts, *, spool_is_open: bool) -> None:
        self._parts = parts
        self._spool_is_open = spool_is_open
        self._grace = parts.grace()
        self._until = parts.clock.monotonic() + self._grace
        self._log = structlog.get_logger("tdbwatch")

    async def run(self) -> None:
        """Returns when all that was heard is durable and no connection is left, or the grace is over."""
        self._log.info("daemon.stopping", grace=self._grace)
        plugins = self._parts.registry.notify_stopping()
        await self._within(self._grace / 4, plugins, "plugins do not finish")
        if self._spool_is_open:
            await self._deliver(self._until - self._grace * (1 - SINKS_SHARE))
        await self._hear_no_more()
        if self._spool_is_open:
            closing = self._parts.spool.close()
            await self._within(self._left(), closing, "the spool could not be closed in order")

    async def _deliver(self, until: float) -> None:
        """Sinks get what was heard up to now; what is heard from now on stays in the spool."""
        parts = self._parts
        parts.tasks.end("redelivery")
        parts.source.flush()
        flushing = self._left(until) / 2
        await self._within(flushing, parts.spool.flush(), "the disk does not take what was heard")
        await parts.deliveries.finish(self._left(until))
        for status in parts.couriers():
            if status.lag:
                self._log.warning(
                    "sink.undelivered",
                    sink=status.sink,
                    events=status.lag,
                    last_error=status.health.last_error,
                )

    async def _hear_no_more(self) -> None:
        parts = self._parts
        parts.nodes.closing = True
        parts.tasks.end("beat")
        # The last sign of life: from here on nobody can be sure to listen.
        left = self._left()
        parts.beating.beat()
        leaving = parts.rooms.leave(parts.client)
        await self._within(min(LEAVE_TIMEOUT, left / 4), leaving, "rooms could not be left")
        closing = max(LEAST_CLOSE, min(LEAVE_TIMEOUT, self._left() / 2))
        await self._within(closing, parts.client.close_and_wait(), "nodes do not let go")
        parts.source.flush()

    def _left(self, until: float | None = None) -> float:
        return max(0.1, (self._until if until is None else until) - self._parts.clock.monotonic())

    async def _within(self, seconds: float, work: Coroutine[Any, Any, Any], complaint: str) -> None:
        """Do what should be done at the end, but let nothing keep the daemon from ending."""
        try:
            async with asyncio.timeout(seconds):
                await work
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest must still be stopped
            self._log.warning(
                "daemon.stop_incomplete", reason=complaint, error=str(error) or type(error).__name__
            )
