"""An event loop on real sockets whose time only passes when nothing else can happen.

Hours of a schedule take milliseconds, and nothing depends on how fast this machine is. Bytes written to a
loopback socket can be read at once, or, where the kernel is busy, no later than those written after them. So
when a datagram of our own has come round and still no socket is ready, everything that could happen has
happened, and the next timer is due. Time goes in steps nevertheless, and sockets are looked at before each.
"""

import asyncio
import selectors
import socket
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

EPOCH: Final = 1_700_000_000.0
"""What the wall clock shows when a loop begins, in seconds since the Unix epoch."""
STEP: Final = 1.0
"""Seconds; the most that passes without a look at the sockets."""
TURN: Final = 1e-5
"""Seconds that a turn of the loop takes: who waits for the rest of a moment must not wait for ever."""
STUCK: Final = 10.0
"""Real seconds after which a wait that no timer ends is a mistake of the test's."""

_T = TypeVar("_T")


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._round = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._round.bind(("127.0.0.1", 0))
        self._round.connect(self._round.getsockname())
        self._round.settimeout(STUCK)

    def close(self) -> None:
        super().close()
        self._round.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += TURN
        if (ready := super().select(0)) or timeout == 0:
            return ready
        self._round.send(b".")
        self._round.recv(1)
        if ready := super().select(0):
            return ready
        if timeout is None:
            if not (ready := super().select(STUCK)):
                raise RuntimeError("everything waits, and no timer is set: nothing will ever happen")
            return ready
        self.now += min(timeout, STEP)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; `time` starts at 0."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


class LoopClock:
    """The running loop's time as a `tdbwatch.clock.Clock`."""

    def time(self) -> float:
        return EPOCH + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run it to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
