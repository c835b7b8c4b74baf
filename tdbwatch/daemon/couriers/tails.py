"""What rooms that wait have in the spool only, so that they leave the memory to other rooms. Pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tdbwatch.daemon.couriers.parcel import Room, room_of
from tdbwatch.daemon.spool.api import Entry


@dataclass(slots=True)
class _Tail:
    """All entries of a room from `first` on, up to where the log was read."""

    first: int
    count: int


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
        """Entries in all of them."""
        return sum(tail.count for tail in self._tails.values())

    @property
    def first(self) -> int | None:
        """Where to begin to read again. Tails that are not due are younger than what holds their room."""
        return min((self._tails[room].first for room in self.due), default=None)

    def grow(self, room: Room, entries: Sequence[Entry]) -> None:
        """These leave the memory, in no order: they come right before the room's tail."""
        tail = self._tails.setdefault(room, _Tail(0, 0))
        tail.first = min(entry.seq for entry in entries)
        tail.count += len(entries)

    def without(self, entries: Iterable[Entry]) -> list[Entry]:
        """Of entries that are read for the first time those of no tail; the others make tails longer."""
        others = []
        for entry in entries:
            if (tail := self._tails.get(room_of(entry))) is None:
                others.append(entry)
            else:
                tail.count += 1
        return others

    def hold(self, rooms: Collection[Room]) -> None:
        """These rooms wait."""
        self.due.difference_update(rooms)

    def release(self, rooms: Collection[Room]) -> None:
        """These rooms may go on."""
        self.due.update(self._tails.keys() & rooms)

    def take(self, entries: Iterable[Entry], since: int, through: int) -> list[Entry]:
        """Of all entries from `since` through `through`, read again, those of tails that are due."""
        due = {room: self._tails[room] for room in self.due if self._tails[room].first >= since}
        taken = []
        for entry in entries:
            if (tail := due.get(room_of(entry))) and tail.first <= entry.seq <= through:
                taken.append(entry)
                tail.count -= 1
        for each in due.values():
            each.first = max(each.first, through + 1)
        return taken

    def end(self, position: int) -> None:
        """No tail goes further than the log was read: forget those that ended."""
        for room in [room for room in self.due if self._has_ended(self._tails[room], position)]:
            del self._tails[room]
            self.due.discard(room)

    def _has_ended(self, tail: _Tail, position: int) -> bool:
        return not tail.count or tail.first > position  # its entries may have been dropped
