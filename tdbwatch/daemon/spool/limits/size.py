"""The file is no larger than it may be: what is delivered makes way first, then what `when_full` says."""

import time
from dataclasses import dataclass
from typing import Final

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.limits.chores import Step, undelivered
from tdbwatch.daemon.spool.limits.settings import Limits
from tdbwatch.daemon.spool.stored import orders
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.spool.stored.drops import MAX_SIZE, Tally
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.schema import free_bytes, used_bytes
from tdbwatch.daemon.spool.stored.store import Store

STEP: Final = 1_000
"""Blocks looked at in one step."""
STEP_BYTES: Final = 4 << 20
"""Bytes deleted in one step, where more must go."""
_COARSE, _FINE = 64, 1_024
"""One part in so many of `max_size` goes at once; the fine one where replays may still ask for it."""
_AGAIN: Final = 1.0
"""Seconds between looks at blocks that had to stay."""
_GAP_BYTES: Final = 500
"""What a gap record takes in the file, roughly."""
_TIGHT: Final = 16
"""With less than one part in so many of `max_size` left there is no space for gap records."""
_ROW_BYTES: Final = 150
_BLOCKS: Final = (
    "SELECT first_seq, count, scope, room, target, length(body) FROM blocks"
    " WHERE first_seq > ? ORDER BY first_seq LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class _Sized:
    block: Gone
    size: int


def _after(store: Store, position: int) -> list[_Sized]:
    """The next blocks, without what is in them."""
    return [
        _Sized(Gone(first_seq, count, Lane(scope, room), target), size + _ROW_BYTES)
        for first_seq, count, scope, room, target, size in store.connection.execute(_BLOCKS, (position, STEP))
    ]


class Delivered:
    """Finds what every sink has, the oldest first, wherever it is in the log."""

    def __init__(self) -> None:
        self._position = 0
        self._version = -1
        self._again_at = 0.0

    def oldest(self, store: Store, reach: Reach, aim: int) -> list[Gone]:
        """Blocks of about `aim` bytes in all; none: there is nothing, or nothing in reach of one step."""
        now = time.monotonic()
        if store.version != self._version and now >= self._again_at:  # some that had to stay may go now
            self._position, self._version, self._again_at = 0, store.version, now + _AGAIN
        floor = store.last_seq if reach.floor is None else reach.floor
        found: list[Gone] = []
        while not found and (rows := self._rows(store, floor)):
            for row in rows:
                self._position = row.block.first_seq
                if reach.finished(row.block.last_seq, row.block.lane, row.block.target):
                    found.append(row.block)
                    aim -= row.size
                    if aim <= 0:
                        break
        return found

    def _rows(self, store: Store, floor: int) -> list[_Sized]:
        return [row for row in _after(store, self._position) if row.block.last_seq <= floor]


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
        if doomed := self._delivered.oldest(store, reach, aim):
            store.delete(doomed, Tally(MAX_SIZE))
            return Step(doomed)
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

    def refuses(self, store: Store, reach: Reach) -> bool:
        """Under `drop_newest`: whether the file is full of what some sink is still to get."""
        while used_bytes(store.connection) > self._limits.max_size:
            if not (doomed := self._delivered.oldest(store, reach, STEP_BYTES)):
                return True
            store.delete(doomed, Tally(MAX_SIZE))
        return False

    def takes_copies(self, store: Store, reach: Reach, size: int) -> bool:
        """Whether copies of `size` bytes take no space but that of what is delivered."""
        limits = self._limits
        surplus = used_bytes(store.connection) + size + limits.headroom - limits.max_size
        return surplus <= 0 or _delivered_bytes(store, reach, surplus) >= surplus

    def relieve(self, store: Store, reach: Reach) -> list[Gone]:
        """Find space on the disk, and within the file, for what it does not take. Only the delivered goes.

        Raises:
            sqlite3.Error: not even that can be written.
        """
        gone: list[Gone] = []
        store.empty_log()
        while (missing := store.space.reserve - free_bytes(store.connection)) > 0:
            if not (doomed := self._delivered.oldest(store, reach, min(missing, STEP_BYTES))):
                break
            store.delete(doomed, Tally(MAX_SIZE))
            store.empty_log()
            gone += doomed
        return gone


def _oldest(store: Store, aim: int) -> list[Gone]:
    found: list[Gone] = []
    for row in _after(store, 0):
        found.append(row.block)
        aim -= row.size
        if aim <= 0:
            break
    return found


def _delivered_bytes(store: Store, reach: Reach, enough: int) -> int:
    """Bytes of what every sink has, as far as they matter."""
    floor, position, size = store.last_seq if reach.floor is None else reach.floor, 0, 0
    while size < enough and (rows := _after(store, position)):
        for row in rows:
            position = row.block.first_seq
            if row.block.last_seq <= floor and reach.finished(
                row.block.last_seq, row.block.lane, row.block.target
            ):
                size += row.size
        if rows[-1].block.last_seq > floor:
            break
    return size
