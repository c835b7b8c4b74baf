"""When rooms that could not be joined are asked for again."""

import asyncio
import random
from typing import Final

from tdbwatch.backoff import BackoffPolicy
from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.clock import Clock

OF_ROOM: Final = BackoffPolicy(initial=1.0, factor=2.0, maximum=60.0, jitter=0.5)
"""For rooms that are missing or forbidden."""
OF_NODE: Final = BackoffPolicy(initial=0.2, factor=2.0, maximum=5.0, jitter=0.5)
"""For a node that is not ready (-51), which passes in seconds."""


class Retries:
    """What one link has to ask for again, and when.

    Rooms that failed together are due together, however many they are: so one request asks for all of them,
    and all are heard from the same moment on.
    """

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._failures: dict[Subscription, tuple[BackoffPolicy, int]] = {}
        """The policy of the last failure, and how many there were in a row before it."""
        self._due: dict[Subscription, float] = {}
        self._moments: dict[tuple[BackoffPolicy, float], float] = {}
        """When those are due that wait at most so many seconds: whoever joins them waits with them."""
        self._wake = asyncio.Event()

    @property
    def node_is_unready(self) -> bool:
        """Whether the node was not ready to let rooms be joined; it is starting, or shutting down."""
        return any(policy is OF_NODE for policy, _ in self._failures.values())

    def later(self, subscription: Subscription, policy: BackoffPolicy) -> None:
        """It could not be joined; each time in a row for the same cause it waits longer."""
        before, count = self._failures.get(subscription, (policy, -1))
        attempt = count + 1 if before is policy else 0
        self._failures[subscription] = policy, attempt
        together, now = (policy, policy.ceiling(attempt)), self._clock.monotonic()
        if self._moments.get(together, now) <= now:
            self._moments[together] = now + policy.wait(attempt, self._rng)
        self._due[subscription] = self._moments[together]
        self._wake.set()

    def succeeded(self, subscription: Subscription) -> None:
        """It was joined: the next failure is a first one."""
        self._failures.pop(subscription, None)

    def forget(self, subscription: Subscription) -> None:
        """Nobody wants it joined any more."""
        self._due.pop(subscription, None)
        self._failures.pop(subscription, None)

    def hurry(self) -> None:
        """Something changed for the better: all are due now."""
        self._failures.clear()
        self._due = dict.fromkeys(self._due, self._clock.monotonic())
        self._wake.set()

    def stop(self) -> None:
        """Nothing is asked for any more."""
        self._due.clear()

    async def due(self) -> list[Subscription]:
        """Wait until something is due, and take it."""
        while True:
            now = self._clock.monotonic()
            if due := [subscription for subscription, when in self._due.items() if when <= now]:
                for subscription in due:
                    del self._due[subscription]
                return due
            await self._sleep(min(self._due.values(), default=None))

    async def _sleep(self, until: float | None) -> None:
        self._wake.clear()
        if until is None:
            await self._wake.wait()
            return
        woken = asyncio.ensure_future(self._wake.wait())
        timer = asyncio.ensure_future(self._clock.sleep(max(0.0, until - self._clock.monotonic())))
        try:
            await asyncio.wait({woken, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            timer.cancel()
