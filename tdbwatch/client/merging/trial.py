"""Finding out, while links run side by side, which debts a link will never pay. Pure.

Where a link that joins enters the stream cannot be seen. A debt it never pays (the emit passed its node
before it joined) looks like one it pays late, if equal emits keep coming: always the next one pays.
But emits of one node come in order. So wherever both streams show the same *marker*, an emit that is not
repeated, they are at the same place, and what the link owes there it will never pay, however far it is behind
or ahead. Emits of other nodes come in another order, which makes the count too high or too low at some
markers: the median of a round is forgiven at its end.

Rounds double in length: the first ends soon after the join, since until then another link has to vouch for
repeated emits; the later ones are surer, and mend what came after.
"""

from collections import defaultdict
from collections.abc import Collection
from statistics import median_high
from typing import Final

from tdbwatch.client.merging.debts import Debts, Key

ROUNDS: Final = 6
"""Their lengths add up to twice the settling time, almost."""
SAMPLES: Final = 5
"""Markers, at least, before a round may end."""


class Trial:
    """One link's rounds after a join, its own or another link's.

    Args:
        settle: seconds; the longest round. All rounds take about twice that where enough markers come.
        patience: seconds after which it is over in any case.
        number: that of the last emit passed on.
    """

    __slots__ = (
        "_ahead",
        "_ahead_until",
        "_ends",
        "_length",
        "_longest",
        "_next_sample",
        "_paid_since",
        "_pause",
        "_samples",
        "_start",
        "_until",
        "_vain_after",
        "debts",
        "left",
        "reached",
        "told",
    )

    def __init__(self, debts: Debts, settle: float, patience: float, number: int, now: float) -> None:
        self.debts = debts
        self.left = ROUNDS
        """Rounds to come."""
        self.reached = 0
        """The highest number of a marker that the link and another one delivered."""
        self.told = False
        """Whether a round found enough markers to end."""
        self._start = number
        self._length = settle / 2 ** (ROUNDS - 1)
        self._longest = settle
        self._until = now + self._length
        self._vain_after = now + 2 * settle
        self._ends = now + patience
        self._pause = settle / 256
        self._next_sample = now
        self._samples: list[dict[Key, int]] = []
        self._ahead: Key | None = None
        self._ahead_until = now
        self._paid_since: dict[Key, int] = defaultdict(int)

    def repeated_paid(self, key: Key) -> None:
        """The link delivered an emit that came more than once of late, and that it owed."""
        if self._ahead is not None:
            self._paid_since[key] += 1

    def marker_first_heard(self, key: Key, number: int, repeated: Collection[Key], now: float) -> None:
        """The link is the first that delivered this marker: see what it owes when another one does."""
        waiting = self._ahead is not None and now < self._ahead_until
        if not waiting and self._is_due(number, repeated, now):
            self._ahead, self._ahead_until = key, now + self._longest
            self._paid_since.clear()

    def marker_paid(self, number: int, repeated: Collection[Key], now: float) -> None:
        """The link delivered a marker, after another one did."""
        self.reached = max(self.reached, number)
        if self._is_due(number, repeated, now):
            owed = self.debts.before
            self._samples.append({key: count for key in repeated if (count := owed(key, number))})

    def marker_caught_up(self, key: Key, number: int, repeated: Collection[Key]) -> None:
        """Another link delivered a marker that it had not delivered first."""
        if key == self._ahead:
            self._ahead = None
            self.reached = max(self.reached, number)
            owed, since = self.debts.count, self._paid_since
            self._samples.append({k: count for k in repeated if (count := owed(k) + since.get(k, 0))})

    def _is_due(self, number: int, repeated: Collection[Key], now: float) -> bool:
        if now < self._next_sample or number <= self._start:
            return False
        self._next_sample = now + max(self._pause, 1e-5 * len(repeated))
        return True

    def is_over(self, now: float) -> bool:
        """Whether nothing more is to be found out; in vain, where hardly anything but equal emits comes."""
        return self.left <= 0 or now >= (self._ends if self.told else self._vain_after)

    def close_round(self, number: int, now: float) -> int:
        """Forgive what the round found, if it is over and knows enough; returns how many debts.

        Args:
            number: that of the last emit passed on.
        """
        if now < self._until or len(self._samples) < SAMPLES:
            return 0
        found = [(key, count) for key, count in self._medians() if count > 0]
        for key, count in found:
            self.debts.write_off(key, count)
        self.left -= 1
        self.told = True
        self._samples = []
        self._start, self._ahead = number, None
        self._length = min(self._longest, 2 * self._length)
        self._until = now + self._length
        return sum(count for _, count in found)

    def _medians(self) -> list[tuple[Key, int]]:
        keys = set().union(*self._samples)
        return [(key, median_high(sample.get(key, 0) for sample in self._samples)) for key in keys]
