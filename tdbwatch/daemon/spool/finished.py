"""Which entries beyond its cursor a sink is finished with. Pure."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

_YES = b"\x01"


class Finished(AbstractSet[int]):
    """A set of entries that takes a byte for each entry up to the last, so millions of them are little.

    Args:
        after: no entry up to this one is in it.
        through: nor any beyond this one.

    Attributes:
        last: the newest entry in it; 0: it is empty.
    """

    __slots__ = ("_after", "_flags", "_through", "last")

    def __init__(self, after: int = 0, through: int = 0) -> None:
        self._after = after
        self._through = through
        self._flags = bytearray()
        self.last = 0

    def __contains__(self, seq: object) -> bool:
        return (
            isinstance(seq, int)
            and self._after < seq <= self.last
            and bool(self._flags[seq - self._after - 1])
        )

    def __iter__(self) -> Iterator[int]:
        index = self._flags.find(_YES)
        while index >= 0:
            yield self._after + 1 + index
            index = self._flags.find(_YES, index + 1)

    def __len__(self) -> int:
        return self._flags.count(_YES)

    def __bool__(self) -> bool:
        return self.last > 0

    def add(self, first: int, last: int) -> None:
        """All entries from `first` to `last` are finished."""
        first, last = max(first, self._after + 1), min(last, self._through)
        if first > last:
            return
        self.last = max(self.last, last)
        start, end = first - self._after - 1, last - self._after
        self._flags += bytes(max(start - len(self._flags), 0))
        self._flags[start:end] = _YES * (end - start)
