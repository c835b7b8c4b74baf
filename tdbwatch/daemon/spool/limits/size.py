"""The file is no larger than it may be: what is delivered makes way first, then what `when_full` says."""

from collections.abc import Callable, Iterator
from typing import Final

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.limits.chores import Step, undelivered
from tdbwatch.daemon.spool.limits.delivered import Delivered, blocks_after
from tdbwatch.daemon.spool.limits.settings import Limits
from tdbwatch.daemon.spool.stored import orders
from tdbwatch.daemon.spool.stored.drops import MAX_SIZE
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.schema import free_bytes, used_bytes
from tdbwatch.daemon.spool.stored.store import Store

STEP: Final = 1_000
"""Blocks looked at in one step."""
STEP_BYTES: Final = 4 << 20
"""Bytes deleted in one step, where more must go."""
_COARSE, _FINE = 64, 1_024
"""One part in so many of `max_size` goes at once; the fine one where replays may still ask for it."""
_GAP_BYTES: Final = 500
"""What a gap record takes in the file, roughly."""
_TIGHT: Final = 16
"""With less than one part in so many of `max_size` left there is no space for gap records."""


class Size:
    """The chore; and what others ask about the space that is left.

    Attributes:
        gap_records: how many of them, and then as many again, push out nothing undelivered.
    """

    def __init__(self, limits: Limits) -> None:
        self.gap_records = 0
        self._limits = limits
        self._delivered = Delivered()

    def step(self, store: Store, reach: Reach, now_us: int) -> Step | None:  # noqa: ARG002
        surplus = self.measure(store, reach) - self._limits.max_size
        if surplus <= 0:
            return None
        parts = _FINE if orders.replays(store.connection) else _COARSE
        aim = min(surplus + self._limits.max_size // parts, STEP_BYTES)
        if gone := self._delivered.give_up(store, reach, aim):
            return Step(gone)
        if self._limits.when_full == "drop_newest":
            return None
        doomed = _oldest(store, aim)
        tally = undelivered(store, reach, doomed, MAX_SIZE)
        store.delete(doomed, tally)
        return Step(doomed, tally) if doomed else None

    def measure(self, store: Store, reach: Reach) -> int:
        """Bytes of the file that hold something."""
        used, limits = used_bytes(store.connection), self._limits
        floor = store.last_seq if reach.floor is None else reach.floor
        delivered = max(0, floor - store.first_seq + 1) / max(1, store.last_seq - store.first_seq + 1)
        left = limits.max_size - used + int(used * min(1, delivered))
        self.gap_records = left // 2 // _GAP_BYTES if left > limits.max_size // _TIGHT else 0
        return used

    def exceeded(self, store: Store) -> bool:
        """Whether the file is too large."""
        return used_bytes(store.connection) > self._limits.max_size

    def fit(self, store: Store, reach: Reach) -> Iterator[list[Gone]]:
        """Let what is delivered go until the file is no larger than it may be, as far as there is any."""
        return self._make_way(store, reach, lambda: used_bytes(store.connection) - self._limits.max_size)

    def takes_copies(self, store: Store, reach: Reach, size: int) -> bool:
        """Whether copies of `size` bytes take no space but that of what is delivered."""
        limits = self._limits
        surplus = used_bytes(store.connection) + size + limits.headroom - limits.max_size
        return surplus <= 0 or self._delivered.hold(store, reach, surplus)

    def relieve(self, store: Store, reach: Reach) -> Iterator[list[Gone]]:
        """Find space on the disk, and within the file, for what it does not take. Only the delivered goes.

        Raises:
            sqlite3.Error: not even that can be written.
        """
        store.empty_log()
        missing = lambda: store.space.reserve - free_bytes(store.connection)  # noqa: E731
        for gone in self._make_way(store, reach, missing):
            yield gone
            store.empty_log()

    def _make_way(self, store: Store, reach: Reach, missing: Callable[[], int]) -> Iterator[list[Gone]]:
        while (size := missing()) > 0:
            if not (gone := self._delivered.give_up(store, reach, min(size, STEP_BYTES))):
                return
            yield gone


def _oldest(store: Store, aim: int) -> list[Gone]:
    found: list[Gone] = []
    for row in blocks_after(store, 0):
        found.append(row.block)
        aim -= row.size
        if aim <= 0 or len(found) == STEP:
            break
    return found
