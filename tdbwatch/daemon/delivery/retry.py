"""When to try again and when to give up. Pure: no clock, no sleeping."""

import random
from dataclasses import dataclass, field

from tdbwatch.backoff import BackoffPolicy
from tdbwatch.daemon.words import counted, duration


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a sink is tried again.

    Attributes:
        initial: seconds before the second attempt.
        factor: each wait is so many times the one before.
        maximum: seconds; no wait of ours is longer.
        jitter: the share of each wait that is drawn at random, 0 to 1.
        max_attempts: attempts for one event, the first included; None: no limit.
        max_age: seconds since the first attempt; None: no limit.
        max_after: seconds; no wait that a sink asks for is longer.
    """

    initial: float = 1.0
    factor: float = 2.0
    maximum: float = 60.0
    jitter: float = 0.5
    max_attempts: int | None = None
    max_age: float | None = 345_600.0
    max_after: float = 3_600.0
    _backoff: BackoffPolicy = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        backoff = BackoffPolicy(self.initial, self.factor, self.maximum, self.jitter)
        object.__setattr__(self, "_backoff", backoff)

    def wait(self, failures: int, rng: random.Random, after: float | None = None) -> float:
        """Seconds to wait after the `failures`-th failure in a row (from 1).

        Args:
            after: seconds that the sink asked for: obeyed up to `max_after`, never shortened by jitter.
        """
        own = self._backoff.wait(max(0, failures - 1), rng)
        if after is None or not after > 0:  # also NaN
            return own
        return max(own, min(after, self.max_after))

    def pause(self, failures: int, rng: random.Random, after: float | None = None) -> float:
        """As `wait`, for a sink that wants a pause: `max_after` if it names no seconds."""
        return self.wait(failures, rng, after if after is not None and after > 0 else self.max_after)

    def exhausted(self, attempts: int, age: float) -> str | None:
        """Why there is no further attempt; None when there is.

        Args:
            attempts: made so far.
            age: seconds since the first one.
        """
        if self.max_attempts is not None and attempts >= self.max_attempts:
            return f"gave up after {counted(attempts, 'attempt')}"
        if self.max_age is not None and age >= self.max_age:
            return f"gave up after {counted(attempts, 'attempt')} in {duration(age)}"
        return None
