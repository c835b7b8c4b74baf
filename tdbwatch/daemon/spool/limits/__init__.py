"""How much the spool keeps, and what it gives up first."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from tdbwatch.daemon.spool.api import WhenFull

_MOST_HEADROOM: Final = 64 << 20
_EVENT_SHARE: Final = 4
"""A single event may take one part in so many of `max_size`."""
_BLOCK_SHARE: Final = 64
_BLOCK_BYTES: Final = 256 << 10
_LEAST_BLOCK: Final = 4 << 10
_REDELIVERY_BYTES: Final = 1 << 20
_GROUP_SHARE: Final = 16
_GROUP_BYTES: Final = 8 << 20
_LEAST_LOG: Final = 256 << 20
_LOG_SHARE: Final = 2


@dataclass(frozen=True)
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

    @cached_property
    def max_event(self) -> int:
        """Bytes of a single event: too many others would have to go for a larger one."""
        return min(self.max_held - _LEAST_BLOCK, self.max_size // _EVENT_SHARE)

    @cached_property
    def block_bytes(self) -> int:
        """A block that has so many is full: what is read, decoded and given up at once stays small."""
        return max(
            _LEAST_BLOCK, min(_BLOCK_BYTES, self.max_size // _BLOCK_SHARE, self.max_held // _BLOCK_SHARE)
        )

    @cached_property
    def group_bytes(self) -> int:
        """Bytes of events in one commit: bounds its memory, and the time until couriers see its first."""
        return max(_LEAST_BLOCK, min(_GROUP_BYTES, self.max_size // _GROUP_SHARE))

    @cached_property
    def redelivery_bytes(self) -> int:
        """Bytes of copies that are made at once: a step that is too large for the spool would never go."""
        return max(_LEAST_BLOCK, min(_REDELIVERY_BYTES, self.max_size // _BLOCK_SHARE))

    @cached_property
    def max_log(self) -> int:
        """Bytes of SQLite's log, which grows while another process reads: a backup of much takes its time."""
        return max(_LEAST_LOG, self.max_size // _LOG_SHARE)

    @cached_property
    def headroom(self) -> int:
        """Bytes that what people ask for leaves to what comes in."""
        return min(self.max_size // 16, _MOST_HEADROOM)
