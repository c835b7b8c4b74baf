"""How a courier learns that people asked for its sink to be delivered to again."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tdbwatch.clock import Clock

SILENCE: Final = 5.0
"""Seconds without a request, after which one that is there is another one. The spool looks each second."""


class Orders:
    """Tells a request that is new from one that goes on.

    While a request for a sink waits or is served, the spool asks again and again how far behind the sink is.
    That it asks at all is what we go by, so nothing has to be looked up on disk.

    Args:
        backlog: how far behind the sink is, given the newest entry.
        new: called in the event loop once for each request.
    """

    def __init__(self, backlog: Callable[[int], int], new: Callable[[], None], clock: Clock) -> None:
        self._backlog = backlog
        self._new = new
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._asked_at = float("-inf")

    def backlog(self, last_seq: int) -> int:
        """As the spool wants to know it. Called in the spool's thread."""
        now, before = self._clock.monotonic(), self._asked_at
        self._asked_at = now
        if now - before > SILENCE:
            with suppress(RuntimeError):  # the loop is gone: it stops
                self._loop.call_soon_threadsafe(self._new)
        return self._backlog(last_seq)
