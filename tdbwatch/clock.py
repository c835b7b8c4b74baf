"""Time as a dependency, so that tests can turn the hands themselves."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the code asks of time. Seconds everywhere, as floats."""

    def time(self) -> float:
        """Seconds since the Unix epoch (the wall clock: it may jump)."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed point (never jumps)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; end early only by cancellation."""
        ...


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
