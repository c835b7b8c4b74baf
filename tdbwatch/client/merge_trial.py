"""Finding out, while links run side by side, which debts a link will never pay. Pure.

Where a link that joins enters the stream cannot be seen. A debt it never pays (the emit passed its node
before it joined) looks like one it pays late, if equal emits keep coming: it is always the next one that pays.
But emits of one node come in order. So wherever both streams show the same *marker*, an emit that is not
repeated, they are at the same place, and what the link owes there it will never pay, however far it is behind
or ahead. Emits of other nodes come in another order, which makes the count too high or too low at some
markers: the median of a round is taken, and forgiven at its end.

Rounds double in length: the first ends soon after the join, since until then another link has to vouch for
repeated emits; the later ones are surer, and mend what came after.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable
from statistics import median_high
from typing import Final

from tdbwatch.client.merge_debts import Debts, Key

ROUNDS: Final = 6
"""Their lengths add up to twice the settling time, almost."""
SAMPLES: Final = 5
"""Markers, at least, before a round may end."""


class Trial:
    """One link's rounds, from a join (its own or another link's) until `2 * settle` seconds after it.

    Args:
        number: that of the last emit passed on.
    """

    __slots__ = (
        "_ahead",
        "_length",
        "_longest",
        "_next_sample",
        "_paid_since",
        "_pause",
        "_samples",
        "_start",
        "_until",
        "debts",
        "left",
        "marked",
        "reached",
    )

    def __init__(self, debts: Debts, settle: float, number: int, now: float) -> None:
        self.debts = debts
        self.left = ROUNDS
        """Rounds to come."""
        self.reached = 0
        """The highest number of an emit that the link delivered."""
        self.marked = False
        """Whether there was a marker at all."""
        self._start = number
        self._length = settle / 2 ** (ROUNDS - 1)
        self._longest = settle
        self._until = now + self._length
        self._pause = settle / 256
        self._next_sample = now
        self._samples: list[dict[Key, int]] = []
        self._ahead: Key | None = None
        self._paid_since: dict[Key, int] = defaultdict(int)

    def repeated_heard(self, key: Key, *, paid: bool) -> None:
        """The link delivered an emit that came more than once of late."""
        if paid and self._ahead is not None:
            self._paid_since[key] += 1

    def marker_heard(
        self, key: Key, number: int, repeated: Collection[Key], now: float, *, paid: bool
    ) -> None:
        """The link delivered an emit that came only once, as the first link or not, now or earlier numbered."""
        self.reached = max(self.reached, number)
        if now < self._next_sample or number <= self._start:
            return
        self._next_sample = now + max(self._pause, 1e-5 * len(repeated))
        if paid:
            self._sample({k: n for k in repeated if (n := self.debts.before(k, number))})
        else:
            self._ahead = key
            self._paid_since.clear()

    def marker_paid(self, key: Hashable, repeated: Collection[Key]) -> None:
        """Another link delivered an emit that came only once, after this one or a third."""
        if key == self._ahead:
            self._ahead = None
            owed, since = self.debts.count, self._paid_since
            self._sample({k: n for k in repeated if (n := owed(k) + since.get(k, 0))})

    def _sample(self, owed: dict[Key, int]) -> None:
        self.marked = True
        self._samples.append(owed)

    def close_round(self, number: int, now: float) -> int:
        """Forgive what the round found, if it is over and knows enough; returns how many debts.

        Args:
            number: that of the last emit passed on.
        """
        if now < self._until or len(self._samples) < SAMPLES:
            return 0
        forgiven = sum(self.debts.forgive(key, count) for key, count in self._medians() if count)
        self.left -= 1
        self._samples = []
        self._start, self._ahead = number, None
        self._length = min(self._longest, 2 * self._length)
        self._until = now + self._length
        return forgiven

    def _medians(self) -> list[tuple[Key, int]]:
        keys = set().union(*self._samples)
        return [(key, median_high(sample.get(key, 0) for sample in self._samples)) for key in keys]
