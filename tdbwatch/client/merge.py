"""One stream out of several: each emit once, although emits carry no number. Pure: it is told the time.

Every live link that joined a room hears every emit to it, in an order that holds per emitting node only, and
equal emits are legal. So emits are matched by counting: what one link delivers first is *owed* by each other
link, and a link that later delivers an equal emit pays what it owes, silently. What nobody owes is new.

While links are settled this is exact, whatever the interleaving. It is not at the edges, and there
duplicates are chosen over loss:

- A link that has just joined may repeat what was heard shortly before. For `settle` seconds an emit
  equal to one delivered in that time is taken as its repetition, as long as a settled link vouches for it.
- A link may have joined too late for an emit that others delivered after that. What it owes is forgotten
  after `patience` seconds, or, for an emit that is repeated so often that it never gets that old, when the
  debt was not once paid in full during `settle` seconds in which the link did pay.

The bound, for k equal emits under way at the moment of a join: at most k of them are doubled. A loss needs a
second link to die within `settle` seconds of that join, and equal emits at that moment. `uncertain` counts
the debts that were forgiven or forgotten: the only places where the merge had to guess.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

SETTLE: Final = 2.0
"""Seconds; longer than one node is ever behind another one while both are well (measured: milliseconds)."""
PATIENCE: Final = 20.0
"""Seconds; longer than a frozen link is kept, so that one that thaws in time is still matched."""

Key = Hashable


@dataclass(slots=True)
class _Debt:
    """How often a link still has to deliver an emit that others delivered."""

    owed: int
    floor: int
    """The least it owed since the last sweep."""
    paid: bool = False
    """Whether it paid since the last sweep."""


@dataclass(slots=True)
class _Stream:
    """What one link owes: young debts, and those that were young one `patience` ago."""

    joined_at: float
    young: dict[Key, _Debt] = field(default_factory=dict)
    old: dict[Key, _Debt] = field(default_factory=dict)
    settled: bool = False


class Merge:
    """The emits of one room, over all links that joined it.

    Args:
        settle: see the module's text; seconds.
        patience: likewise.
    """

    __slots__ = (
        "_earlier",
        "_next_ageing",
        "_next_sweep",
        "_patience",
        "_recent",
        "_settle",
        "_streams",
        "delivered",
        "doubled",
        "uncertain",
    )

    def __init__(self, settle: float = SETTLE, patience: float = PATIENCE) -> None:
        self.delivered = 0
        """Emits that were new."""
        self.doubled = 0
        """Emits that another link had delivered before."""
        self.uncertain = 0
        """Guesses that had to be made."""
        self._settle = settle
        self._patience = patience
        self._streams: dict[Hashable, _Stream] = {}
        self._recent: dict[Key, int] = {}
        self._earlier: dict[Key, int] = {}
        self._next_sweep = 0.0
        self._next_ageing = 0.0

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, link: Hashable, now: float) -> None:
        """A link joined the room: from here on it hears every emit."""
        if link not in self._streams:
            self._streams[link] = _Stream(now, settled=not self._recent and not self._earlier)

    def remove(self, link: Hashable, now: float) -> None:
        """A link does not hear the room any more. What it alone could vouch for is not held against others."""
        self._streams.pop(link, None)
        if not any(stream.settled for stream in self._streams.values()):
            self._trust_the_rest(now)

    def receive(self, link: Hashable, key: Key, now: float) -> bool:
        """A link delivered an emit; whether it is new and should go on.

        Args:
            key: equal for equal emits: the event's name and its arguments.
            now: monotonic seconds.
        """
        if now >= self._next_sweep:
            self._sweep(now)
        stream = self._streams.get(link)
        if stream is None:  # it left already; whoever stayed delivers this too
            return False
        if self._pay(stream, key) or (not stream.settled and self._repeats(stream, key)):
            self.doubled += 1
            return False
        self._deliver(link, key)
        return True

    def _pay(self, stream: _Stream, key: Key) -> bool:
        for debts in (stream.young, stream.old):
            debt = debts.get(key)
            if debt is None:
                continue
            debt.owed -= 1
            debt.paid = True
            debt.floor = min(debt.floor, debt.owed)
            if debt.owed == 0:
                del debts[key]
            return True
        return False

    def _repeats(self, stream: _Stream, key: Key) -> bool:
        """Whether a link that has just joined repeats what was delivered just before.

        It does if it was delivered once. What is emitted again and again is only taken for a repetition while
        another link is there to deliver it if it is none.
        """
        seen = self._recent.get(key, 0) + self._earlier.get(key, 0)
        if seen == 0:
            return False
        return seen == 1 or any(s.settled for s in self._streams.values() if s is not stream)

    def _deliver(self, link: Hashable, key: Key) -> None:
        self.delivered += 1
        self._recent[key] = self._recent.get(key, 0) + 1
        for other, stream in self._streams.items():
            if other == link:
                continue
            debt = stream.young.get(key)
            if debt is None:
                stream.young[key] = _Debt(1, 1)
            else:
                debt.owed += 1

    def _trust_the_rest(self, now: float) -> None:
        """Nobody settled is left: emits that came more than once are no repetitions any more."""
        for stream in self._streams.values():
            stream.settled = stream.settled or now - stream.joined_at >= self._settle
            for debts in (stream.young, stream.old):
                doubtful = [key for key in debts if self._recent.get(key, 0) + self._earlier.get(key, 0) > 1]
                for key in doubtful:
                    self.uncertain += debts.pop(key).owed

    def _sweep(self, now: float) -> None:
        """Forgive, forget, and let links settle. Every `settle` seconds, if anything is heard at all."""
        self._next_sweep = now + self._settle
        self._earlier, self._recent = self._recent, {}
        ageing = now >= self._next_ageing
        if ageing:
            self._next_ageing = now + self._patience
        for stream in self._streams.values():
            stream.settled = stream.settled or now - stream.joined_at >= self._settle
            self._forgive(stream.young)
            self._forgive(stream.old)
            if ageing:
                self.uncertain += sum(debt.owed for debt in stream.old.values())
                stream.old, stream.young = stream.young, {}

    def _forgive(self, debts: dict[Key, _Debt]) -> None:
        for key, debt in list(debts.items()):
            if debt.paid and debt.floor > 0:
                self.uncertain += debt.floor
                debt.owed -= debt.floor
            if debt.owed == 0:
                del debts[key]
            else:
                debt.floor, debt.paid = debt.owed, False
