"""What is unfinished for one sink, by lane, and what may go next. Pure: it sends nothing, reads no clock.

The rule it keeps: entries of one lane go in order. While the sink has some of them, or they wait for another
attempt, all that comes after them in their lane waits, and other lanes go on. A lane whose entries wait keeps
only those in memory; the rest is read again when its turn has come.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from tdbwatch.daemon.couriers.lane import LaneQueue, State
from tdbwatch.daemon.couriers.memory import Memory
from tdbwatch.daemon.couriers.parcel import Fate, Parcel, Share, kept
from tdbwatch.daemon.couriers.pieces import Failure, Piece
from tdbwatch.daemon.couriers.ready import Ready
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.couriers.waiting import Group, Waiting
from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.plugin.event import Event

_NOT_DUE: Mapping[LaneQueue, float] = {}


class Lanes:
    """The lanes of one sink that have something unfinished.

    Attributes:
        position: every entry up to this one was read from the spool.
        highest: no entry after this one is finished, or was tried.
        touched: lanes of which something was finished or tried since this was cleared.
        to_read: lanes that may go on, but are in the log only: those in one list are to be read together.
    """

    def __init__(self, settings: CourierSettings, position: int, memory: Memory | None = None) -> None:
        self.position = position
        self.highest = position
        self.touched: set[Lane] = set()
        self.to_read: deque[list[LaneQueue]] = deque()
        self.memory = memory if memory is not None else Memory(settings)
        self._settings = settings
        self._lanes: dict[Lane, LaneQueue] = {}
        self._ready = Ready(settings.batch)
        self._waiting = Waiting()
        self._in_flight: list[Parcel] = []
        self._retried_last = False

    def __bool__(self) -> bool:
        """Whether anything that was read is unfinished."""
        return bool(self._lanes)

    def __iter__(self) -> Iterator[LaneQueue]:
        return iter(self._lanes.values())

    def get(self, lane: Lane) -> LaneQueue | None:
        return self._lanes.get(lane)

    # -- how it is ---------------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Parcels that the sink has now."""
        return len(self._in_flight)

    @property
    def waiting(self) -> int:
        """Groups that wait for another attempt."""
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether anything waits for its turn only."""
        return bool(self._ready)

    @property
    def held_up(self) -> bool:
        """Whether the memory is full, and all that is in it waits for another attempt."""
        return self.memory.full and not self._in_flight and not self._ready

    @property
    def unfinished(self) -> int:
        """Entries that were read and are not finished, in memory or not."""
        return self.memory.count + sum(lane.disk.count for lane in self if lane.disk is not None)

    @property
    def free(self) -> int:
        """As `unfinished`, without what is in the log behind entries that wait or are with the sink."""
        disks = (lane.disk for lane in self if lane.state is State.READING)
        return self.memory.count + sum(disk.count for disk in disks if disk is not None)

    @property
    def oldest(self) -> Event | None:
        """The oldest unfinished event in memory."""
        heads = [head for lane in self if (head := lane.head) is not None]
        return min(heads, key=lambda head: head.first_seq).events[0] if heads else None

    # -- what comes in -----------------------------------------------------------------------------------

    def add(self, lane: Lane, piece: Piece, now: float) -> None:
        """This was read: it is newer than all else of its lane."""
        queue = self._lanes.get(lane)
        if queue is None:
            queue = self._lanes[lane] = LaneQueue(lane)
            queue.fresh.append(piece)
            self._ready.add(queue, now)
        elif queue.disk is not None or queue.sick:
            queue.leave(piece.first_seq, piece.last_seq, piece.count)
            return
        else:
            queue.fresh.append(piece)
            if queue.state is State.READY:
                self._ready.grow(piece)
        self.memory.take(piece.count, piece.size)

    def resume(self, queues: Iterable[Sequence[LaneQueue]]) -> None:
        """These lanes were behind before a restart; those that are to go together are together here."""
        for together in queues:
            self._lanes.update((queue.lane, queue) for queue in together)
            self.to_read.append(list(together))

    def found(self, read: Sequence[tuple[LaneQueue, Sequence[Piece], int]], now: float) -> None:
        """Of each of these lanes, the pieces are what the log has up to the seq."""
        for queue, pieces, through in read:
            self.memory.take(sum([one.count for one in pieces]), sum([one.size for one in pieces]))
            queue.found(pieces, through)
            self.touched.add(queue.lane)
        self._place([queue for queue, _, _ in read], now)

    def let_go(self, now: float, patience: float) -> bool:
        """Forget what was never tried of lanes that the sink has for long; whether there was any.

        It is only done where that helps: nothing may go, but the sink could have another parcel.
        """
        if self._ready or len(self._in_flight) >= self._settings.max_in_flight:
            return False
        slow = [parcel.lanes for parcel in self._in_flight if now - parcel.since >= patience]
        stuck = [queue for queue in chain(*slow) if queue.fresh]
        for queue in stuck:
            self._forget(queue)
        return bool(stuck)

    def gone(self, blocks: Iterable[Gone]) -> None:
        """The log has given these up."""
        for block in blocks:
            queue = self._lanes.get(block.lane)
            if queue is None or block.target not in (None, self._settings.name):
                continue
            queue.gone(block.first_seq, block.first_seq + block.count - 1, block.count)
            self.touched.add(block.lane)
            if queue.state is State.READING and queue.disk is None:
                self._place([queue], 0.0)

    # -- what goes out -----------------------------------------------------------------------------------

    def next(self, now: float, *, probe: bool = False) -> Parcel | None:
        """The parcel that goes now; it is in flight from then on. None: nothing may go now.

        What waits for another attempt and what was never tried take turns: neither keeps the sink to itself.

        Args:
            probe: the sink fails as a whole, as it seems: what was tried least goes first, so that an entry
                that always fails does not stand for the sink.
        """
        if len(self._in_flight) >= self._settings.max_in_flight:
            return None
        fresh_first = probe or self._retried_last
        shares = self._ready.cut(now) if fresh_first else []
        if not shares and (group := self._waiting.take(now, least_tried=probe)) is not None:
            self._retried_last = True
            return self._send(self._cut(group), now)
        if shares or (shares := self._ready.cut(now)):
            self._retried_last = False
        return self._send(shares, now)

    def next_untried(self, now: float) -> Parcel | None:
        """As `next`, but only what was never tried."""
        if len(self._in_flight) >= self._settings.max_in_flight:
            return None
        return self._send(self._ready.cut(now), now)

    def next_due(self, now: float, *, untried: bool = False) -> float | None:
        """When `next`, or `next_untried`, may have something, if nothing else happens; None: not by time."""
        if len(self._in_flight) >= self._settings.max_in_flight:
            return None
        dues = [] if untried or self._waiting.next_due is None else [self._waiting.next_due]
        if (ripe_at := self._ready.ripe_at(now)) is not None and ripe_at > now:
            dues.append(ripe_at)
        return min(dues, default=None)

    def hasten(self, now: float) -> None:
        """What waits for another attempt is due."""
        self._waiting.hasten(now)

    def _cut(self, group: Group) -> list[Share]:
        """What of a group goes together; the rest waits on."""
        shares = list[Share]()
        count, size = self._settings.batch.count, self._settings.batch.max_bytes
        for index, queue in enumerate(group.lanes):
            pieces = queue.take_tried(count, size, at_least=0 if shares else 1) if count > 0 else []
            if not pieces:
                self._waiting.add(Group(group.due, group.lanes[index:]))
                break
            shares += [(queue, piece) for piece in pieces]
            count -= sum([one.count for one in pieces])
            size -= sum([one.size for one in pieces])
        return shares

    def _send(self, shares: list[Share], now: float) -> Parcel | None:
        if not shares:
            return None
        parcel = Parcel(shares, shares[0][1].failure, now)
        for queue in parcel.lanes:
            queue.move()
        self._in_flight.append(parcel)
        return parcel

    # -- what comes back ---------------------------------------------------------------------------------

    def finish(self, parcel: Parcel, now: float) -> None:
        """All of it is finished."""
        for _, piece in parcel.shares:
            self.memory.give(piece.count, piece.size)
            self.highest = max(self.highest, piece.last_seq)
        lanes = parcel.lanes
        for queue in lanes:
            queue.put_back(())
        self._settled(parcel, lanes, now)

    def put_back(self, parcel: Parcel, now: float) -> None:
        """Nothing of it was tried: it comes again as it was."""
        self.settle(parcel, [Fate.UNTRIED] * len(parcel), now)

    def settle(
        self,
        parcel: Parcel,
        fates: Sequence[Fate],
        now: float,
        failure: Failure | None = None,
        dues: Mapping[LaneQueue, float] = _NOT_DUE,
    ) -> None:
        """What becomes of each entry of the parcel.

        Args:
            failure: what became of those that failed.
            dues: when each lane with some of those has its next attempt.
        """
        back: dict[LaneQueue, tuple[list[Piece], list[int]]] = {}
        start = 0
        for queue, piece in parcel.shares:
            start, own = start + piece.count, fates[start : start + piece.count]
            pieces, finished = kept(piece, own, failure)
            self.memory.give(piece.count, piece.size)
            self.memory.take(sum([one.count for one in pieces]), sum([one.size for one in pieces]))
            if any(fate is not Fate.UNTRIED for fate in own):
                self.highest = max(self.highest, piece.last_seq)
            unfinished, ended = back.setdefault(queue, ([], []))
            unfinished += pieces
            ended += finished
        for queue, (pieces, finished) in back.items():
            queue.put_back(pieces, finished)
        untried = Fate.UNTRIED in fates and parcel.failure is None
        self._settled(parcel, list(back), now, dues, untried=untried)

    def _settled(
        self,
        parcel: Parcel,
        queues: Collection[LaneQueue],
        now: float,
        dues: Mapping[LaneQueue, float] = _NOT_DUE,
        *,
        untried: bool = False,
    ) -> None:
        self._in_flight.remove(parcel)
        self.touched.update([queue.lane for queue in queues])
        self._place(queues, now, dues, untried=untried)

    def _place(
        self,
        queues: Iterable[LaneQueue],
        now: float,
        dues: Mapping[LaneQueue, float] = _NOT_DUE,
        *,
        untried: bool = False,
    ) -> None:
        """These lanes hold something else than before: they wait for what comes next."""
        waiting, ready = list[LaneQueue](), list[LaneQueue]()
        for queue in queues:
            match queue.move():
                case State.WAITING:
                    self._forget(queue)
                    waiting.append(queue)
                case State.READY:
                    ready.append(queue)
                case State.READING:
                    self.to_read.append([queue])
                case _:
                    del self._lanes[queue.lane]
        self._waiting.gather(waiting, dues, now)
        if untried and ready:
            self._ready.put_back(ready)
            return
        for queue in ready:
            self._ready.add(queue, now)

    def _forget(self, queue: LaneQueue) -> None:
        """What was never tried of this lane stays in the log only."""
        self.memory.give(queue.fresh.count, queue.fresh.size)
        queue.let_go()
