"""How a courier is doing, and what can be expected of it."""

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.dispatch import Dispatch
from tdbwatch.daemon.couriers.lanes import Lanes
from tdbwatch.daemon.couriers.opening import Opening
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.couriers.status import Counters, CourierStatus
from tdbwatch.daemon.spool.api import Spool


class Outlook:
    """Looks at a courier's parts, and changes nothing."""

    def __init__(
        self,
        settings: CourierSettings,
        spool: Spool,
        lanes: Lanes,
        breaker: Breaker,
        counters: Counters,
        opening: Opening,
        dispatch: Dispatch,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._lanes = lanes
        self._breaker = breaker
        self._counters = counters
        self._opening = opening
        self._dispatch = dispatch
        self._clock = clock

    @property
    def caught_up(self) -> bool:
        """Whether everything in the spool is finished for this sink."""
        return not self._lanes and self._lanes.position >= self._spool.last_seq

    @property
    def waits(self) -> bool:
        """Whether the sink as a whole is not delivered to at the moment."""
        breaker = self._breaker
        return not self._opening.done or breaker.open or breaker.holds(self._clock.monotonic())

    @property
    def backlog(self) -> int:
        """Entries that the sink could get now: not what is behind entries of their room that wait."""
        return self._unread + self._lanes.free

    @property
    def _unread(self) -> int:
        return max(0, self._spool.last_seq - max(self._lanes.position, self._spool.first_seq - 1))

    def may_deliver(self, until: float) -> bool:
        """Whether the sink may get anything before then, as far as one can know."""
        lanes, breaker = self._lanes, self._breaker
        if (
            self._counters.stuck
            or breaker.hold_until > until
            or (breaker.failures and not self._opening.done)
        ):
            return False
        if lanes.in_flight or lanes.to_read or self._dispatch.kick.is_set():
            return True
        now = self._clock.monotonic()
        if breaker.holds(now) and lanes.ready:  # until then
            return True
        due = lanes.next_due(now)
        unread = self._unread > 0 and not lanes.memory.full
        return unread or (due is not None and due <= until)

    def status(self) -> CourierStatus:
        """Counters since the start, and how it is now."""
        lanes, counters, oldest = self._lanes, self._counters, self._lanes.oldest
        return CourierStatus(
            sink=self._settings.name,
            plugin=self._settings.plugin,
            state=self._state(),
            delivered=counters.delivered,
            retried=counters.retried,
            rejected=counters.rejected,
            dead=counters.dead,
            lag=lanes.unfinished + self._unread,
            in_flight=lanes.in_flight,
            waiting=lanes.waiting,
            failures=self._breaker.failures,
            last_error=counters.last_error,
            oldest_us=oldest.received_us if oldest is not None else None,
            refused_in_row=counters.refused_in_row,
            probing=self._breaker.open,
            held_until_us=self._held_until_us(),
        )

    def _state(self) -> str:
        breaker, lanes = self._breaker, self._lanes
        if self._dispatch.stopping:
            return "stopped"
        if self._counters.stuck:
            return "stuck"
        if breaker.paused is not None:
            return "paused"
        if not self._opening.done:
            return "retrying" if breaker.failures else "opening"
        failing = breaker.failures and lanes  # with nothing left, nothing is tried again
        if breaker.open or lanes.waiting or failing:
            return "retrying"
        refuses = self._counters.refused_in_row >= self._settings.breaker_threshold
        return "refusing" if refuses else "running"

    def _held_until_us(self) -> int | None:
        seconds = self._breaker.hold_until - self._clock.monotonic()
        return int((self._clock.time() + seconds) * 1e6) if seconds > 0 else None
