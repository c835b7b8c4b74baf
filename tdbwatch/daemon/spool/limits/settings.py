"""What the configuration says about how much the spool keeps."""

from dataclasses import dataclass
from typing import Final

from tdbwatch.daemon.spool.api import WhenFull

_MOST_HEADROOM: Final = 64 << 20
EVENT_SHARE: Final = 4
"""A single event may take one part in so many of `max_size`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the spool keeps.

    Attributes:
        max_size: bytes of the file.
        max_age: seconds since an event was received, or the copy of one made.
        when_full: what is given up when even the undelivered is too much.
        max_dead_letters: the oldest beyond this many are given up.
        max_held: bytes of events kept in memory while the disk does not take them.
        window: bytes of the newest events kept in memory for sinks that are caught up.
    """

    max_size: int = 1 << 30
    max_age: float = 7 * 86_400.0
    when_full: WhenFull = "drop_oldest"
    max_dead_letters: int = 100_000
    max_held: int = 64 << 20
    window: int = 48 << 20

    @property
    def headroom(self) -> int:
        """Bytes that what people ask for leaves to what comes in."""
        return min(self.max_size // 16, _MOST_HEADROOM)
