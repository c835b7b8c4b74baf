"""What the writer does between commits to keep the limits; and age, the simplest of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.limits.chores import Chore, Newest, Step, kept_tables, undelivered
from tdbwatch.daemon.spool.limits.size import STEP, STEP_BYTES, Size
from tdbwatch.daemon.spool.stored.blocks import Block, Lane
from tdbwatch.daemon.spool.stored.drops import MAX_AGE
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store

_LEAP: Final = 60.0
"""Seconds that the wall clock may gain on the monotonic one and be believed: it is set right now and then."""
_BELIEVED_AFTER: Final = 600.0
_OLDEST: Final = (
    "SELECT first_seq, count, scope, room, target, born_us, length(body) FROM blocks"
    " ORDER BY first_seq LIMIT ?"
)
_BLOCKS_PER_STEP: Final = 100
_BYTES_PER_STEP: Final = STEP_BYTES // 2


class SteadyTime:
    """The time by which entries are too old: no event goes for a clock that is wrong for minutes.

    At the start the wall clock is right. If it leaps ahead after that, time goes on as if it had not, until
    it has been ahead for ten minutes. If it goes back, that counts at once: it makes everything younger.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()
        self._ahead_since: float | None = None

    def now(self) -> float:
        """Seconds since the Unix epoch. To be asked often, for a leap shows only when it is."""
        monotonic = self._clock.monotonic()
        offset = self._clock.time() - monotonic
        if offset <= self._offset + _LEAP:
            self._offset, self._ahead_since = offset, None
        elif self._ahead_since is None:
            self._ahead_since = monotonic
        elif monotonic >= self._ahead_since + _BELIEVED_AFTER:
            self._offset, self._ahead_since = offset, None
        return monotonic + self._offset


class Age:
    """The chore.

    Attributes:
        catching_up: whether a step found more than it could do: much goes at once.
    """

    def __init__(self, limits: Limits) -> None:
        self.catching_up = False
        self._max_us = int(limits.max_age * 1e6)
        self._oldest_us = 0  # nothing grows old before

    def due(self, store: Store, now_us: int) -> bool:
        return store.entries > 0 and self._oldest_us < now_us - self._max_us

    def step(self, store: Store, reach: Reach, now_us: int) -> Step | None:
        doomed, more, self._oldest_us = _older_than(store, now_us - self._max_us)
        self.catching_up = more
        if not doomed:
            return None
        tally = undelivered(store, reach, doomed, MAX_AGE)
        store.delete(doomed, tally)
        return Step(doomed, tally, more=more)


def _older_than(store: Store, limit_us: int) -> tuple[list[Gone], bool, int]:
    """The oldest blocks that began to grow old before then, within one step.

    And whether there may be more, and when the oldest that stays began to; 0: not known.
    """
    found: list[Gone] = []
    left = STEP_BYTES
    for first_seq, count, scope, room, target, born_us, size in store.connection.execute(_OLDEST, (STEP,)):
        if born_us >= limit_us:
            return found, False, born_us
        if left <= 0:
            return found, True, 0
        found.append(Gone(first_seq, count, Lane(scope, room), target))
        left -= size
    return found, len(found) == STEP, 0


class Upkeep:
    """Dead letters and attempts before anything else: no event goes for them.

    Attributes:
        busy: whether there is more to do at once.
        refuses: whether what comes in has to be dropped, as of the last `admits`.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.refuses = False
        self._time = SteadyTime(clock)
        self._letters = 0
        self._limits = limits
        self.begin_anew()

    def keep_to(self, limits: Limits) -> None:
        """These hold from now on."""
        self._limits = limits
        self.begin_anew()

    def begin_anew(self) -> None:
        """The file is another one, or its limits are: first of all it is looked at."""
        self.busy = True
        self.size, self._age = Size(self._limits), Age(self._limits)
        self._kept = [Newest(table) for table in kept_tables(self._limits)]

    @property
    def catching_up(self) -> bool:
        """Whether more is about to be dropped for its age."""
        return self._age.catching_up

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, by a clock that does not leap."""
        return int(self._time.now() * 1e6)

    def lost_letters(self) -> int:
        """Dead letters that went since this was asked; 0 while more may go: all are told of at once."""
        if self.busy:
            return 0
        lost, self._letters = self._letters, 0
        return lost

    @property
    def may_refuse(self) -> bool:
        """Whether what comes in is dropped rather than what is there."""
        return self._limits.when_full == "drop_newest"

    def admits(self, store: Store, reach: Reach) -> Iterator[list[Gone]]:
        """Where it may refuse: what is delivered goes before anything that comes in is refused."""
        self.refuses = False
        if not self.busy:
            yield from self.size.fit(store, reach)
            self.refuses = self.size.exceeded(store)

    def steps(self, store: Store, reach: Callable[[], Reach], grown: Sequence[Block]) -> Iterator[Step]:
        """What is done after a commit of these blocks: enough for the file not to outgrow its limit."""
        left, now_us, self.busy = _budget(grown), self.now_us(), False
        chores: list[Chore] = [*self._kept, self.size, self._age]
        for chore in chores:
            while chore.due(store, now_us) and (step := chore.step(store, reach(), now_us)) is not None:
                self._letters += step.letters
                yield step
                left -= 1
                if left <= 0:
                    self.busy = step.more
                    return


def _budget(grown: Sequence[Block]) -> int:
    size = sum(len(block.body) for block in grown)
    return 1 + len(grown) // _BLOCKS_PER_STEP + size // _BYTES_PER_STEP
