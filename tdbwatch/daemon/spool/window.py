"""The newest blocks, in memory: sinks that are caught up share them and never touch the disk."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.stored.blocks import Block

_SLACK = 8
"""One part in so many goes beyond the bound: a slice now and then costs less than one each time."""


class Window:
    """The end of the log, bounded by its weight in bytes: what is not in it is not in the log."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._first_seq: int | None = None  # where it begins
        self._blocks: list[Block] = []
        self._ends: list[int] = []  # the last seq of each
        self._bytes = 0

    def snapshot(self) -> list[Block]:
        """What is held now. The only method that other threads may call."""
        return self._blocks[:]

    def extend(self, blocks: Sequence[Block]) -> None:
        """Take the blocks that follow; forget the oldest beyond the bound."""
        if self._first_seq is None and blocks:
            self._first_seq = blocks[0].first_seq
        for block in blocks:
            self._blocks.append(block)
            self._ends.append(block.last_seq)
            self._bytes += block.weight
        if self._bytes > self._max_bytes + self._max_bytes // _SLACK:
            self._shrink()

    def forget(self, gone: Iterable[Gone]) -> None:
        """The log has given these up: whoever has not read them yet does not get them any more."""
        first_seq = self._first_seq
        doomed = {one.first_seq for one in gone if first_seq is not None and one.first_seq >= first_seq}
        if doomed:
            self._blocks = [block for block in self._blocks if block.first_seq not in doomed]
            self._ends = [block.last_seq for block in self._blocks]
            self._bytes = sum(block.weight for block in self._blocks)

    def read(self, after: int, max_bytes: int) -> list[Block] | None:
        """The blocks with entries after `after`; None when the first of them may not be held."""
        if self._first_seq is None or after + 1 < self._first_seq:
            return None
        found: list[Block] = []
        for index in range(bisect_right(self._ends, after), len(self._blocks)):
            found.append(block := self._blocks[index])
            max_bytes -= len(block.body)
            if max_bytes <= 0:
                break
        return found

    def _shrink(self) -> None:
        count = 0
        while self._bytes > self._max_bytes and count < len(self._blocks):
            self._bytes -= self._blocks[count].weight
            count += 1
        self._first_seq = self._ends[count - 1] + 1
        del self._blocks[:count], self._ends[:count]
