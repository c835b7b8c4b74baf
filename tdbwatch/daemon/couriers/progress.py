"""What a sink has finished: how it is saved, and how it goes on after a restart."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.lane import LaneQueue, OnDisk
from tdbwatch.daemon.couriers.lanes import Lanes
from tdbwatch.daemon.couriers.pieces import Failure, Piece, pasts
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.couriers.unended import company, earliest
from tdbwatch.daemon.spool.api import Attempt, Behind, DeadLetter, Past, Progress, Spool
from tdbwatch.daemon.spool.spans import Span, between, joined, outside, spans_of
from tdbwatch.daemon.spool.stored.blocks import MOST_SEQ, Lane

Changes = dict[Lane, Behind | None]


class Saved:
    """What was saved last: up to which floor, and which lanes are behind.

    The floor is no lower than anything that is finished, so that no lane says too little; a lane whose first
    unfinished entry is not beyond that is behind. All others have nothing finished beyond their first
    unfinished entry, so they hold the floor before it and cost nothing else.
    """

    def __init__(self, progress: Progress) -> None:
        self.floor = progress.floor
        self._behind = dict(progress.behind)

    def update(self, lanes: Lanes) -> tuple[int, Changes] | None:
        """The floor of now, and the lanes that are behind otherwise than before; None: all is as it was."""
        least = max(self.floor, lanes.highest)
        if lanes.key_of is not None:
            return self._keep(*self._by_room(lanes, least))
        floor, changed = lanes.position, Changes()
        for queue in lanes:
            lane, saved = queue.lane, self._behind.get(queue.lane)
            if queue.done or (saved is not None and lane not in lanes.touched):
                continue
            behind = queue.behind() if queue.first_seq <= least else None
            if behind is None:
                floor = min(floor, queue.first_seq - 1)
            if behind != saved:
                changed[lane] = behind
        for lane in lanes.touched:
            if lane in self._behind and ((now := lanes.get(lane)) is None or now.done):
                changed[lane] = None
        lanes.touched.clear()
        return self._keep(floor, changed)

    def _by_room(self, lanes: Lanes, least: int) -> tuple[int, Changes]:
        """As `update`, where rooms have several lanes: what is unfinished of a room can be anywhere."""
        rooms: dict[Lane, list[LaneQueue]] = {}
        for queue in lanes:
            rooms.setdefault(queue.lane, []).append(queue)
        floor, changed = lanes.position, Changes()
        for lane, queues in rooms.items():
            behind, unfinished = behind_of(queues, least)
            floor = min(floor, unfinished - 1)
            if behind != self._behind.get(lane):
                changed[lane] = behind
        changed |= dict.fromkeys(self._behind.keys() - rooms.keys())
        lanes.touched.clear()
        return floor, changed

    def _keep(self, floor: int, changed: Changes) -> tuple[int, Changes] | None:
        if floor == self.floor and not changed:
            return None
        self.floor = floor
        for lane, behind in changed.items():
            if behind is None:
                self._behind.pop(lane, None)
            else:
                self._behind[lane] = behind
        return floor, changed


def behind_of(queues: Sequence[LaneQueue], least: int) -> tuple[Behind | None, int]:
    """What is durable of a room's lanes, and the first unfinished entry of which this says nothing.

    Args:
        least: up to here it does.
    """
    pieces = [piece for queue in queues for piece in (*queue.taken, *queue.held)]
    seqs = sorted([seq for piece in pieces for seq in piece.seqs])
    said = bisect_right(seqs, least)
    unsaid = seqs[said] if said < len(seqs) else MOST_SEQ
    spans, beyond, remembered = spans_of(seqs[:said]), tuple[Span, ...](), tuple[Past, ...]()
    rest = next((queue for queue in queues if queue.disk is not None), None)
    if rest is not None and rest.disk is not None and rest.disk.first_seq > least:
        unsaid = min(unsaid, rest.disk.first_seq)
    elif rest is not None and rest.disk is not None:  # all that is in memory is older
        spans += ((rest.disk.first_seq, MOST_SEQ),)
        beyond, remembered = between(rest.beyond, rest.disk.first_seq, MOST_SEQ), rest.remembered
    if not spans:
        return None, unsaid
    finished = (*outside(spans, spans[0][0], MOST_SEQ), *beyond)
    return Behind(spans[0][0], joined(finished), pasts(pieces, remembered)), unsaid


_PACE: Final = 0.05
"""Seconds between two times that progress is saved."""


class Saving:
    """Tells the spool, and everyone who waits, that lanes have changed.

    Attributes:
        moved: set and cleared whenever that is so.
    """

    def __init__(
        self,
        sink: str,
        spool: Spool,
        lanes: Lanes,
        progress: Progress,
        clock: Clock,
        on_dead: Callable[[Sequence[DeadLetter]], None] = lambda _: None,
    ) -> None:
        self.moved = asyncio.Event()
        self._on_dead = on_dead
        self._sink = sink
        self._spool = spool
        self._lanes = lanes
        self._saved = Saved(progress)
        self._clock = clock
        self._unsaved = asyncio.Event()

    def tell(self) -> None:
        """Lanes have changed."""
        self.moved.set()
        self.moved.clear()
        self._unsaved.set()

    def save(self) -> None:
        """Save what is finished by now."""
        self._unsaved.clear()
        if (update := self._saved.update(self._lanes)) is not None:
            self._spool.save(self._sink, *update)

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Keep these for those who ask what became of an event."""
        self._spool.note(attempts)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Save what is finished by now and these dead letters with it; durable on return."""
        self._on_dead(letters)
        floor, changed = self._saved.update(self._lanes) or (self._saved.floor, {})
        await self._spool.dead_letter(self._sink, floor, changed, letters)

    async def run(self) -> None:
        """Save what moved, until cancelled."""
        while True:
            await self._unsaved.wait()
            self.save()
            await self._clock.sleep(_PACE)


_Together = tuple[int, int, str, int]
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
        self._failures: dict[_Together, Failure] = {}

    def lay_over(self, queue: LaneQueue, pieces: Sequence[Piece]) -> list[Piece]:
        """These pieces, which are the next of their lane, with what became of them."""
        return [part for piece in pieces for part in self._laid_over(queue, piece)]

    def due(self, failure: Failure) -> float:
        """When what this became of may be tried, by the monotonic clock."""
        return self._now + earliest(failure.unended, self._batch)

    def _laid_over(self, queue: LaneQueue, piece: Piece) -> Iterator[Piece]:
        while queue.remembered and piece.count:
            past, *others = queue.remembered
            count = min(past.count, piece.count)
            head, piece = piece.split(count)
            yield head.failed(self._failure(past, head.seqs)) if past.attempts or past.unended else head
            left = [replace(past, count=past.count - count)] if past.count > count else []
            queue.remembered = (*left, *others)
        if piece.count:
            yield piece

    def _failure(self, past: Past, seqs: Sequence[int]) -> Failure:
        key = _key(past)
        failure = self._failures.get(key)
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
            )
        if past.first_error != failure.first_error:
            failure.first_errors.update((seq, past.first_error) for seq in seqs)
        return failure


def forgiven(progress: Progress) -> Progress:
    """What is known after a run that ended cleanly: no attempt of it did not end."""
    behind = {
        lane: replace(one, tried=tuple(replace(past, unended=0) for past in one.tried))
        for lane, one in progress.behind.items()
    }
    return Progress(progress.floor, behind)


def resumed(progress: Progress, most: int, oldest: int) -> list[list[LaneQueue]]:
    """The lanes that are behind, all of them in the log only.

    Those whose entries failed together are in one list, as far as they make a batch.

    Args:
        most: entries that a batch has.
        oldest: the first that the log has; of those that are gone nothing needs to be known.
    """
    lists: list[list[LaneQueue]] = []
    not_full: dict[_Together, tuple[list[LaneQueue], int]] = {}
    for lane, behind in sorted(progress.behind.items(), key=lambda item: item[1].first_seq):
        first = min(behind.first_seq, progress.floor + 1)
        queue = LaneQueue(lane, OnDisk(first, progress.floor, 0))
        queue.beyond = between(behind.beyond, first, progress.floor)
        queue.remembered = behind.tried if behind.first_seq >= oldest else ()
        if not queue.remembered:
            lists.append([queue])
            continue
        key, count = _key(queue.remembered[0]), queue.remembered[0].count
        company, space = not_full.get(key, ([], 0))
        if count > space:
            lists.append(company := [])
            space = most
        company.append(queue)
        not_full[key] = company, space - count
    return lists


def _key(past: Past) -> _Together:
    return past.attempts, past.first_us, past.last_error, past.unended
