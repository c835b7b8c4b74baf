"""How much a courier keeps in memory, and may keep. Pure."""

from collections.abc import Iterable, Sequence

from tdbwatch.daemon.couriers.pieces import Piece
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.spool.stored.blocks import Block

MOST_BYTES = 16 << 20
_FIRST_GUESS = 256.0


class Memory:
    """Counts the unfinished entries of one sink that are in memory.

    Attributes:
        count: entries.
        size: bytes that they count for.
    """

    def __init__(self, settings: CourierSettings, max_bytes: int = MOST_BYTES) -> None:
        batch, batches = (
            settings.batch,
            settings.max_in_flight + 1,
        )  # one is made while others are on their way
        self._max_count = max(settings.max_ahead, batch.count * batches)
        self._max_bytes = max(max_bytes, batch.max_bytes * batches)
        self._body_bytes = _FIRST_GUESS
        self.count = 0
        self.size = 0

    @property
    def full(self) -> bool:
        return self.count >= self._max_count or self.size >= self._max_bytes

    def take(self, pieces: Iterable[Piece]) -> None:
        """These are kept."""
        for piece in pieces:
            self.count += piece.count
            self.size += piece.size

    def give(self, pieces: Iterable[Piece]) -> None:
        """These are kept no longer."""
        for piece in pieces:
            self.count -= piece.count
            self.size -= piece.size

    def learn(self, blocks: Sequence[Block]) -> None:
        """These were read."""
        if count := sum([block.count for block in blocks]):
            mean = sum([len(block.body) for block in blocks]) / count
            self._body_bytes += (mean - self._body_bytes) / 4

    def to_read(self, count: int | None = None) -> int:
        """How many bytes of entries to read: as many as there is space for, or about as `count` have."""
        space = max(1, self._max_count - self.count) if count is None else count
        return max(1, int(min(self._max_bytes - self.size, space * self._body_bytes)))
