"""Growing, jittered waits. Pure: it computes seconds and sleeps for nobody."""

import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """How long to wait between attempts.

    Attempt n (from 0) waits `initial * factor ** n` seconds, at most `maximum`, of which the share
    `jitter` is drawn at random, so that many clients that failed together do not return together.
    """

    initial: float = 1.0
    factor: float = 2.0
    maximum: float = 60.0
    jitter: float = 0.5

    def ceiling(self, attempt: int) -> float:
        """The longest wait, in seconds, before attempt number `attempt` (from 0) is repeated."""
        try:
            return min(self.maximum, self.initial * self.factor**attempt)
        except OverflowError:  # after some hundreds of failures no float holds it; the maximum does
            return self.maximum

    def wait(self, attempt: int, rng: random.Random) -> float:
        """The wait in seconds: between `(1 - jitter)` and one time the ceiling."""
        ceiling = self.ceiling(attempt)
        return ceiling * (1.0 - self.jitter * rng.random())


@dataclass(slots=True)
class Backoff:
    """The waits of one series of failures; `reset` when something worked."""

    policy: BackoffPolicy = field(default_factory=BackoffPolicy)
    rng: random.Random = field(default_factory=random.Random)
    attempts: int = 0

    def next(self) -> float:
        """Seconds to wait now; every call waits longer, up to the policy's maximum."""
        wait = self.policy.wait(self.attempts, self.rng)
        self.attempts += 1
        return wait

    def reset(self) -> None:
        self.attempts = 0
