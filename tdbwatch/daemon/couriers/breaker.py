"""The circuit breaker: a sink that fails as a whole is only probed, at growing intervals. Pure."""

import random
from dataclasses import dataclass

from tdbwatch.daemon.retry import RetryPolicy


@dataclass(slots=True)
class Breaker:
    """Counts failures of the sink as a whole; any success resets it.

    Attributes:
        failures: in a row.
        hold_until: by the monotonic clock: no attempt before then.
    """

    policy: RetryPolicy
    threshold: int
    failures: int = 0
    hold_until: float = 0.0

    @property
    def open(self) -> bool:
        """Whether the sink is only probed: one batch at a time, and none before `hold_until`."""
        return self.failures >= self.threshold

    def failed(self, now: float, rng: random.Random, after: float | None = None) -> None:
        """Nothing of a batch was delivered.

        Args:
            after: seconds for which the sink wants to be left alone.
        """
        self.failures += 1
        if self.open or after is not None:
            self.hold_until = max(self.hold_until, now + self.policy.wait(self.failures, rng, after))

    def worked(self) -> None:
        """Something was delivered, or refused for a reason: the sink is there."""
        self.failures, self.hold_until = 0, 0.0
