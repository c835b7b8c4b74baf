"""Whose turn it is: lanes that are ready, lanes that are due for another attempt, parcels under way. Pure."""

from tdbwatch.daemon.couriers.parcel import Parcel, Share
from tdbwatch.daemon.couriers.ready import Ready
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.couriers.waiting import Group, Waiting


class Turns:
    """What was never tried and what waits for another attempt take turns: neither keeps the sink to itself.

    Attributes:
        in_flight: parcels that the sink has now.
    """

    def __init__(self, settings: CourierSettings) -> None:
        self.ready = Ready(settings.batch)
        self.waiting = Waiting()
        self.in_flight: list[Parcel] = []
        self._limits = settings.batch
        self._max_in_flight = settings.max_in_flight
        self._retried_last = False

    @property
    def free(self) -> bool:
        """Whether the sink may have one more parcel."""
        return len(self.in_flight) < self._max_in_flight

    def next(self, now: float, *, probe: bool = False, untried: bool = False) -> Parcel | None:
        """The parcel that goes now; it is in flight from then on. None: nothing may go now.

        Args:
            probe: the sink fails as a whole, as it seems: what was tried least goes first, so that an entry
                that always fails does not stand for the sink.
            untried: only what was never tried may go.
        """
        if not self.free:
            return None
        shares = self.ready.cut(now) if probe or untried or self._retried_last else []
        if not (shares or untried) and (group := self.waiting.take(now, least_tried=probe)) is not None:
            self._retried_last = True
            return self._send(self._cut(group), now)
        if shares or (shares := self.ready.cut(now)):
            self._retried_last = False
        return self._send(shares, now)

    def next_due(self, now: float, *, untried: bool = False) -> float | None:
        """When `next` may have something, if nothing else happens; None: not by time."""
        if not self.free:
            return None
        dues = [] if untried or self.waiting.next_due is None else [self.waiting.next_due]
        if (ripe_at := self.ready.ripe_at(now)) is not None and ripe_at > now:
            dues.append(ripe_at)
        return min(dues, default=None)

    def _cut(self, group: Group) -> list[Share]:
        """What of a group goes together; the rest waits on."""
        shares = list[Share]()
        count, size = self._limits.count, self._limits.max_bytes
        for index, queue in enumerate(group.lanes):
            pieces = queue.take_tried(count, size, at_least=0 if shares else 1) if count > 0 else []
            if not pieces:
                self.waiting.add(Group(group.due, group.lanes[index:]))
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
        self.in_flight.append(parcel)
        return parcel
