"""What rooms that wait have in the spool only, so that they leave the memory to other rooms. Pure."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tdbwatch.daemon.couriers.parcel import Room, room_of
from tdbwatch.daemon.spool.api import Entry

_BLOCK: Final = 64


@dataclass(slots=True)
class _Tail:
    """All entries of a room from `first` on, up to where the log was read.

    They are counted in blocks, so that those can be told which the spool has dropped meanwhile.

    Attributes:
        blocks: the newest entry and the number of entries of each, oldest first.
    """

    first: int = 0
    blocks: deque[tuple[int, int]] = field(default_factory=deque)

    @property
    def count(self) -> int:
        return sum(count for _, count in self.blocks)

    def append(self, seq: int) -> None:
        if self.blocks and self.blocks[-1][1] < _BLOCK:
            self.blocks[-1] = (seq, self.blocks[-1][1] + 1)
        else:
            self.blocks.append((seq, 1))

    def prepend(self, seqs: Sequence[int]) -> None:
        self.first = seqs[0]
        for end in range(len(seqs), 0, -_BLOCK):
            self.blocks.appendleft((seqs[end - 1], min(end, _BLOCK)))

    def cut(self, through: int, taken: Iterable[int] = ()) -> None:
        """Nothing up to `through` is left; these were taken of it."""
        newest = 0
        while self.blocks and self.blocks[0][0] <= through:
            newest, _ = self.blocks.popleft()
        if begun := sum(1 for seq in taken if seq > newest):
            last, count = self.blocks[0]
            self.blocks[0] = (last, count - begun)
        self.first = max(self.first, through + 1)


class Tails:
    """The tails of rooms. What is in memory of such a room is older than its tail.

    Attributes:
        due: the rooms that may go on: their tails are to be read again.
    """

    def __init__(self) -> None:
        self._tails: dict[Room, _Tail] = {}
        self.due: set[Room] = set()

    def __bool__(self) -> bool:
        return bool(self._tails)

    @property
    def count(self) -> int:
        """Entries in all of them, as far as is known."""
        return sum(tail.count for tail in self._tails.values())

    @property
    def first(self) -> int | None:
        """Where to begin to read again. Tails that are not due are younger than what holds their room."""
        return min((self._tails[room].first for room in self.due), default=None)

    def firsts(self) -> Iterable[tuple[Room, int]]:
        """By room, where its tail begins."""
        return [(room, tail.first) for room, tail in self._tails.items()]

    def grow(self, room: Room, entries: Sequence[Entry]) -> None:
        """These leave the memory, in no order: they come right before the room's tail."""
        self._tails.setdefault(room, _Tail()).prepend(sorted(entry.seq for entry in entries))

    def without(self, entries: Iterable[Entry]) -> list[Entry]:
        """Of entries that are read for the first time those of no tail; the others make tails longer."""
        others = []
        for entry in entries:
            if (tail := self._tails.get(room_of(entry))) is None:
                others.append(entry)
            else:
                tail.append(entry.seq)
        return others

    def forget(self, first_seq: int) -> None:
        """The spool has dropped the entries before this one."""
        for tail in self._tails.values():
            tail.cut(first_seq - 1)

    def hold(self, rooms: Collection[Room]) -> None:
        """These rooms wait."""
        self.due.difference_update(rooms)

    def release(self, rooms: Collection[Room]) -> None:
        """These rooms may go on."""
        self.due.update(self._tails.keys() & rooms)

    def take(self, entries: Iterable[Entry], since: int, through: int) -> list[Entry]:
        """Of all entries from `since` through `through`, read again, those of tails that are due."""
        due = {room: self._tails[room] for room in self.due if self._tails[room].first >= since}
        taken: dict[Room, list[int]] = {room: [] for room in due}
        found = []
        for entry in entries:
            room = room_of(entry)
            if room in due and due[room].first <= entry.seq <= through:
                found.append(entry)
                taken[room].append(entry.seq)
        for room, tail in due.items():
            tail.cut(through, taken[room])
        return found

    def end(self, position: int) -> None:
        """No tail goes further than the log was read: forget those that ended."""
        for room in [room for room in self.due if self._has_ended(self._tails[room], position)]:
            del self._tails[room]
            self.due.discard(room)

    def _has_ended(self, tail: _Tail, position: int) -> bool:
        return not tail.blocks or tail.first > position  # its entries may have been dropped
