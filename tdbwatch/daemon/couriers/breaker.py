"""The circuit breaker: a sink that fails as a whole, or asks for a pause, is only probed. Pure."""

import random
from dataclasses import dataclass

from tdbwatch.daemon.retry import RetryPolicy


@dataclass(slots=True)
class Breaker:
    """Counts failures of the sink as a whole; any success resets it.

    Attributes:
        failures: in a row.
        culprits: of these, failures of what was never tried before: one poison event has one, however often
            it fails, a sink that is down soon has many.
        hold_until: by the monotonic clock: no attempt before then.
        paused: why the sink asked to be left alone; None: it did not.
        probing: it failed often enough, or in another way after it had asked to be left alone.
        asked: how often it did, for a pause or for some seconds. What a call that began before says does not
            end that, so `failed` and `worked` take the number of when it began.
    """

    policy: RetryPolicy
    threshold: int
    failures: int = 0
    culprits: int = 0
    hold_until: float = 0.0
    paused: str | None = None
    probing: bool = False
    asked: int = 0
    _wished_until: float = 0.0
    _paused_at: float = 0.0
    _paused_for: float = 0.0

    @property
    def open(self) -> bool:
        """Whether the sink is only probed: one batch at a time, and none before `hold_until`."""
        return self.probing or self.paused is not None

    def holds(self, now: float) -> bool:
        """Whether what failed before has to wait."""
        return now < self.hold_until

    @property
    def untried_hold_until(self) -> float:
        """Until when what was never tried waits, too: there are culprits enough, or the sink said so."""
        everything = self.culprits >= self.threshold or self.paused is not None
        return self.hold_until if everything else self._wished_until

    def failed(
        self,
        now: float,
        rng: random.Random,
        after: float | None = None,
        *,
        asked: int | None = None,
        culprit: bool = True,
    ) -> None:
        """Nothing of a batch was delivered.

        Args:
            after: seconds for which the sink wants to be left alone.
            culprit: nothing of it was ever tried before.
        """
        if self.paused is not None and self._outdated(asked):
            if after is not None:
                self.hold_until = max(self.hold_until, now + self.policy.wait(1, rng, after))
            return
        if self.paused is not None:  # it does not answer as it did, but is no better: go on probing
            self.probing, self.culprits = True, self.threshold
            self._resume(now)
        self.failures += 1
        self.culprits += culprit
        self.probing = self.probing or self.failures >= self.threshold
        if self.open or after is not None:
            self.hold_until = max(self.hold_until, now + self.policy.wait(self.failures, rng, after))
        if after is not None:
            self._wished_until = self.hold_until
            self.asked += 1

    def pause(self, now: float, rng: random.Random, reason: str, after: float | None = None) -> float:
        """The sink asked to be left alone, for `after` seconds if it said so; returns for how many."""
        self._resume(now)
        self.failures, self.asked = self.failures + 1, self.asked + 1
        self.paused, self._paused_at = reason, now
        seconds = self.policy.pause(self.failures, rng, after)
        self.hold_until = max(self.hold_until, now + seconds)
        return seconds

    def worked(self, now: float, *, asked: int | None = None) -> bool:
        """Something was delivered, or refused for a reason: the sink is there. False: it asked to rest."""
        if self._outdated(asked):
            return False
        self._resume(now)
        self.failures, self.culprits, self.hold_until, self._wished_until = 0, 0, 0.0, 0.0
        self.probing = False
        return True

    def wake(self, now: float) -> None:
        """People want the sink to be tried at once: no wait goes on; what else holds stays as it is."""
        self.hold_until = min(self.hold_until, now)
        self._wished_until = min(self._wished_until, now)

    def active(self, now: float) -> float:
        """The monotonic clock without the pauses: what waits does not grow older in them."""
        return now - self._paused_for - (now - self._paused_at if self.paused is not None else 0.0)

    def _outdated(self, asked: int | None) -> bool:
        return asked is not None and asked != self.asked

    def _resume(self, now: float) -> None:
        if self.paused is not None:
            self._paused_for += now - self._paused_at
            self.paused = None
