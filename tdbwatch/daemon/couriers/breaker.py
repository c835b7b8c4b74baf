"""The circuit breaker: a sink that fails as a whole, or asks for a pause, is only probed. Pure."""

import random
from dataclasses import dataclass

from tdbwatch.daemon.delivery.retry import RetryPolicy


@dataclass(slots=True)
class Breaker:
    """Counts failures of the sink as a whole; any success resets it.

    Attributes:
        failures: in a row. Without any, nothing else is set either.
        culprits: of these, failures of what was never tried before: one poison event has one, however often
            it fails, a sink that is down soon has many.
        open: the sink is only probed: one batch at a time, and none before `hold_until`.
        hold_until: by the monotonic clock: nothing that failed before goes earlier.
        untried_hold_until: nor does what was never tried: there are culprits enough, or the sink said so.
        paused: why the sink asked to be left alone; None: it did not.
        asked: how often it did, for a pause or for some seconds. What a call that began before says does not
            end that, so `failed` and `worked` take the number of when it began.
    """

    policy: RetryPolicy
    threshold: int
    rng: random.Random
    failures: int = 0
    culprits: int = 0
    open: bool = False
    hold_until: float = 0.0
    untried_hold_until: float = 0.0
    paused: str | None = None
    asked: int = 0
    _paused_at: float = 0.0
    _paused_for: float = 0.0

    def failed(
        self, now: float, after: float | None = None, *, asked: int | None = None, culprit: bool = True
    ) -> None:
        """Nothing of a batch was delivered.

        Args:
            after: seconds for which the sink wants to be left alone.
            culprit: nothing of it was ever tried before.
        """
        if self.paused is not None and self._outdated(asked):
            if after is not None:
                self._hold(now + self.policy.wait(1, self.rng, after))
            return
        if self.paused is not None:  # it does not answer as it did, but is no better: go on probing
            self.culprits = self.threshold
            self._resume(now)
        self.failures += 1
        self.culprits += culprit
        self.asked += after is not None
        self.open = self.open or self.failures >= self.threshold
        if self.open or after is not None:
            everything = after is not None or self.culprits >= self.threshold
            self._hold(now + self.policy.wait(self.failures, self.rng, after), everything=everything)

    def pause(self, now: float, reason: str, after: float | None = None) -> float:
        """The sink asked to be left alone, for `after` seconds if it said so; returns for how many."""
        self._resume(now)
        self.failures, self.asked, self.open = self.failures + 1, self.asked + 1, True
        self.paused, self._paused_at = reason, now
        seconds = self.policy.pause(self.failures, self.rng, after)
        self._hold(now + seconds)
        return seconds

    def worked(self, now: float, *, asked: int | None = None) -> bool:
        """Something was delivered, or refused for a reason: the sink is there. False: it asked to rest."""
        if self._outdated(asked):
            return False
        self._resume(now)
        self.failures, self.culprits, self.open = 0, 0, False
        self.hold_until = self.untried_hold_until = 0.0
        return True

    def wake(self, now: float) -> None:
        """People want the sink to be tried at once: no wait goes on; what else holds stays as it is."""
        self.hold_until = min(self.hold_until, now)
        self.untried_hold_until = min(self.untried_hold_until, now)

    def active(self, now: float) -> float:
        """The monotonic clock without the pauses: what waits does not grow older in them."""
        return now - self._paused_for - (now - self._paused_at if self.paused is not None else 0.0)

    def _hold(self, until: float, *, everything: bool = True) -> None:
        self.hold_until = max(self.hold_until, until)
        if everything:
            self.untried_hold_until = self.hold_until

    def _outdated(self, asked: int | None) -> bool:
        return asked is not None and asked != self.asked

    def _resume(self, now: float) -> None:
        if self.paused is not None:
            self._paused_for += now - self._paused_at
            self.paused = None
