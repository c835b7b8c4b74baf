"""Event ids: UUIDv7 (RFC 9562), strictly growing within a process, unique between processes."""

import os
import random
from collections.abc import Iterator
from typing import Final

from tdbwatch.clock import SYSTEM_CLOCK, Clock

MOST_IN_A_RUN: Final = 1 << 12
"""Ids that can follow each other: the counter has 12 bits."""
_SEQUENCE: Final = tuple(f"{number:03x}" for number in range(MOST_IN_A_RUN))
_VARIANT: Final = 0x8000000000000000
_RANDOM_BITS: Final = 62


class IdMint:
    """Mints ids and their times. Not for use from several threads at once.

    The 48 bits of milliseconds are followed by a counter in `rand_a` (RFC 9562, method 1); when the counter
    of one millisecond is used up, or the wall clock goes back, ids borrow from the next millisecond. The
    random bits of `rand_b` are drawn anew for each millisecond: within one, the counter tells ids apart.
    So ids that were minted together need not be kept one by one: see `ids_from`.
    """

    __slots__ = ("_milliseconds", "_random", "_rng", "_sequence", "_time")

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._time = clock.time
        self._rng = random.Random(os.urandom(16))
        self._milliseconds = -1
        self._sequence = MOST_IN_A_RUN
        self._random = 0

    def mint(self) -> tuple[str, int]:
        """A new id, and the time it was minted at in microseconds since the Unix epoch."""
        packed, _, now_us = self.mint_run(1)
        return next(ids_from(packed, 1)), now_us

    def mint_run(self, count: int) -> tuple[bytes, int, int]:
        """The first of new ids that follow each other, how many there are, and the time, as `mint`.

        At least one, `count` at most: as many as the counter has left.
        """
        now_us = int(self._time() * 1_000_000)
        if now_us // 1000 > self._milliseconds:
            self._begin(now_us // 1000)
        elif self._sequence == MOST_IN_A_RUN:
            self._begin(self._milliseconds + 1)
        first = self._sequence
        count = min(count, MOST_IN_A_RUN - first)
        self._sequence += count
        number = self._milliseconds << 80 | (0x7000 | first) << 64 | self._random
        return number.to_bytes(16, "big"), count, now_us

    def _begin(self, milliseconds: int) -> None:
        self._milliseconds, self._sequence = milliseconds, 0
        self._random = _VARIANT | self._rng.getrandbits(_RANDOM_BITS)


def ids_from(packed: bytes, count: int) -> Iterator[str]:
    """So many ids in a row, of which the first is `packed`: each has a counter one higher.

    Raises:
        ValueError: the counter of the first leaves no room for so many.
    """
    text = packed.hex()
    if not has_room_for(packed, count):
        raise ValueError(f"{count} ids do not follow {text}")
    first = _counter(packed)
    prefix, suffix = f"{text[:8]}-{text[8:12]}-{text[12]}", f"-{text[16:20]}-{text[20:]}"
    return (prefix + number + suffix for number in _SEQUENCE[first : first + count])


def has_room_for(packed: bytes, count: int) -> bool:
    """Whether so many ids in a row can begin with this one."""
    return _counter(packed) + count <= MOST_IN_A_RUN


def _counter(packed: bytes) -> int:
    return int.from_bytes(packed[6:8], "big") & 0xFFF


def packed_id(text: str) -> bytes:
    """An id as 16 bytes.

    Raises:
        ValueError: it is none.
    """
    packed = bytes.fromhex(text.replace("-", ""))
    if len(packed) != 16:
        raise ValueError(f"{text!r} is no id")
    return packed
