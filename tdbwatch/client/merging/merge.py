"""One stream out of several: each emit once, although emits carry no number. Pure: it is told the time.

Every live link that joined a room hears every emit to it, in an order that holds per emitting node only, and
equal emits are legal. So emits are matched by counting: what one link delivers first is *owed* by each other
link, and a link that later delivers an equal emit pays what it owes, silently. What a link does not owe is
new. While the same links live this is exact, whatever the interleaving and however late a link is.

A link that joins may repeat what others delivered before, and never deliver what others deliver after. It is
assumed that no node is more than `settle` seconds behind another one while both are well. So at its join a
link owes, for the time being, everything of the last `settle` seconds; and once it delivers what was passed
on `2 * settle` seconds after its join, what it owes from the first half of that time is forgiven. For emits
that are not repeated this is exact. For those that are, the order tells where the link is (`trial`);
until it does, a *witness*, a trusted link that is neither leaving nor silent, vouches for them: it delivers
what the new link holds back by mistake. Without a witness, debts for repeated emits are struck out:
duplicates over loss.

The bound: after each join and each loss of a link, at most as many emits are doubled as equal ones are under
way at one moment of the next `2 * settle` seconds: delivered by one link and not yet by another. A duplicate
may stand for an equal emit that comes up to `settle` seconds later. `uncertain` counts the debts that were
struck out: the places where the merge had to judge.

What can be lost are equal emits, when a link joins and no witness is there: at the very first joins, the
first repetition of an emit; at a second fault before the new link is placed (some tenths of a second, where
other emits come too), what came in `SILENCE` seconds; with a single link, an emit equal to one that came once
in the `settle` seconds before the link was replaced.
"""

from collections.abc import Hashable
from typing import Final

from tdbwatch.client.merging.debts import Debts, Key
from tdbwatch.client.merging.history import History
from tdbwatch.client.merging.trial import Trial

SETTLE: Final = 3.0
"""Seconds; longer than one node is ever behind another one while both are well (measured: milliseconds)."""
PATIENCE: Final = 20.0
"""Seconds; longer than a frozen link is kept, so that one that thaws in time is still matched."""
SILENCE: Final = 0.25
"""Seconds after which a link that delivers nothing cannot vouch for repeated emits."""


class _Stream:
    """One link."""

    __slots__ = (
        "debts",
        "heard",
        "joined_at",
        "leaving",
        "others",
        "settled",
        "thaws_until",
        "trial",
        "trusted",
    )

    def __init__(self, number: int, now: float) -> None:
        self.debts = Debts()
        self.others: tuple[_Stream, ...] = ()
        self.joined_at = now
        self.heard = number
        """The number of the last emit passed on when it last delivered anything."""
        self.trusted = False
        """Whether others may rely on it: what it delivers and does not owe is new."""
        self.thaws_until = now
        """Until when it may deliver a backlog, after it was silent while others were not."""
        self.settled = False
        """Whether it is past the time in which it may repeat what came before its join."""
        self.leaving = False
        self.trial: Trial | None = None

    @property
    def vouches(self) -> bool:
        return self.trusted and not self.leaving


class Merge:
    """The emits of one room, over all links that joined it.

    Args:
        settle: seconds that a link that joined may be behind or ahead of the others.
        patience: seconds after which a link is not expected to deliver an emit any more.
    """

    __slots__ = (
        "_history",
        "_next_ageing",
        "_next_tick",
        "_patience",
        "_repeated",
        "_seen",
        "_settle",
        "_streams",
        "_tick",
        "delivered",
        "doubled",
        "uncertain",
    )

    def __init__(self, settle: float = SETTLE, patience: float = PATIENCE) -> None:
        self.delivered = 0
        """Emits that were new. The number of an emit is this count when it was passed on."""
        self.doubled = 0
        """Emits that another link had delivered before."""
        self.uncertain = 0
        """Debts that were struck out: guesses that had to be made."""
        self._settle = settle
        self._patience = patience
        self._tick = settle / 32
        self._streams: dict[Hashable, _Stream] = {}
        self._history = History(patience, self._tick)
        self._seen: set[Key] = set()
        self._repeated: set[Key] = set()
        self._next_tick = 0.0
        self._next_ageing = 0.0

    def __len__(self) -> int:
        return len(self._streams)

    # -- links -------------------------------------------------------------------------------------------

    def add(self, link: Hashable, now: float) -> None:
        """A link joined the room: from here on it hears every emit."""
        if link in self._streams:
            return
        self._turn(now)
        stream = self._streams[link] = _Stream(self.delivered, now)
        self._introduce()
        self._find_repeated()
        for number, key in self._history.since(now - self._settle, self.delivered):
            stream.debts.owe(key, number)
        if not any(other.vouches for other in stream.others):
            self._trust_the_rest()
        if stream.others or stream.debts:
            self._try_all(now)

    def leaving(self, link: Hashable, now: float) -> None:
        """A link's node shuts down: it still delivers, but not everything any more."""
        stream = self._streams.get(link)
        if stream is not None and not stream.leaving:
            self._turn(now)
            stream.leaving = True
            if not any(other.vouches for other in self._streams.values()):
                self._trust_the_rest()

    def remove(self, link: Hashable, now: float) -> None:
        """A link does not hear the room any more. Call it when no event of it can come any more."""
        if self._streams.pop(link, None) is None:
            return
        self._turn(now)
        self._introduce()
        if not any(stream.vouches for stream in self._streams.values()):
            self._trust_the_rest()

    # -- emits -------------------------------------------------------------------------------------------

    def receive(self, link: Hashable, key: Key, now: float) -> bool:
        """A link delivered an emit; whether it is new and should go on.

        Args:
            key: equal for equal emits: the event's name and its arguments.
            now: monotonic seconds.
        """
        if now >= self._next_tick:
            self._turn(now)
        stream = self._streams.get(link)
        if stream is None:  # it was removed; whoever stayed delivers this too
            return False
        if stream.trial is not None:
            return self._receive_on_trial(stream, key, now)
        stream.heard = self.delivered
        debt = stream.debts.by_key.pop(key, None)
        if debt is not None and stream.debts.keep_rest(key, debt) is not None:
            self.doubled += 1
            return False
        self._deliver(stream, key)
        return True

    def _deliver(self, stream: _Stream, key: Key) -> None:
        self.delivered = number = self.delivered + 1
        self._history.keys.append(key)
        for other in stream.others:
            if other.debts.by_key.setdefault(key, number) is not number:
                other.debts.owe_another(key, number)

    def _receive_on_trial(self, stream: _Stream, key: Key, now: float) -> bool:
        repeated = key in self._repeated
        if stream.heard < self._history.number_at(now - SILENCE):
            stream.thaws_until = now + self._settle
        stream.heard = self.delivered
        if not stream.settled:
            self._strike_overtaken(stream, key)
        if repeated and not stream.trusted and not self._is_vouched_for(stream, now):
            self._trust_the_rest()
        paid = stream.debts.pay(key)
        if paid is None:
            self._deliver(stream, key)
            if key in self._seen:
                self._repeated.add(key)
                repeated = True
            self._seen.add(key)
        else:
            self.doubled += 1
        self._compare(stream, key, paid, now, repeated=repeated)
        return paid is None

    def _compare(self, stream: _Stream, key: Key, paid: int | None, now: float, *, repeated: bool) -> None:
        """Tell the trials how far the link is."""
        trial = stream.trial
        assert trial is not None
        if repeated:
            if paid is not None:
                trial.repeated_paid(key)
        elif paid is None:
            trial.marker_first_heard(key, self.delivered, self._repeated, now)
        else:
            trial.marker_paid(paid, self._repeated, now)
            for other in stream.others:
                if other.trial is not None:
                    other.trial.marker_caught_up(key, paid, self._repeated)
        if not stream.others and now >= stream.thaws_until:
            trial.reached = self.delivered

    def _strike_overtaken(self, stream: _Stream, key: Key) -> None:
        """What a link that is not settled overtook by `settle` seconds it will not deliver any more."""
        if stream.trial is not None and key in stream.debts.by_key:
            number = self._history.number_at(self._history.time_of(stream.trial.reached) - self._settle)
            if (count := stream.debts.before(key, number + 1)) > 0:
                stream.debts.write_off(key, count)
                self.uncertain += count

    def _is_vouched_for(self, stream: _Stream, now: float) -> bool:
        due = self._history.number_at(now - SILENCE)
        return any(other.vouches and other.heard >= due for other in stream.others)

    # -- joins and losses --------------------------------------------------------------------------------

    def _introduce(self) -> None:
        for stream in self._streams.values():
            stream.others = tuple(s for s in self._streams.values() if s is not stream)

    def _find_repeated(self) -> None:
        """What came more than once of late, as far back as is remembered."""
        self._seen, self._repeated = set(), set()
        for key in self._history.keys:
            (self._repeated if key in self._seen else self._seen).add(key)

    def _try_all(self, now: float) -> None:
        for stream in self._streams.values():
            if stream.trial is None and now - stream.joined_at >= 2 * self._settle:
                stream.settled = True  # it was alone
            stream.trial = Trial(stream.debts, self._settle, self._patience, self.delivered, now)

    def _trust_the_rest(self) -> None:
        """Nobody is left to vouch for repeated emits: pass them on rather than lose them."""
        for stream in self._streams.values():
            if not stream.trusted:
                self._forgive_repeated(stream)
                stream.trusted = True

    def _forgive_repeated(self, stream: _Stream) -> None:
        self.uncertain += sum(stream.debts.forgive(key) for key in self._repeated)

    # -- time --------------------------------------------------------------------------------------------

    def _turn(self, now: float) -> None:
        """Once a tick, if anything is heard at all: what is old enough goes."""
        self._next_tick = now + self._tick
        self._history.mark(now, self.delivered)
        if self._seen:
            self._turn_trials(now)
        if now >= self._next_ageing:
            self._age(now)

    def _turn_trials(self, now: float) -> None:
        guessed = 0
        for stream in self._streams.values():
            if (trial := stream.trial) is None:
                continue
            guessed += trial.close_round(self.delivered, now)
            if not stream.settled and now - stream.joined_at >= 2 * self._settle:
                self._try_to_settle(stream, trial, now)
            if stream.settled and (not stream.others or trial.is_over(now)):
                stream.trial = None
        if guessed:
            self.uncertain += guessed
            self._try_again()
        if all(stream.trial is None for stream in self._streams.values()):
            self._seen, self._repeated = set(), set()

    def _try_again(self) -> None:
        """What was guessed wrong for one link shows in what the others owe then."""
        for stream in self._streams.values():
            if stream.trial is not None:
                stream.trial.left = max(2, stream.trial.left)

    def _try_to_settle(self, stream: _Stream, trial: Trial, now: float) -> None:
        """What a link owes from the time around its join it will never deliver, once it is past that."""
        if not trial.told and not stream.trusted:
            self._forgive_repeated(stream)
            stream.trusted = True
        settled_at = stream.joined_at + 2 * self._settle
        if self._history.time_of(trial.reached) >= settled_at or now - stream.joined_at >= self._patience:
            stream.trusted = stream.settled = True
            number = self._history.number_at(settled_at - self._settle)
            self.uncertain += stream.debts.forget_before(number)

    def _age(self, now: float) -> None:
        self._next_ageing = now + self._patience / 4
        number = self._history.number_at(now - self._patience)
        for stream in self._streams.values():
            self.uncertain += stream.debts.forget_before(number) + stream.debts.trim()
