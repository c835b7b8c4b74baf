"""What is unfinished for one sink, by lane. Pure: it sends nothing, reads no clock.

The rule it keeps: entries of one lane go in order. While the sink has some of them, or they wait for another
attempt, all that comes after them in their lane waits, and other lanes go on. A lane whose entries wait keeps
only those in memory; the rest is read again when its turn has come. Where the order is not that of the room,
a lane is what one key has in a room, and it stays in memory: the log cannot tell what is of it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from tdbwatch.daemon.couriers.lane import LaneQueue, Parcel, Share, State
from tdbwatch.daemon.couriers.pieces import UNTRIED, Failure, Memory, Piece
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.couriers.turns import Turns
from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.stored.blocks import Lane

Room = Mapping[str | None, LaneQueue]
"""The lanes of a room by what they have in common; None: the whole room, or what of it is in the log only."""

Found = tuple[LaneQueue, Sequence[Piece], int]
"""A lane, and what the log has of it up to this entry."""


class Lanes:
    """The lanes of one sink that have something unfinished.

    Attributes:
        position: every entry up to this one was read from the spool.
        highest: no entry after this one is finished, or was tried.
        touched: lanes of which something was finished or tried since this was cleared.
        to_read: lanes that may go on, but are in the log only.
        rooms: the lanes of each room.
    """

    def __init__(self, settings: CourierSettings, turns: Turns, position: int) -> None:
        self.position = position
        self.highest = position
        self.touched: set[Lane] = set()
        self.to_read: deque[LaneQueue] = deque()
        self.memory = Memory(settings)
        self.turns = turns
        self.key_of = settings.order
        self._sink = settings.name
        self.rooms: dict[Lane, dict[str | None, LaneQueue]] = {}

    def __bool__(self) -> bool:
        """Whether anything that was read is unfinished."""
        return bool(self.rooms)

    def __iter__(self) -> Iterator[LaneQueue]:
        return chain.from_iterable([room.values() for room in self.rooms.values()])

    def get(self, lane: Lane) -> LaneQueue | None:
        """The one of a whole room; where rooms have several, what of it is in the log only."""
        room = self.rooms.get(lane)
        return None if room is None else room.get(None)

    # -- how it is ---------------------------------------------------------------------------------------

    @property
    def held_up(self) -> bool:
        """Whether the memory is full, and all that is in it waits for another attempt."""
        return self.memory.full and not self.turns.in_flight and not self.turns.ready

    @property
    def unfinished(self) -> int:
        """Entries that were read and are not finished, in memory or not."""
        return self.memory.count + sum(lane.disk.count for lane in self if lane.disk is not None)

    @property
    def available(self) -> int:
        """As `unfinished`, without what is in the log behind entries that wait or are with the sink."""
        disks = (lane.disk for lane in self if lane.state is State.READING)
        return self.memory.count + sum(disk.count for disk in disks if disk is not None)

    @property
    def oldest_us(self) -> int | None:
        """When the oldest unfinished event in memory was received, in microseconds since the Unix epoch."""
        heads = [head for lane in self if (head := lane.head) is not None]
        return min(heads, key=lambda head: head.first_seq).received_us if heads else None

    # -- what comes in -----------------------------------------------------------------------------------

    def add(self, lane: Lane, piece: Piece, now: float) -> None:
        """This was read: it is newer than all else of its room."""
        queue = self.get(lane)
        if queue is not None and (queue.disk is not None or queue.sick):
            queue.leave(piece.first_seq, piece.last_seq, piece.count)
        elif begun := self._hold(lane, piece):
            self._place(begun, now)

    def _hold(self, lane: Lane, piece: Piece) -> list[LaneQueue]:
        """Put this behind what there is of its room, or of its keys in that; the lanes that had nothing."""
        parts = ((None, piece),) if self.key_of is None else piece.by_key(self.key_of).items()
        room, begun = self.rooms.setdefault(lane, {}), list[LaneQueue]()
        for key, part in parts:
            if (queue := room.get(key)) is None:
                queue = room[key] = LaneQueue(lane, key=key)
            self.memory.take([part])
            queue.put(part)
            if queue.state is State.READING:
                begun.append(queue)
        return begun

    def resume(self, queues: Iterable[LaneQueue]) -> None:
        """These were behind before a restart."""
        for queue in queues:
            self.rooms[queue.lane] = {None: queue}
            self.touched.add(queue.lane)  # another order may have been kept before
            self.to_read.append(queue)

    def found(self, read: Iterable[Found], now: float) -> None:
        """This was read of lanes that were in the log only."""
        filled = dict[LaneQueue, None]()
        for queue, pieces, through in read:
            queue.read(sum([piece.count for piece in pieces]), through)
            self.touched.add(queue.lane)
            begun = [one for piece in pieces for one in self._hold(queue.lane, piece)]
            filled |= dict.fromkeys([*begun, queue])
        self._place(filled, now)

    def let_go(self, now: float, patience: float) -> bool:
        """Forget what was never tried of lanes that the sink has for long; whether there was any.

        It is only done where that helps: nothing may go, but the sink could have another parcel.
        """
        if self.turns.ready or not self.turns.free or self.key_of is not None:
            return False
        slow = [parcel.lanes for parcel in self.turns.in_flight if now - parcel.since >= patience]
        forgotten = [self._forget(queue) for queue in chain(*slow)]
        return any(forgotten)

    def gone(self, blocks: Iterable[Gone]) -> None:
        """The log has given these up."""
        for block in blocks:
            queue = self.get(block.lane)
            if queue is None or block.target not in (None, self._sink):
                continue
            queue.gone(block.first_seq, block.last_seq, block.count)
            self.touched.add(block.lane)
            if queue.state is State.READING and queue.disk is None:
                self._place([queue], 0.0)

    def mark(self, parcel: Parcel, failure: Failure) -> None:
        """While the sink has the parcel, its entries are saved as if this had become of them."""
        for queue, piece in parcel.shares:
            piece.failure = failure
            self.touched.add(queue.lane)
            self.highest = max(self.highest, piece.last_seq)

    # -- what comes back ---------------------------------------------------------------------------------

    def finish(self, parcel: Parcel, now: float, back: Sequence[Share] = ()) -> None:
        """As `settle` and `release`, with nothing to do between them."""
        self.settle(parcel, back)
        self.release(parcel, now)

    def settle(self, parcel: Parcel, back: Sequence[Share]) -> None:
        """All of the parcel is finished but this: from now on it can be saved. Then comes `release`.

        Args:
            back: what comes again: the pieces of the parcel as they were, or as a new failure made them.
        """
        parcel.back = back
        self.memory.give(parcel.pieces)
        self.memory.take([piece for _, piece in back])
        unfinished = dict[LaneQueue, list[Piece]]()
        for queue, piece in back:
            unfinished.setdefault(queue, []).append(piece)
        for queue in parcel.lanes:
            queue.put_back(unfinished.get(queue, ()))
            self.touched.add(queue.lane)
        as_before = {piece for _, piece in back}
        served = [(queue, piece) for queue, piece in parcel.shares if piece not in as_before]
        self.highest = max([self.highest, *[piece.last_seq for _, piece in served]])
        if back:  # the lanes that got nothing come first next time
            parcel.lanes.sort(key={queue for queue, _ in served}.__contains__)

    def release(self, parcel: Parcel, now: float) -> None:
        """The lanes of a parcel that is settled go on."""
        self.turns.in_flight.remove(parcel)
        if (failure := parcel.failure) is not UNTRIED:  # what comes as it was goes after others that are due
            failure.due = max(failure.due, now)
        waited = any(piece.failure is UNTRIED for _, piece in parcel.back)
        self._place(parcel.lanes, now, waited=waited)

    def _place(self, queues: Iterable[LaneQueue], now: float, *, waited: bool = False) -> None:
        """These lanes hold something else than before: each goes where its turn will come.

        Args:
            waited: some of what they hold has waited for company.
        """
        waiting = list[LaneQueue]()
        for queue in queues:
            match queue.move():
                case State.WAITING:
                    if queue.key is None:
                        self._forget(queue)
                    waiting.append(queue)
                case State.READY:
                    self.turns.add(queue, now, waited=waited)
                case State.READING:
                    self.to_read.append(queue)
                case _:
                    self._drop(queue)
        if waiting:
            self.turns.wait(waiting)

    def _drop(self, queue: LaneQueue) -> None:
        del (room := self.rooms[queue.lane])[queue.key]
        if not room:
            del self.rooms[queue.lane]

    def _forget(self, queue: LaneQueue) -> bool:
        """What was never tried of this lane stays in the log only; whether there was anything."""
        self.memory.give(pieces := queue.let_go())
        return bool(pieces)
