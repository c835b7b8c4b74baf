"""Lanes whose turn is to come, and which of their entries go together. Pure."""

from collections import deque

from tdbwatch.daemon.couriers.lane import LaneQueue
from tdbwatch.daemon.couriers.parcel import Share
from tdbwatch.daemon.couriers.pieces import Piece
from tdbwatch.daemon.couriers.settings import BatchLimits


class Ready:
    """They take turns, each with a piece. What they hold was never tried.

    Attributes:
        since: when the first of these entries began to wait for company.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self.since = 0.0
        self._limits = limits
        self._lanes: deque[LaneQueue] = deque()
        self._count = 0
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def add(self, lane: LaneQueue, now: float, *, waited: bool = False) -> None:
        """This lane waits for its turn.

        Args:
            waited: some of it has waited for company once: it waits for none any more.
        """
        if waited:
            self.since = float("-inf")
        elif not self._lanes:
            self.since = now
        self._lanes.append(lane)
        self._count += lane.fresh.count
        self._size += lane.fresh.size

    def grow(self, piece: Piece) -> None:
        """One of these lanes has got this."""
        self._count += piece.count
        self._size += piece.size

    def ripe_at(self, now: float) -> float | None:
        """When a batch may go, at the latest; None: there is none."""
        if not self._lanes:
            return None
        full = self._count >= self._limits.count or self._size >= self._limits.max_bytes
        return now if full else max(now, self.since + self._limits.wait)

    def cut(self, now: float) -> list[Share]:
        """The batch that goes now, if any does; the sink has it from then on."""
        if self.ripe_at(now) != now:
            return []
        shares = list[Share]()
        count, size = self._limits.count, self._limits.max_bytes
        had_turn: deque[LaneQueue] = deque()
        while count > 0 and (lane := self._next(had_turn)) is not None:
            piece = lane.take_fresh(count, size, at_least=0 if shares else 1)
            if piece is None:
                if not lane.taken:
                    self._lanes.appendleft(lane)
                    self._count += lane.fresh.count
                    self._size += lane.fresh.size
                break
            shares.append((lane, piece))
            count, size = count - piece.count, size - piece.size
            if lane.fresh:
                had_turn.append(lane)
        self.since = now
        return shares

    def _next(self, had_turn: deque[LaneQueue]) -> LaneQueue | None:
        """The lane whose turn it is: those that had theirs come after all others."""
        if not self._lanes:
            return had_turn.popleft() if had_turn else None
        lane = self._lanes.popleft()
        self._count -= lane.fresh.count
        self._size -= lane.fresh.size
        return lane
