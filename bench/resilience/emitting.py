"""Emits at a steady rate, and remembers what became of each emit."""

import asyncio
import time
from collections.abc import Hashable
from typing import Any, Final

from bench.resilience.verdict import Emitted
from tdbwatch.client import Client
from tdbwatch.exceptions import NodeError

TICK: Final = 0.01
"""Seconds between two bursts; a burst is what the rate demands for that time."""
MAX_OUTSTANDING: Final = 5000
"""Emits whose answers may be waited for; beyond it some are left out, which `sent` shows."""
TIMEOUT: Final = 60.0
"""Seconds for one emit, waiting for a connection included."""
IDENTICAL: Final = 5
"""With identical payloads, one in so many has the same one."""
SAME: Final = "same"


class Emitting:
    """One room's emits: numbered, and with `identical` one in five without a number."""

    def __init__(self, client: Client, scope: str, room_id: int, rate: float, *, identical: bool) -> None:
        self.client = client
        self.sent: list[Emitted] = []
        self.unsure: list[Hashable] = []
        self.refused = 0
        """Emits that no node executed."""
        self._scope, self._room_id, self._rate, self._identical = scope, room_id, rate, identical
        self._outstanding: set[asyncio.Future[None]] = set()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Emit until `stop`, then wait for the answers that are missing."""
        start, count = time.monotonic(), 0
        while not self._stopped.is_set():
            due = int((time.monotonic() - start) * self._rate)
            for number in range(count, due):
                if len(self._outstanding) < MAX_OUTSTANDING:
                    self._emit(number)
            count = due
            await asyncio.sleep(TICK)
        if self._outstanding:
            await asyncio.wait(self._outstanding, timeout=TIMEOUT + 5)

    def stop(self) -> None:
        self._stopped.set()

    def _emit(self, number: int) -> None:
        payload = SAME if self._identical and number % IDENTICAL == 0 else number
        at = time.time()
        emit = self.client.emit(self._room_id, "tick", payload, scope=self._scope, timeout=TIMEOUT)
        future = asyncio.create_task(emit)
        self._outstanding.add(future)
        future.add_done_callback(lambda future: self._answered(future, payload, at))

    def _answered(self, future: "asyncio.Future[Any]", payload: Hashable, at: float) -> None:
        self._outstanding.discard(future)
        error = None if future.cancelled() else future.exception()
        if error is None:
            self.sent.append(Emitted(payload, at))
        elif isinstance(error, NodeError):
            self.refused += 1
        else:
            self.unsure.append(payload)
