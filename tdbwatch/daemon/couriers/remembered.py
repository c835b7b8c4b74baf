"""How lanes that were behind before a restart go on. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tdbwatch.daemon.couriers.lane import LaneQueue, OnDisk
from tdbwatch.daemon.couriers.pieces import Failure, Piece
from tdbwatch.daemon.retry import RetryPolicy
from tdbwatch.daemon.spool.api import Past, Progress

_Together = tuple[int, int, str]
"""What the entries of one call that failed have in common: attempts, first attempt, last error."""


class Remembered:
    """What became of entries before a restart.

    What failed together then goes together once more: why it did, nobody knows any more. Unless that is its
    last attempt: then one poison event would take all others with it.

    Args:
        now: the monotonic clock.
        now_us: the wall's.
    """

    def __init__(self, progress: Progress, policy: RetryPolicy, now: float, now_us: int) -> None:
        self._firsts = {lane: behind.first_seq for lane, behind in progress.behind.items()}
        self._policy = policy
        self._now = now
        self._now_us = now_us
        self._failures: dict[_Together, Failure] = {}

    def lay_over(self, queue: LaneQueue, pieces: Sequence[Piece]) -> list[Piece]:
        """These pieces, which are the next of their lane, with what became of them."""
        if pieces and pieces[0].first_seq != self._firsts.pop(queue.lane, pieces[0].first_seq):
            queue.remembered = ()  # the entries that it was about are gone
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
        key = _key(past)
        failure = self._failures.get(key)
        if failure is None:
            age = max(0, self._now_us - past.first_us) / 1e6  # the wall clock may have been set back
            failure = self._failures[key] = Failure(
                past.attempts,
                self._now - age,
                past.first_us,
                past.first_error,
                past.last_error,
                alone=self._policy.exhausted(past.attempts + 1, age) is not None,
            )
        if past.first_error != failure.first_error:
            failure.first_errors.update((seq, past.first_error) for seq in seqs)
        return failure


def resumed(progress: Progress, most: int) -> list[list[LaneQueue]]:
    """The lanes that are behind, all of them in the log only.

    Those whose entries failed together are in one list, as far as they make a batch.

    Args:
        most: entries that a batch has.
    """
    lists: list[list[LaneQueue]] = []
    not_full: dict[_Together, tuple[list[LaneQueue], int]] = {}
    for lane, behind in sorted(progress.behind.items(), key=lambda item: item[1].first_seq):
        first = min(behind.first_seq, progress.floor + 1)
        queue = LaneQueue(lane, OnDisk(first, progress.floor, 0))
        queue.beyond, queue.remembered = behind.beyond, behind.tried
        if not behind.tried:
            lists.append([queue])
            continue
        key, count = _key(behind.tried[0]), behind.tried[0].count
        company, space = not_full.get(key, ([], 0))
        if count > space:
            lists.append(company := [])
            space = most
        company.append(queue)
        not_full[key] = company, space - count
    return lists


def _key(past: Past) -> _Together:
    return past.attempts, past.first_us, past.last_error
