"""Event ids: UUIDv7 (RFC 9562), strictly growing within a process, unique between processes."""

import os
import random
from typing import Final

from tdbwatch.clock import SYSTEM_CLOCK, Clock

_SEQUENCE_BITS: Final = 12
_RANDOM_BITS: Final = 62


class IdMint:
    """Mints ids and their times. Not for use from several threads at once.

    The 48 bits of milliseconds are followed by a counter in `rand_a` (RFC 9562, method 1); when the counter
    of one millisecond is used up, or the wall clock goes back, ids borrow from the next millisecond.
    """

    __slots__ = ("_clock", "_head", "_rng")

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._rng = random.Random(os.urandom(16))
        self._head = 0  # milliseconds << 12 | counter

    def mint(self) -> tuple[str, int]:
        """A new id, and the time it was minted at in microseconds since the Unix epoch."""
        now = self._clock.time()
        head = max(int(now * 1000) << _SEQUENCE_BITS, self._head + 1)
        self._head = head
        milliseconds, sequence = head >> _SEQUENCE_BITS, head & 0xFFF
        tail = f"{0x8000000000000000 | self._rng.getrandbits(_RANDOM_BITS):016x}"
        stamp = f"{milliseconds:012x}"
        return f"{stamp[:8]}-{stamp[8:]}-7{sequence:03x}-{tail[:4]}-{tail[4:]}", int(now * 1_000_000)
