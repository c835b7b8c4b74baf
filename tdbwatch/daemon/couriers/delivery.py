"""One attempt: call the sink with a parcel, and do what its answer demands."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.bounds import MOST_VALUES, too_large
from tdbwatch.daemon.couriers.answer import (
    Answer,
    Sorted,
    Told,
    dead_letter,
    fates_of,
    judge,
    merged,
    outcomes_by_kind,
)
from tdbwatch.daemon.couriers.faults import describe
from tdbwatch.daemon.couriers.health import Health
from tdbwatch.daemon.couriers.lane import LaneQueue
from tdbwatch.daemon.couriers.lanes import ALL_DUE, Lanes
from tdbwatch.daemon.couriers.parcel import Fate, Parcel, waits_of
from tdbwatch.daemon.couriers.pieces import Failure, another
from tdbwatch.daemon.couriers.progress import Saving
from tdbwatch.daemon.couriers.settings import Counts, CourierSettings
from tdbwatch.daemon.couriers.unended import Caution, given_up
from tdbwatch.daemon.hosts import Host, SinkStuckError
from tdbwatch.daemon.spool.api import Attempt, DeadLetter
from tdbwatch.plugin.event import Event
from tdbwatch.plugin.outcome import Delivered, Outcome, Rejected, Retry
from tdbwatch.redaction import presentable

_PART_AFTER: Final = 2
"""Failures of a whole parcel after which its entries go one by one: one of them may be to blame."""


class Delivery:
    """Makes attempts for one courier, and counts them.

    Attributes:
        counts: since the start.
    """

    def __init__(
        self,
        settings: CourierSettings,
        host: Host,
        lanes: Lanes,
        health: Health,
        saving: Saving,
        caution: Caution,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.counts = Counts()
        self._settings = settings
        self._host = host
        self._caution = caution
        self._lanes = lanes
        self._health = health
        self._saving = saving
        self._clock = clock
        self._rng = rng

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
        duration = self._clock.monotonic() - started
        self.counts.calls.observe(duration)
        self._note(parcel, answer, started_us, int(duration * 1e6))
        if answer.outcomes is None:
            self._all_delivered(parcel, answer)
        else:
            tried = another(parcel.failure, self._health.breaker.active(started), started_us)
            await self._sort(parcel, answer, answer.outcomes, tried)
        self._saving.tell()

    async def _ask(self, parcel: Parcel, asked: int) -> Answer:
        """Call the sink.

        Raises:
            SinkStuckError: it was not called.
        """
        count, batch = len(parcel), parcel.batch
        events: Sequence[Event] = batch
        if refused := self._refused(parcel, batch):
            events = [event for index, event in enumerate(batch) if index not in refused]
        if not events:
            return Answer(merged((), refused, count), asked)
        try:
            async with self._caution.under_way(parcel):
                verdict = await self._host.deliver(events)
            outcomes = merged(judge(verdict, count - len(refused)), refused, count)
            return Answer(outcomes, asked, about_sink=isinstance(verdict, Retry))
        except SinkStuckError:
            raise
        except Exception as error:  # noqa: BLE001 - a sink may raise anything; all of it means: again
            return Answer([Retry(describe(error))] * count, asked, cause=error)

    def _refused(self, parcel: Parcel, events: Sequence[Event]) -> dict[int, Rejected]:
        """By index, what the sink is not given, and why."""
        if reason := given_up(parcel.failure, self._settings.batch.count):
            return dict.fromkeys(range(len(events)), Rejected(reason))
        return too_large(events) if parcel.may_be_large(MOST_VALUES) else {}

    def _all_delivered(self, parcel: Parcel, answer: Answer) -> None:
        self.counts.delivered += len(parcel)
        self._health.refused_in_row = 0
        now_us = self._clock.time() * 1e6
        for piece in parcel.pieces:  # its events came together
            self.counts.waits.observe((now_us - piece.received_us) / 1e6, piece.count)
        self._lanes.finish(parcel, self._clock.monotonic())
        self._worked(answer.asked)

    def _worked(self, asked: int | None) -> None:
        if self._health.last_error is not None:
            self._health.worked(asked)

    def _not_tried(self, parcel: Parcel, error: Exception) -> None:
        now = self._clock.monotonic()
        self._lanes.put_back(parcel, now)
        self._health.erred("sink.failed", str(error), error)
        self._health.breaker.failed(now, after=self._settings.retry.initial)
        self._saving.tell()

    async def _sort(
        self, parcel: Parcel, answer: Answer, outcomes: Sequence[Outcome | None], tried: Failure
    ) -> None:
        """Not all was delivered: finish what is, bury what is refused, and offer the rest again."""
        told, counts, health = Sorted.of(parcel, outcomes), self.counts, self._health
        counts.delivered += told.delivered
        self._note_waits(parcel, outcomes)
        if not told.nothing_finished:
            self._worked(answer.asked)
        if answer.pause is not None:
            health.paused(answer.pause)  # from now on, even if the disk does not take dead letters
        letters = self._letters(tried, [(one, said.reason, said.reason) for one, said in told.refused])
        counts.rejected += len(told.refused)
        if told.refused:
            health.last_refusal = presentable(told.refused[-1][1].reason)
        health.refused_in_row = len(told.refused) + (0 if told.delivered else health.refused_in_row)
        if told.again and answer.pause is None:
            await self._again(parcel, answer, told, fates_of(outcomes, Fate.FAILED), tried, letters)
            return
        counts.retried += len(told.again)  # a pause says nothing of its entries, so it is no attempt
        await self._settle(parcel, fates_of(outcomes, Fate.UNTRIED), letters)

    async def _again(
        self,
        parcel: Parcel,
        answer: Answer,
        told: Sorted,
        fates: list[Fate],
        tried: Failure,
        letters: list[DeadLetter],
    ) -> None:
        waits = waits_of([(one.lane, retry) for one, retry in told.again], self._settings.retry.max_after)
        after = max(waits.values()) or None
        failure = self._failed(tried, told.again, answer.cause)
        now, policy = self._clock.monotonic(), self._settings.retry
        wish = after if answer.about_sink else None
        if told.nothing_finished:
            self._health.breaker.failed(now, wish, asked=answer.asked, culprit=parcel.failure is None)
        spent = policy.exhausted(failure.attempts, self._health.breaker.active(now) - failure.first_at)
        if spent and self._settings.on_exhausted != "block":
            letters += self._letters(failure, [(one, spent, said.reason) for one, said in told.again])
            fates = [Fate.FINISHED if fate is Fate.FAILED else fate for fate in fates]
            await self._settle(parcel, fates, letters)
        else:
            self.counts.retried += len(told.again)
            whole = len(told.again) == len(parcel)
            if whole and after is None and self._suspicious(parcel, failure):
                failure = replace(failure, most=1)
                first = told.again[0][0].lane  # the others need not wait: the sink has not refused them alone
                dues = {first: now + policy.wait(failure.attempts, self._rng)}
            else:
                dues = self._dues(waits, failure.attempts, now)
            await self._settle(parcel, fates, letters, failure, dues)

    def _dues(self, waits: dict[LaneQueue, float], attempts: int, now: float) -> dict[LaneQueue, float]:
        policy = self._settings.retry
        due = {after: now + policy.wait(attempts, self._rng, after) for after in waits.values()}
        return {lane: due[after] for lane, after in waits.items()}

    def _suspicious(self, parcel: Parcel, failure: Failure) -> bool:
        """Whether one entry may be to blame for all: each alone must have an attempt left."""
        most = self._settings.retry.max_attempts or _PART_AFTER + 1
        return len(parcel) > 1 and failure.attempts >= min(_PART_AFTER, most - 1)

    def _failed(self, tried: Failure, again: list[tuple[Told, Retry]], cause: Exception | None) -> Failure:
        """What has become of those that failed, which is said in the log."""
        error, first_errors = presentable(again[0][1].reason), tried.first_errors
        if not tried.first_error and any(retry.reason != again[0][1].reason for _, retry in again):
            first_errors = {one.seq: presentable(retry.reason) for one, retry in again}
        self._health.erred("sink.failed", error, cause, events=len(again), attempts=tried.attempts)
        first_error = tried.first_error or error
        return replace(tried, first_error=first_error, last_error=error, first_errors=first_errors)

    def _letters(self, failure: Failure, dead: Sequence[tuple[Told, str, str]]) -> list[DeadLetter]:
        """Of each of these entries, with the reason and its last error."""
        sink, now_us = self._settings.name, int(self._clock.time() * 1e6)
        return [dead_letter(sink, failure, one, reason, error, now_us) for one, reason, error in dead]

    async def _settle(
        self,
        parcel: Parcel,
        fates: Sequence[Fate],
        letters: Sequence[DeadLetter],
        failure: Failure | None = None,
        dues: Mapping[LaneQueue, float] = ALL_DUE,
    ) -> None:
        """Dead letters are saved with the progress that they make; until then the parcel is in flight."""
        self._lanes.settle(parcel, fates, failure)
        if letters:
            await self._saving.bury(letters)
            self.counts.dead += len(letters)
            self._health.faults.gave_up(len(letters), letters[0].reason, letters[0].last_error)
        self._lanes.release(parcel, fates, self._clock.monotonic(), dues)

    def _note_waits(self, parcel: Parcel, outcomes: Sequence[Outcome | None]) -> None:
        now_us = self._clock.time() * 1e6
        for event, outcome in zip(parcel.events, outcomes, strict=True):
            if isinstance(outcome, Delivered):
                self.counts.waits.observe((now_us - event.received_us) / 1e6)

    def _note(self, parcel: Parcel, answer: Answer, started_us: int, duration_us: int) -> None:
        """Keep the history, one attempt for each kind of outcome and each error."""
        call = (parcel.attempts + 1, started_us, duration_us)
        raised, kinds = answer.cause is not None, outcomes_by_kind(parcel.seqs, answer.outcomes)
        self._saving.note(
            [
                Attempt(self._settings.name, seqs, *call, "error" if raised else outcome, presentable(detail))
                for outcome, seqs, detail in kinds
            ]
        )
