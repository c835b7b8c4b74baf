"""Reads the log for those who look at events: so much at a time, and only when there is time for it."""

import asyncio
from collections import deque
from typing import Final, NamedTuple, Protocol

from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.daemon.status.tail.filter import Filter
from tdbwatch.plugin import Event

LATEST: Final = 100
"""Events that are shown at first."""
_BACK: Final = (2_000, 200, 20, 1)
"""How many of the last entries are looked at for these: the first number of them that is not too large."""
_AT_ONCE: Final = 64 * 1024
"""Bytes of events that are looked at in one go."""
_FAR: Final = 5_000
"""Entries; who is further behind goes on with the last ones."""
_IN_A_ROW: Final = 100
"""Events that are looked at before others have their turn."""
_MOST_WANTED: Final = 200
"""Events that are shown in one go; more than that nobody can read."""


class Log(Protocol):
    """The spool, as far as it is needed here."""

    @property
    def last_seq(self) -> int:
        """The newest durable entry; 0 when there never was one."""

    async def read(self, after: int, max_bytes: int) -> list[Block]:
        """Whole blocks, in order, of which the first has an entry after `after`; about so many bytes."""

    async def unhurried(self) -> None:
        """Return when what waits for the disk leaves time for anything else."""


class Found(NamedTuple):
    """What there is to be shown.

    Attributes:
        events: the oldest first.
        position: the last entry that was looked at.
        unseen: entries that nobody looked at, since there were too many.
    """

    events: list[Event]
    position: int
    unseen: int = 0


async def latest(log: Log, wanted: Filter) -> Found:
    """The last events that are wanted.

    Raises:
        SpoolError: the log cannot be read.
        ValueError: it is damaged.
    """
    end = log.last_seq
    events: deque[Event] = deque(maxlen=LATEST)
    blocks: list[Block] = []
    back = 0
    for back in _BACK:
        blocks = await log.read(max(0, end - back), 4 * _AT_ONCE)
        if not blocks or blocks[-1].last_seq >= end:
            break
    for block in blocks:
        events += await _picked(block, max(0, end - back), wanted)
    return Found(list(events), max(end, blocks[-1].last_seq if blocks else 0))


async def after(log: Log, position: int, wanted: Filter) -> Found:
    """What has come since.

    Raises:
        SpoolError: the log cannot be read; try again later.
        ValueError: it is damaged.
    """
    end, unseen = log.last_seq, 0
    if position > end:  # the number is of another log
        position = end
    if end - position > _FAR:
        position, unseen = end - _MOST_WANTED, end - _MOST_WANTED - position
    if position == end:
        return Found([], end, unseen)
    await log.unhurried()
    events: list[Event] = []
    blocks = await log.read(position, _AT_ONCE)
    for block in blocks:
        events += await _picked(block, position, wanted)
        position = block.last_seq
        if len(events) >= _MOST_WANTED:
            unseen += len(events) - _MOST_WANTED + max(0, end - position)
            return Found(events[:_MOST_WANTED], max(end, position), unseen)
    return Found(events, position if blocks else end, unseen)


async def _picked(block: Block, after: int, wanted: Filter) -> list[Event]:
    """What is wanted of a block. Copies for one sink are none of ours: they were shown before."""
    if block.target is not None or not wanted.wants_room(block.lane.room):
        return []
    names = {name for _, name in block.names if wanted.wants_event(name)}
    named = [event for seq, event in block.numbered() if seq > after and event.event in names]
    found: list[Event] = []
    for start in range(0, len(named), _IN_A_ROW):
        found += filter(wanted.wants, named[start : start + _IN_A_ROW])
        await asyncio.sleep(0)
    return found
