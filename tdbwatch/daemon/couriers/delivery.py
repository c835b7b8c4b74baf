"""One attempt: call the sink with a parcel, and do what its answer demands."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.faults import FaultLog, describe, shorten
from tdbwatch.daemon.couriers.ledger import Ledger
from tdbwatch.daemon.couriers.parcel import Parcel, by_wait
from tdbwatch.daemon.couriers.settings import CourierSettings
from tdbwatch.daemon.couriers.verdict import VerdictError, judge
from tdbwatch.daemon.deadline import DeadlineError
from tdbwatch.daemon.hosts import Host, SinkHangsError, SinkStuckError
from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry, Spool
from tdbwatch.plugin.outcome import Delivered, Outcome, Rejected, Retry

_PART_AFTER: Final = 2
"""Failures of a whole parcel after which its entries go one by one: one of them may be to blame."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of one call of the sink.

    Attributes:
        outcomes: as `judge` returns them.
        asked: the breaker's before the call began.
        about_sink: one `Retry` for the whole batch: the wait that it asks for holds for the sink.
        cause: what was raised.
    """

    outcomes: Sequence[Outcome | None] | None
    asked: int
    about_sink: bool = False
    cause: Exception | None = None


class Delivery:
    """Makes attempts for one courier, and counts them."""

    def __init__(
        self,
        settings: CourierSettings,
        host: Host,
        spool: Spool,
        ledger: Ledger,
        breaker: Breaker,
        faults: FaultLog,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._host = host
        self._spool = spool
        self._ledger = ledger
        self._breaker = breaker
        self._faults = faults
        self._clock = clock
        self._rng = rng
        self.delivered = 0
        self.retried = 0
        self.rejected = 0
        self.refused_in_row = 0
        """Events since the last that was delivered."""
        self.dead = 0
        self.stuck = False
        self.last_error: str | None = None
        self.progress = asyncio.Event()
        """Set and cleared whenever entries are finished."""

    async def attempt(self, parcel: Parcel, asked: int) -> None:
        """Offer the parcel to the sink once.

        Args:
            asked: the breaker's when it was decided; another answer may come before this begins.
        """
        started, started_us = self._clock.monotonic(), int(self._clock.time() * 1e6)
        try:
            answer = await self._ask(parcel, asked)
        except SinkStuckError as error:
            self._not_tried(parcel, error)
            return
        self.stuck = isinstance(answer.cause, SinkHangsError)
        if not parcel.attempts:
            parcel.first_at, parcel.first_us = self._breaker.active(started), started_us
        parcel.attempts += 1
        self._note(parcel, answer, started_us, int((self._clock.monotonic() - started) * 1e6))
        if answer.outcomes is None:
            self._all_delivered(parcel, answer)
        else:
            await self._sort(parcel, answer.outcomes, answer)
        self.moved()

    async def _ask(self, parcel: Parcel, asked: int) -> _Answer:
        """Call the sink.

        Raises:
            SinkStuckError: it was not called.
        """
        count = len(parcel.entries)
        try:
            verdict = await self._host.deliver([entry.event for entry in parcel.entries])
            return _Answer(judge(verdict, count), asked, about_sink=isinstance(verdict, Retry))
        except SinkStuckError:
            raise
        except Exception as error:  # noqa: BLE001 - a sink may raise anything; all of it means: again
            return _Answer([Retry(describe(error))] * count, asked, cause=error)

    def moved(self) -> None:
        """The ledger's cursor may have moved: tell the spool, and those who wait for progress."""
        cursor = self._ledger.cursor
        if cursor > self._spool.cursor(self._settings.name):
            self._spool.advance(self._settings.name, cursor)
        self.progress.set()
        self.progress.clear()

    def _all_delivered(self, parcel: Parcel, answer: _Answer) -> None:
        self.delivered += len(parcel.entries)
        self.refused_in_row = 0
        self._ledger.settle(parcel)
        self._worked(answer)

    def _worked(self, answer: _Answer) -> None:
        if self._breaker.worked(self._clock.monotonic(), asked=answer.asked):
            self._faults.worked()
            self.last_error = None

    def _not_tried(self, parcel: Parcel, error: Exception) -> None:
        self.stuck, self.last_error = True, str(error)
        self._ledger.give_up(parcel)
        self._breaker.failed(self._clock.monotonic(), self._rng, after=self._settings.retry.initial)
        self._faults.stuck(str(error))
        self.moved()

    async def _sort(self, parcel: Parcel, outcomes: Sequence[Outcome | None], answer: _Answer) -> None:
        """Not all was delivered: finish what is, bury what is refused, and offer the rest again."""
        pairs = list(zip(parcel.entries, outcomes, strict=True))
        again = [(entry, outcome) for entry, outcome in pairs if isinstance(outcome, Retry)]
        refused = [(entry, outcome) for entry, outcome in pairs if isinstance(outcome, Rejected)]
        untried = [entry for entry, outcome in pairs if outcome is None]
        delivered = len(pairs) - len(again) - len(refused) - len(untried)
        pause = next((outcome for _, outcome in again if outcome.pause), None)
        self.delivered += delivered
        if delivered or refused:
            self._worked(answer)
        if pause is not None:
            self._pause(pause)
        await self._bury(
            [self._letter(parcel, entry, outcome.reason, outcome.reason) for entry, outcome in refused]
        )
        self.rejected += len(refused)
        self.refused_in_row = len(refused) + (0 if delivered else self.refused_in_row)
        if again and pause is None:
            await self._again(parcel, again, untried, answer)
        else:
            self._unharmed(parcel, [entry for entry, _ in again], untried)

    def _pause(self, asked: Retry) -> None:
        """The sink wants to be left alone: from now on, even if the disk does not take dead letters."""
        self.last_error = shorten(asked.reason)
        seconds = self._breaker.pause(self._clock.monotonic(), self._rng, self.last_error, asked.after)
        self._faults.paused(self.last_error, seconds)

    def _unharmed(self, parcel: Parcel, paused: list[Entry], untried: list[Entry]) -> None:
        """These come again. A pause says nothing of its entries, so it counts as no attempt."""
        self.retried += len(paused)
        self._ledger.settle(parcel, [(paused, self._clock.monotonic())] if paused else [], untried)
        parcel.attempts -= 1

    async def _again(
        self,
        parcel: Parcel,
        pairs: list[tuple[Entry, Retry]],
        untried: list[Entry],
        answer: _Answer,
    ) -> None:
        entries = [entry for entry, _ in pairs]
        waits = by_wait(pairs, self._settings.retry.max_after)
        after = max(after for _, after in waits) or None
        whole = len(entries) == len(parcel.entries)
        self._failed(parcel, pairs, answer.cause)
        now, policy = self._clock.monotonic(), self._settings.retry
        if len(entries) + len(untried) == len(parcel.entries):
            wish = after if answer.about_sink else None
            first = parcel.attempts == 1
            self._breaker.failed(now, self._rng, wish, asked=answer.asked, culprit=first)
        spent = policy.exhausted(parcel.attempts, self._breaker.active(now) - parcel.first_at)
        if self._settings.on_exhausted == "block":
            spent = None
        if spent:
            await self._bury([self._letter(parcel, entry, spent, retry.reason) for entry, retry in pairs])
            self._ledger.settle(parcel, untried=untried)
            return
        self.retried += len(entries)
        dues = [(part, now + policy.wait(parcel.attempts, self._rng, after)) for part, after in waits]
        if whole and after is None and self._suspicious(parcel):
            self._ledger.part(parcel, dues[0][1])
        else:
            self._ledger.settle(parcel, dues, untried)

    def _suspicious(self, parcel: Parcel) -> bool:
        """Whether one entry may be to blame for all: each alone must have an attempt left."""
        most = self._settings.retry.max_attempts or _PART_AFTER + 1
        return len(parcel.entries) > 1 and parcel.attempts >= min(_PART_AFTER, most - 1)

    def _failed(self, parcel: Parcel, pairs: list[tuple[Entry, Retry]], cause: Exception | None) -> None:
        if not parcel.first_error and any(retry.reason != pairs[0][1].reason for _, retry in pairs):
            parcel.first_errors = {entry.seq: shorten(retry.reason) for entry, retry in pairs}
        self.last_error = parcel.last_error = shorten(pairs[0][1].reason)
        parcel.first_error = parcel.first_error or parcel.last_error
        if self.stuck:
            self._faults.stuck(parcel.last_error)
            return
        plugin_raised = cause if not isinstance(cause, DeadlineError | VerdictError) else None
        self._faults.failed(
            "sink.failed", parcel.last_error, plugin_raised, events=len(pairs), attempts=parcel.attempts
        )

    def _letter(self, parcel: Parcel, entry: Entry, reason: str, last_error: str | None = None) -> DeadLetter:
        """A dead letter; `last_error` where its last attempt said something of its own."""
        reason = shorten(reason)
        return DeadLetter(
            sink=self._settings.name,
            entry=entry,
            reason=reason,
            attempts=parcel.attempts,
            first_error=parcel.first_errors.get(entry.seq, parcel.first_error) or reason,
            last_error=(parcel.last_error if last_error is None else shorten(last_error)) or reason,
            first_us=parcel.first_us,
            dead_us=int(self._clock.time() * 1e6),
        )

    async def _bury(self, letters: list[DeadLetter]) -> None:
        if letters:
            await self._spool.dead_letter(letters)
            self.dead += len(letters)
            self._faults.gave_up(len(letters), letters[0].reason, letters[0].last_error)

    def _note(self, parcel: Parcel, answer: _Answer, started_us: int, duration_us: int) -> None:
        """Keep the history, one attempt for each kind of outcome and each error."""
        for outcome, seqs, detail in _grouped(parcel.entries, answer.outcomes):
            name = "error" if answer.cause is not None else outcome
            self._spool.note(
                Attempt(
                    self._settings.name, seqs, parcel.attempts, started_us, duration_us, name, shorten(detail)
                )
            )


def _grouped(
    entries: Sequence[Entry], outcomes: Sequence[Outcome | None] | None
) -> list[tuple[str, tuple[int, ...], str]]:
    """(outcome, seqs, detail) for each kind of failure; of what was delivered the detail of the first."""
    if outcomes is None:
        return [("delivered", tuple(entry.seq for entry in entries), "")]
    groups: dict[tuple[str, str], tuple[list[int], str]] = {}
    for entry, outcome in zip(entries, outcomes, strict=True):
        if outcome is not None:
            taken = isinstance(outcome, Delivered)
            detail = outcome.detail if isinstance(outcome, Delivered) else outcome.reason
            groups.setdefault((_name(outcome), "" if taken else detail), ([], detail))[0].append(entry.seq)
    return [(name, tuple(seqs), detail) for (name, _), (seqs, detail) in groups.items()]


def _name(outcome: Outcome) -> str:
    """As `Attempt.outcome`."""
    if isinstance(outcome, Retry):
        return "paused" if outcome.pause else "retry"
    return "delivered" if isinstance(outcome, Delivered) else "rejected"
