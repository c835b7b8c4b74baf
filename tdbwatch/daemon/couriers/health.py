"""How a sink is doing as a whole, which it says by failing, by refusing, and by asking to be left alone."""

from typing import Any

from tdbwatch.clock import Clock
from tdbwatch.daemon.blame import is_mistake
from tdbwatch.daemon.couriers.answer import VerdictError
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.faults import FaultLog
from tdbwatch.daemon.couriers.settings import SinkHealth
from tdbwatch.daemon.deadline import DeadlineError
from tdbwatch.daemon.hosts import SinkHangsError, SinkStuckError
from tdbwatch.plugin.outcome import Retry
from tdbwatch.redaction import presentable


class Health:
    """What is known of a sink as a whole, and is said of it in the log.

    Attributes:
        stuck: its thread does not come back.
        last_error: since it last did what it should; None: none, and nothing is wrong with the sink.
        mistake: that is the plugin's own mistake, not of what it talks to.
        refused_in_row: events that it refused since it took one.
        last_refusal: what it said of the last of them.
    """

    def __init__(self, breaker: Breaker, faults: FaultLog, clock: Clock) -> None:
        self.breaker = breaker
        self.faults = faults
        self.stuck = False
        self.last_error: str | None = None
        self.mistake = False
        self.refused_in_row = 0
        self.last_refusal = ""
        self._clock = clock

    @property
    def now(self) -> SinkHealth:
        """As it is at this moment."""
        said = (self.last_error, self.mistake, self.refused_in_row, self.last_refusal)
        return SinkHealth(self.breaker.failures, self.breaker.open, *said)

    def worked(self, asked: int | None = None) -> None:
        """It did what it should. Only after an error there is a need to say so.

        Args:
            asked: the breaker's before the call began.
        """
        self.stuck = False
        if self.breaker.worked(self._clock.monotonic(), asked=asked):
            self.faults.worked()
            self.last_error, self.mistake = None, False

    def erred(self, what: str, error: str, cause: Exception | None = None, **more: Any) -> None:
        """It failed.

        Args:
            what: it failed at, as the log's code.
            cause: what was raised.
            more: what the log says beside that.
        """
        was_stuck, self.stuck = self.stuck, isinstance(cause, SinkStuckError | SinkHangsError)
        self.last_error, self.mistake = error, cause is not None and is_mistake(cause)
        if not self.stuck:
            at_fault = None if isinstance(cause, DeadlineError | VerdictError) else cause
            self.faults.failed(what, error, at_fault, **more)
        elif not was_stuck:
            self.faults.stuck(error)

    def paused(self, asked: Retry) -> None:
        """It asked to be left alone."""
        self.last_error, self.mistake = presentable(asked.reason), False
        seconds = self.breaker.pause(self._clock.monotonic(), self.last_error, asked.after)
        self.faults.paused(self.last_error, seconds)

    def probed(self, next_try: float | None) -> None:
        """See whether it is only probed from now on: too often in a row it failed as a whole.

        Args:
            next_try: by the monotonic clock; None: now.
        """
        if (breaker := self.breaker).open and breaker.paused is None and not self.stuck:
            self.faults.probed(self.last_error or "", breaker.failures, next_try)
