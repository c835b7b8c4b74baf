"""What the writer does between commits to keep the limits: chores, each in small steps.

Whether one may be `due` is asked after each commit, and told by numbers that the store has anyway. Its `step`
does a little, so that no commit of new events waits long for it; None: there was nothing to do.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.file.disk import free_bytes, used_bytes
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.limits.delivered import Delivered, Sized, oldest, undelivered
from tdbwatch.daemon.spool.stored import orders
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.daemon.spool.stored.drops import MAX_AGE, MAX_SIZE, Tally
from tdbwatch.daemon.spool.stored.history import ATTEMPT_SIZE, LETTER_SIZE
from tdbwatch.daemon.spool.stored.progress import Reach
from tdbwatch.daemon.spool.stored.store import Store

_LETTER_SHARE: Final = 2
"""Dead letters may take one part in so many of `max_size`."""
_ATTEMPT_SHARE: Final = 8
_MOST_ATTEMPTS: Final = 1_000_000
_SLACK: Final = 16
"""One part in so many goes beyond what must: rather a few at once than some with each that comes."""
_STEP: Final = 1_000
"""Rows deleted in one step."""
_LARGE_ROW: Final = 2_000
"""Bytes: an attempt whose error is as long as it may be."""
_STEP_BYTES: Final = 4 << 20
_COARSE, _FINE = 64, 1_024
"""One part in so many of `max_size` goes at once; the fine one where replays may still ask for it."""
_GAP_BYTES: Final = 500
"""What a gap record takes in the file, roughly."""
_TIGHT: Final = 16
"""With less than one part in so many of `max_size` left there is no space for gap records."""
_ROUGHLY: Final = 4
"""What is inserted takes no more than so many times as much in the file."""
_AT_LEAST_US: Final = 1_000_000
"""Not only what is inserted takes space, so the file is measured now and then at least."""
_BLOCKS_PER_STEP: Final = 100
_LEAP: Final = 60.0
"""Seconds that the wall clock may gain on the monotonic one and be believed: it is set right now and then."""
_BELIEVED_AFTER: Final = 600.0


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


@dataclass(slots=True)
class Step:
    """What one step of a chore did.

    Attributes:
        gone: blocks that were deleted.
        tally: of these, what nobody gets any more.
        letters: dead letters that were deleted.
        more: whether there is more to do at once.
    """

    gone: Sequence[Gone] = ()
    tally: Tally | None = None
    letters: int = 0
    more: bool = True


class Length:
    """A table is no longer than it may be: of its rows the newest are kept.

    What others delete is not known until there seems to be too much; then all is counted again.

    Args:
        size: SQL for the bytes that a row takes.
        most, most_bytes: what is kept.
        told: whether people are told of what goes. Then each new row is looked at, else as many at once as
            are a small part of what is kept, and a thousand at most.
    """

    def __init__(self, table: str, size: str, most: int, most_bytes: int, *, told: bool) -> None:
        self._table = table
        self._size = size
        self._bounds = most, most_bytes
        self._told = told
        self._at_once = 1 if told else max(1, min(_STEP, most_bytes // _SLACK // _LARGE_ROW))
        self._last = self._rows = self._bytes = 0
        """The last row that was looked at; how many there were, and the bytes that they took."""
        self._inserted: int | None = None
        self._trimming = False

    def due(self, store: Store, now_us: int) -> bool:  # noqa: ARG002
        if self._trimming or self._inserted is None:
            return True
        return store.inserted[self._table] - self._inserted >= self._at_once

    def step(self, store: Store, reach: Reach, now_us: int) -> Step | None:  # noqa: ARG002
        if not (self._trimming or self._are_too_many(store)):
            return None
        query = f"SELECT number, {self._size} FROM {self._table} ORDER BY number LIMIT {_STEP}"  # noqa: S608
        doomed, size = list[tuple[int]](), 0
        for number, bytes_of_row in store.connection.execute(query).fetchall():
            if not self._exceeds(len(doomed), size, _SLACK):
                break
            doomed.append((number,))
            size += bytes_of_row
        with store.transaction():
            query = f"DELETE FROM {self._table} WHERE number = ?"  # noqa: S608 - our own words
            store.connection.executemany(query, doomed)
        self._rows, self._bytes = self._rows - len(doomed), self._bytes - size
        self._last = self._last if self._rows else 0  # an empty table may begin anew with its numbers
        self._trimming = len(doomed) == _STEP
        return Step(letters=len(doomed) if self._told else 0, more=self._trimming) if doomed else None

    def _are_too_many(self, store: Store) -> bool:
        self._look(store)
        if not self._exceeds():
            return False
        self._last = self._rows = self._bytes = 0
        self._look(store)
        return self._exceeds()

    def _look(self, store: Store) -> None:
        query = f"SELECT count(*), ifnull(sum({self._size}), 0), max(number) FROM {self._table}"  # noqa: S608
        rows, size, last = store.connection.execute(f"{query} WHERE number > ?", (self._last,)).fetchone()
        self._rows, self._bytes, self._last = self._rows + rows, self._bytes + size, last or self._last
        self._inserted = store.inserted[self._table]

    def _exceeds(self, rows: int = 0, size: int = 0, slack: int = 0) -> bool:
        """Whether it would, without so many; `slack`: or would soon."""
        most, most_bytes = (bound - bound // slack if slack else bound for bound in self._bounds)
        return self._rows - rows > most or self._bytes - size > most_bytes


class Size:
    """The file is no larger than it may be: what every sink has makes way first, then what `when_full` says.

    Attributes:
        full: whether nothing can make way any more, as of the last step.
        gap_records: how many of them, and then as many again, push out nothing undelivered.
    """

    def __init__(self, limits: Limits) -> None:
        self.full = False
        self.gap_records = 0  # until it is measured
        self._limits = limits
        self._delivered = Delivered()
        self._again_at = 0
        self._again_us = 0

    def due(self, store: Store, now_us: int) -> bool:
        return self.full or store.inserted_bytes >= self._again_at or now_us >= self._again_us

    def step(self, store: Store, reach: Reach, now_us: int) -> Step | None:
        surplus = self.measure(store, reach) - self._limits.max_size
        self._again_at = store.inserted_bytes + max(0, -surplus) // _ROUGHLY
        self._again_us = now_us + _AT_LEAST_US
        self.full = False
        if surplus <= 0:
            return None
        parts = _FINE if orders.replays(store.connection) else _COARSE
        aim = min(surplus + self._limits.max_size // parts, _STEP_BYTES)
        if gone := self._delivered.give_up(store, reach, aim):
            return Step(gone)
        if self._limits.when_full == "drop_newest":
            self.full = True
            return None
        return _given_up(store, reach, [block for block, *_ in _within(oldest(store), aim)], MAX_SIZE)

    def measure(self, store: Store, reach: Reach) -> int:
        """Bytes of the file that hold something."""
        used, limits = used_bytes(store.connection), self._limits
        floor = store.last_seq if reach.floor is None else reach.floor
        delivered = max(0, floor - store.first_seq + 1) / max(1, store.last_seq - store.first_seq + 1)
        left = limits.max_size - used + int(used * min(1, delivered))
        self.gap_records = left // 2 // _GAP_BYTES if left > limits.max_size // _TIGHT else 0
        return used

    def takes_copies(self, store: Store, reach: Reach, size: int) -> bool:
        """Whether copies of `size` bytes take no space but that of what is delivered."""
        limits = self._limits
        surplus = used_bytes(store.connection) + size + limits.headroom - limits.max_size
        return surplus <= 0 or self._delivered.hold(store, reach, surplus)

    def relieve(self, store: Store, reach: Reach) -> Iterator[list[Gone]]:
        """Find space on the disk, and within the file, for what it does not take. Only the delivered goes.

        Raises:
            sqlite3.Error: not even that can be written.
        """
        store.empty_log()
        while (missing := store.space.reserve - free_bytes(store.connection)) > 0:
            if not (gone := self._delivered.give_up(store, reach, min(missing, _STEP_BYTES))):
                return
            yield gone
            store.empty_log()


class Age:
    """What is too old goes.

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
        old, oldest_us = list[Gone](), 0
        for block, _, born_us in _within(oldest(store), _STEP_BYTES):
            if born_us >= now_us - self._max_us:
                oldest_us = born_us
                break
            old.append(block)
        step = _given_up(store, reach, old, MAX_AGE)
        self._oldest_us = oldest_us
        self.catching_up = not oldest_us and store.entries > 0
        if step is not None:
            step.more = self.catching_up
        return step


def _within(rows: Iterator[Sized], aim: int) -> Iterator[Sized]:
    """The first of these, as far as one step goes: about `aim` bytes."""
    for row in islice(rows, _STEP):
        yield row
        aim -= row[1]
        if aim <= 0:
            return


def _given_up(store: Store, reach: Reach, doomed: Sequence[Gone], reason: str) -> Step | None:
    if not doomed:
        return None
    tally = undelivered(store, reach, doomed, reason)
    store.delete(doomed, tally)
    return Step(doomed, tally)


class Upkeep:
    """Dead letters and attempts before anything else: no event goes for them.

    Attributes:
        busy: whether there is more to do at once.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._time = SteadyTime(clock)
        self._letters = 0
        self.keep_to(limits)

    def keep_to(self, limits: Limits) -> None:
        """These hold from now on; or the file is another one. First of all it is looked at."""
        self.busy = True
        letters, attempts = limits.max_size // _LETTER_SHARE, limits.max_size // _ATTEMPT_SHARE
        most = limits.max_dead_letters
        self.size, self.age = Size(limits), Age(limits)
        self._chores: tuple[Length | Age | Size, ...] = (
            Length("dead_letters", LETTER_SIZE, most, letters, told=True),
            Length("attempts", ATTEMPT_SIZE, _MOST_ATTEMPTS, attempts, told=False),
            self.age,
            self.size,
        )

    @property
    def refuses(self) -> bool:
        """Whether what comes in has to be dropped: under `drop_newest` nothing can make way for it."""
        return self.size.full and not self.busy

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, by a clock that does not leap."""
        return int(self._time.now() * 1e6)

    def lost_letters(self) -> int:
        """Dead letters that went since this was asked; 0 while more may go: all are told of at once."""
        if self.busy:
            return 0
        lost, self._letters = self._letters, 0
        return lost

    def steps(self, store: Store, reach: Callable[[], Reach], grown: Sequence[Block]) -> Iterator[Step]:
        """What is done after a commit of these blocks: enough for the file not to outgrow its limit."""
        left, now_us, self.busy = _budget(grown), self.now_us(), False
        for chore in self._chores:
            while chore.due(store, now_us) and (step := chore.step(store, reach(), now_us)) is not None:
                self._letters += step.letters
                self.size.full = self.size.full and not step.gone
                yield step
                left -= 1
                if left <= 0:
                    self.busy = step.more
                    return


def _budget(grown: Sequence[Block]) -> int:
    size = sum(len(block.body) for block in grown)
    return 1 + len(grown) // _BLOCKS_PER_STEP + 2 * size // _STEP_BYTES
