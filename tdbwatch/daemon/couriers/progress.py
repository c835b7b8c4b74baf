"""What a sink has finished: how it is saved, and how it goes on after a restart."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.lane import LaneQueue, OnDisk
from tdbwatch.daemon.couriers.lanes import Lanes, Room
from tdbwatch.daemon.couriers.pieces import UNTRIED, Failure, Piece, pasts
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.couriers.unended import company, earliest
from tdbwatch.daemon.spool.api import Attempt, Behind, DeadLetter, Past, Progress, Spool
from tdbwatch.daemon.spool.spans import Span, between, outside, spans_of
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Lane

Changes = dict[Lane, Behind | None]


def changes(saved: Progress, lanes: Lanes) -> tuple[int, Changes] | None:
    """The floor of now, and the rooms that are behind otherwise than was saved; None: all is as it was.

    The floor is no lower than anything that is finished, so that no room says too little; a room whose first
    unfinished entry is not beyond that is behind. All others have nothing finished beyond their first
    unfinished entry, so they hold the floor before it and cost nothing else.
    """
    least, floor, changed = max(saved.floor, lanes.highest), lanes.position, Changes()
    for lane, room in lanes.rooms.items():
        before = saved.behind.get(lane)
        if before is not None and lane not in lanes.touched:
            continue
        first_seq = min([queue.first_seq for queue in room.values()])
        behind = behind_of(room, least) if first_seq <= least else None
        if behind is None:
            floor = min(floor, first_seq - 1)
        if behind != before:
            changed[lane] = behind
    changed |= {lane: None for lane in lanes.touched if lane in saved.behind and lane not in lanes.rooms}
    lanes.touched.clear()
    return None if floor == saved.floor and not changed else (floor, changed)


def behind_of(room: Room, least: int) -> Behind:
    """What is durable of a room's lanes.

    Args:
        least: no entry after this one is finished.
    """
    rest = room.get(None)
    if rest is not None and len(room) == 1:
        return rest.behind()
    pieces = [piece for queue in room.values() for piece in queue.in_memory]
    unfinished = spans_of(sorted([seq for piece in pieces for seq in piece.seqs if seq <= least]))
    beyond, remembered = tuple[Span, ...](), tuple[Past, ...]()
    if rest is not None and rest.disk is not None:  # all that is in memory is older
        unfinished += ((rest.disk.first_seq, MOST_SEQ),)
        beyond, remembered = between(rest.beyond, rest.disk.first_seq, MOST_SEQ), rest.remembered
    first_seq = unfinished[0][0]
    return Behind(first_seq, (*outside(unfinished, first_seq, least), *beyond), pasts(pieces, remembered))


_PACE: Final = 0.05
"""Seconds between two times that progress is saved."""


@dataclass(slots=True, eq=False)
class Saving:
    """Tells the spool, and everyone who waits, that lanes have changed.

    Attributes:
        moved: set and cleared whenever that is so.
        unsent: set whenever that is so: there may be something new to send.
    """

    _sink: str
    _spool: Spool
    _lanes: Lanes
    _clock: Clock
    _on_dead: Callable[[Sequence[DeadLetter]], None]
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    unsent: asyncio.Event = field(default_factory=asyncio.Event)
    _unsaved: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Lanes have changed."""
        self.moved.set()
        self.moved.clear()
        self.unsent.set()
        self._unsaved.set()

    def save(self) -> None:
        """Save what is finished by now."""
        self._unsaved.clear()
        if (update := changes(self._spool.progress(self._sink), self._lanes)) is not None:
            self._spool.save(self._sink, *update)

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Keep these for those who ask what became of an event."""
        self._spool.note(attempts)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Save what is finished by now and these dead letters with it; durable on return."""
        self._on_dead(letters)
        saved = self._spool.progress(self._sink)
        floor, changed = changes(saved, self._lanes) or (saved.floor, {})
        await self._spool.dead_letter(self._sink, floor, changed, letters)

    async def run(self) -> None:
        """Save what moved, until cancelled."""
        while True:
            await self._unsaved.wait()
            self.save()
            await self._clock.sleep(_PACE)


_Call = tuple[int, int, str, int]
"""What the entries of one call have in common: attempts, first attempt, last error, unended attempts."""


class Remembered:
    """What became of entries before a restart.

    What failed together then goes together once more: why it did, nobody knows any more. Unless that is its
    last attempt: then one poison event would take all others with it.

    Args:
        now: the monotonic clock.
        now_us: the wall's.
    """

    def __init__(self, settings: CourierSettings, now: float, now_us: int) -> None:
        self._policy = settings.retry
        self._batch = settings.batch.count
        self._now = now
        self._now_us = now_us
        self._failures: dict[_Call, Failure] = {}

    def next(self, to_read: deque[LaneQueue]) -> list[LaneQueue]:
        """Take the lanes to be read next: those that failed together, as far as they make a batch."""
        queues = [first := to_read.popleft()]
        count = sum([past.count for past in first.remembered[:1]])
        while first.remembered and to_read and _together(to_read[0]) == _together(first):
            count += to_read[0].remembered[0].count
            if count > self._batch:
                break
            queues.append(to_read.popleft())
        return queues

    def lay_over(self, queue: LaneQueue, pieces: Sequence[Piece]) -> list[Piece]:
        """These pieces, which are the next of their lane, with what became of them."""
        return [part for piece in pieces for part in self._laid_over(queue, piece)]

    def _laid_over(self, queue: LaneQueue, piece: Piece) -> Iterator[Piece]:
        while queue.remembered and piece.count:
            past, *others = queue.remembered
            count = min(past.count, piece.count)
            head, piece = piece.split(count)
            yield head.failed(self._failure(past, head.seqs))
            left = [replace(past, count=past.count - count)] if past.count > count else []
            queue.remembered = (*left, *others)
        if piece.count:
            yield piece

    def _failure(self, past: Past, seqs: Sequence[int]) -> Failure:
        if not (past.attempts or past.unended):
            return UNTRIED
        failure = self._failures.get(key := _call(past))
        if failure is None:
            age = max(0, self._now_us - past.first_us) / 1e6  # the wall clock may have been set back
            last = self._policy.exhausted(past.attempts + 1, age) is not None
            failure = self._failures[key] = Failure(
                past.attempts,
                self._now - age,
                past.first_us,
                past.first_error,
                past.last_error,
                most=1 if last else company(past.unended, self._batch),
                unended=past.unended,
                due=self._now + earliest(past.unended, self._batch),
            )
        if past.first_error != failure.first_error:
            failure.first_errors.update((seq, past.first_error) for seq in seqs)
        return failure


def resumed(progress: Progress, oldest: int, *, interrupted: bool) -> list[LaneQueue]:
    """The rooms that are behind, all of them in the log only; those that failed together are neighbours.

    Args:
        oldest: the first that the log has; of those that are gone nothing needs to be known.
        interrupted: whether attempts of the run before may not have ended.
    """
    queues = list[LaneQueue]()
    for lane, behind in progress.behind.items():
        first = min(behind.first_seq, progress.floor + 1)
        queue = LaneQueue(lane, OnDisk(first, progress.floor, 0))
        queue.beyond = between(behind.beyond, first, progress.floor)
        known = behind.tried if behind.first_seq >= oldest else ()
        queue.remembered = known if interrupted else tuple([replace(past, unended=0) for past in known])
        queues.append(queue)
    return sorted(queues, key=lambda queue: (_together(queue), queue.first_seq))


def _together(queue: LaneQueue) -> list[_Call]:
    """The call in which the next entries of a lane failed."""
    return [_call(past) for past in queue.remembered[:1]]


def _call(past: Past) -> _Call:
    return past.attempts, past.first_us, past.last_error, past.unended
