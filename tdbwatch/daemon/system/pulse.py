"""Whether the parts that carry events make progress: systemd's watchdog is fed only while they do.

A task that dies is noticed elsewhere. This is for one that lives and does nothing: only a restart helps it.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final, Protocol

import structlog

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers import Courier, CourierStatus

INTERVAL: Final = 10.0
"""Seconds between two looks, at most."""
PATIENCE: Final = 300.0
"""Seconds for which a part may stand still: a disk may be slow."""


class Spool(Protocol):
    """What is asked of the spool."""

    @property
    def turns(self) -> int:
        """How often the writer has come round; it does so each second, even with nothing to write."""

    @property
    def held(self) -> int:
        """Events that wait for a commit."""

    @property
    def excused(self) -> bool:
        """Whether the writer may take its time, for a reason that a restart does not mend."""


class Pulse:
    """Looks at the writer and the couriers, and remembers where each of them was.

    It counts looks and not seconds, so that a process that was stopped for a while is not blamed for it.

    Args:
        within: seconds within which somebody wants a sign of life; None: nobody does.

    Attributes:
        interval: seconds between two looks.
        stalled: what stands still; empty: nothing does.
    """

    def __init__(
        self, spool: Spool, couriers: Callable[[], Sequence[Courier]], within: float | None = None
    ) -> None:
        self.interval = interval = min(INTERVAL, within or INTERVAL)
        self.stalled = ""
        self._spool = spool
        self._couriers = couriers
        self._most = math.ceil(PATIENCE / interval)
        self._marks: dict[str, tuple[Hashable, int]] = {}
        self._log = structlog.get_logger("tdbwatch")

    async def run(self, alive: Callable[[], None], clock: Clock) -> None:
        """Give the sign of life as long as the loop turns and all that carries events moves."""
        while True:
            if self.look():
                alive()
            await clock.sleep(self.interval)

    def look(self) -> bool:
        """Whether all of them make progress, or have nothing to do."""
        self._marks = {name: (mark, self._looks(name, mark)) for name, mark in self._now()}
        stalled = next((name for name, (_, looks) in self._marks.items() if looks >= self._most), "")
        if stalled and not self.stalled:
            self._log.critical(
                "daemon.stalled",
                part=stalled,
                remedy="systemd's watchdog restarts it; without one, restart it. Please report it",
            )
        self.stalled = stalled
        return not stalled

    def _looks(self, name: str, mark: Hashable) -> int:
        """How often it was seen before where it is."""
        before, looks = self._marks.get(name, (None, 0))
        return looks + 1 if before == mark else 0

    def _now(self) -> Iterator[tuple[str, Hashable]]:
        """Where each part is that should move."""
        if self._spool.excused:
            return
        yield "the spool's writer", self._spool.turns
        if self._spool.held:  # what comes in goes first
            return
        for courier in self._couriers():
            if should_move(status := courier.status()):
                counts = status.counts
                finished = (counts.delivered, counts.retried, counts.rejected, counts.dead)
                yield f"the courier of {status.sink}", (courier.position, *finished)


def should_move(courier: CourierStatus) -> bool:
    """Whether a courier has something to do, and waits for nothing that has an end of its own."""
    waits = courier.in_flight or courier.waiting or courier.next_try_us is not None
    return bool(courier.lag) and courier.state == "running" and not waits
