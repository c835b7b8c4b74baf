"""Finding out, while links run side by side, which debts a link will never pay. Pure.

Where a link that joins enters the stream cannot be seen. A debt it never pays (the emit passed its node
before it joined) looks like one it pays late, if equal emits keep coming. But emits of one node come in order:
once the link delivers an emit that is not repeated, a *marker*, whatever it still owes from before that marker
was *overtaken*. A debt that is only late is overtaken for moments, one that is never paid for good. So the least
number of overtaken debts during a round is the number to forgive, whatever the delay between the links.

Rounds double in length: the first ends soon after the join, since until then another link has to vouch for
repeated emits, and the later ones mend what came after. Without markers, the least number owed is taken: with
a constant delay it is too high by the equal emits under way, which then come twice.
"""

from collections.abc import Collection, Hashable
from typing import Final

from tdbwatch.client.merge_debts import Debts

ROUNDS: Final = 6
"""Their lengths add up to twice the settling time, almost."""


class Trial:
    """One link's rounds, from a join (its own or another link's) until `2 * settle` seconds after it."""

    __slots__ = (
        "_floors",
        "_length",
        "_marked",
        "_next_sample",
        "_pause",
        "_until",
        "debts",
        "left",
        "reached",
        "start",
    )

    def __init__(self, debts: Debts, settle: float, start: int, now: float) -> None:
        self.debts = debts
        self.left = ROUNDS
        self.start = start
        """The number of the last emit passed on before the round began."""
        self.reached = 0
        """The highest number of an emit that the link delivered."""
        self._length = settle / 2 ** (ROUNDS - 1)
        self._until = now + self._length
        self._pause = settle / 256
        self._next_sample = now
        self._floors: dict[Hashable, int] | None = None
        self._marked = False

    def heard(self, number: int, repeated: Collection[Hashable], now: float, *, marker: bool) -> None:
        """The link delivered the emit with this number: look what it overtook.

        Args:
            repeated: the keys that came more than once of late.
            marker: whether this emit's key did not.
        """
        self.reached = max(self.reached, number)
        if now < self._next_sample or (number <= self.start if marker else self._marked):
            return
        self._next_sample = now + max(self._pause, 1e-5 * len(repeated))
        if marker and not self._marked:
            self._marked, self._floors = True, None
        self._lower_floors(number if marker else None, repeated)

    def _lower_floors(self, number: int | None, repeated: Collection[Hashable]) -> None:
        overtaken = self.debts.overtaken
        limit = 1 << 62 if number is None else number
        if self._floors is None:
            counts = ((key, overtaken(key, limit)) for key in repeated)
        else:
            counts = ((key, min(floor, overtaken(key, limit))) for key, floor in self._floors.items())
        self._floors = {key: count for key, count in counts if count}

    def close_round(self, number: int, now: float) -> int:
        """Forgive what the round found, if it is over and the link was heard; returns how many debts.

        Args:
            number: that of the last emit passed on.
        """
        if now < self._until or self._floors is None:
            return 0
        forgiven = sum(self.debts.forgive(key, count) for key, count in self._floors.items())
        self.left -= 1
        self.start, self._floors, self._marked = number, None, False
        self._length *= 2
        self._until = now + self._length
        return forgiven
