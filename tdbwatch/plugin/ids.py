"""Event ids: UUIDv7 (RFC 9562), strictly growing within a process, unique between processes."""

import os
import random
from typing import Final

from tdbwatch.clock import SYSTEM_CLOCK, Clock

_SEQUENCE: Final = tuple(f"{number:03x}" for number in range(1 << 12))
_VARIANT: Final = 0x8000000000000000
_RANDOM_BITS: Final = 62


class IdMint:
    """Mints ids and their times. Not for use from several threads at once.

    The 48 bits of milliseconds are followed by a counter in `rand_a` (RFC 9562, method 1); when the counter
    of one millisecond is used up, or the wall clock goes back, ids borrow from the next millisecond. The
    random bits of `rand_b` are drawn anew for each millisecond: within one, the counter tells ids apart.
    """

    __slots__ = ("_milliseconds", "_prefix", "_rng", "_sequence", "_suffix", "_time")

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._time = clock.time
        self._rng = random.Random(os.urandom(16))
        self._milliseconds = -1
        self._sequence = 0
        self._prefix = self._suffix = ""

    def mint(self) -> tuple[str, int]:
        """A new id, and the time it was minted at in microseconds since the Unix epoch."""
        now_us = int(self._time() * 1_000_000)
        self._sequence += 1
        if now_us // 1000 > self._milliseconds:
            self._begin(now_us // 1000)
        elif self._sequence == len(_SEQUENCE):
            self._begin(self._milliseconds + 1)
        return self._prefix + _SEQUENCE[self._sequence] + self._suffix, now_us

    def _begin(self, milliseconds: int) -> None:
        stamp = f"{milliseconds:012x}"
        tail = f"{_VARIANT | self._rng.getrandbits(_RANDOM_BITS):016x}"
        self._milliseconds, self._sequence = milliseconds, 0
        self._prefix, self._suffix = f"{stamp[:8]}-{stamp[8:]}-7", f"-{tail[:4]}-{tail[4:]}"
