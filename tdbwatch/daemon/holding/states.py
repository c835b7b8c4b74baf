"""All states of one configuration: bounded in number and size, and which of them is due next. Pure."""

from collections import Counter, deque
from collections.abc import Callable, Container
from heapq import heappop, heappush
from itertools import count
from typing import Final

from tdbwatch.daemon.holding.awaited import Awaited
from tdbwatch.daemon.holding.grouped import Grouped
from tdbwatch.daemon.holding.state import NEVER, State

MOST_KEYS: Final = 100_000
"""Keys that are remembered; those that were seen the longest ago are given up first."""
MOST_BYTES: Final = 16 << 20
"""Bytes of all groups together; the one that was begun first is told sooner for others."""
Key = tuple[str, str]
"""The key of a rule, and that of the events."""


class States:
    """Which there are, and which is due next.

    Args:
        most_bytes, most_keys: as `MOST_BYTES` and `MOST_KEYS`; the first may change.

    Attributes:
        by_key: all of them, the one that was seen last at the end.
        open: by the route's path, how many groups are open.
        size: bytes of all groups.
        ready: those to which nothing is added any more: they are due now.
    """

    def __init__(self, most_bytes: Callable[[], int], most_keys: int) -> None:
        self.by_key: dict[Key, State] = {}
        self.open: Counter[str] = Counter()
        self.size = 0
        self.ready: deque[tuple[Key, State]] = deque()
        self._most_bytes = most_bytes
        self._most_keys = most_keys
        self._groups: dict[Grouped, Key] = {}
        self._awaited = 0
        self._untimed: deque[tuple[Key, State]] = deque()
        self._times: list[tuple[int, int, Key, State]] = []
        self._number = count()

    @property
    def next_us(self) -> int | None:
        """Nothing is due before this time; None: ever."""
        return 0 if self.ready or self._untimed else self._times[0][0] if self._times else None

    def holds(self, key: Key, state: State) -> bool:
        """Whether it is the one of this key."""
        return self.by_key.get(key) is state

    def follow(self, routes: Container[str]) -> None:
        """Routes are otherwise now; the states of these may be due at other times."""
        self.open = Counter(state.path for state in self._groups)
        self._untimed.extend((key, state) for key, state in self.by_key.items() if key[0] in routes)

    def time_some(self, most: int) -> None:
        """See when these are due now, so many at a time."""
        for _ in range(min(most, len(self._untimed))):
            key, state = self._untimed.popleft()
            if self.holds(key, state):
                self.time(key, state)

    def keep(self, key: Key, state: State) -> State:
        """A new one."""
        self.by_key[key] = state
        self.size += state.size
        self._awaited += isinstance(state, Awaited)
        if isinstance(state, Grouped):
            self._groups[state] = key
            self.open[state.path] += 1
        self.time(key, state)
        return state

    def seen(self, key: Key, state: State, grown: int) -> None:
        """It was taken out, heard something, and takes so many bytes more."""
        self.by_key[key] = state
        self.size += grown

    def drop(self, key: Key, state: State) -> None:
        """It is over."""
        if self.holds(key, state):
            del self.by_key[key]
        self.size -= state.size
        self._awaited -= isinstance(state, Awaited)
        if isinstance(state, Grouped):
            del self._groups[state]
            self.open[state.path] -= 1

    def set_aside(self, key: Key, state: State) -> None:
        """Nothing is added to it any more; what it has to tell is told soon."""
        self.drop(key, state)
        self.ready.append((key, state))

    def bound(self) -> None:
        """Set aside what is too much."""
        most_bytes = self._most_bytes()
        while self.size > most_bytes:
            oldest, key = next(iter(self._groups.items()))
            self.set_aside(key, oldest)
        while len(self.by_key) > self._most_keys + self._awaited:
            key, state = next(iter(self.by_key.items()))
            if isinstance(state, Awaited):
                self.by_key[key] = self.by_key.pop(key)
            else:
                self.set_aside(key, state)

    def time(self, key: Key, state: State) -> None:
        """Look at it when it is due, and not when it was before."""
        state.timed = next(self._number)
        if (due_us := state.due_us) < NEVER:
            heappush(self._times, (due_us, state.timed, key, state))

    def set_back(self, now_us: int) -> None:
        """The clock was set back."""
        self._times = []
        for key, state in self.by_key.items():
            state.set_back(now_us)
            self.time(key, state)

    def next_due(self, now_us: int) -> tuple[Key, State] | None:
        """One that is due by now, of which the time is taken; None: no more are."""
        if self.ready:
            return self.ready.popleft()
        while self._times and self._times[0][0] <= now_us:
            _, number, key, state = heappop(self._times)
            if not self.holds(key, state) or state.timed != number:
                continue
            if state.due_us <= now_us:
                return key, state
            self.time(key, state)
        return None
