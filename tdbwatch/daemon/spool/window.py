"""The newest blocks, in memory: sinks that are caught up share them and never touch the disk."""

from bisect import bisect_right
from collections.abc import Iterable

from tdbwatch.daemon.spool.stored.blocks import Block


class Window:
    """The end of the log, without holes, bounded by its weight in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._blocks: list[Block] = []
        self._ends: list[int] = []  # the last seq of each
        self._bytes = 0

    def snapshot(self) -> list[Block]:
        """What is held now. The only method that other threads may call."""
        return self._blocks[:]

    def extend(self, blocks: Iterable[Block]) -> None:
        """Take the blocks that follow; forget the oldest beyond the bound."""
        for block in blocks:
            self._blocks.append(block)
            self._ends.append(block.last_seq)
            self._bytes += block.weight
        if (
            self._bytes > self._max_bytes + self._max_bytes // 8
        ):  # a slice now and then costs less than each time
            self._shrink()

    def clear(self) -> None:
        self._blocks, self._ends, self._bytes = [], [], 0

    def read(self, after: int, max_bytes: int) -> list[Block] | None:
        """The blocks with entries after `after`; None when the first of them may not be held."""
        if not self._blocks or after + 1 < self._blocks[0].first_seq:
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
        del self._blocks[:count], self._ends[:count]
