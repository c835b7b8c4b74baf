"""One attempt: call the sink with a parcel, and do what its answer demands."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.couriers.answer import (
    Answer,
    Part,
    Told,
    count_of,
    judge,
    merged,
    said_of,
    shares_of,
    waits_of,
)
from tdbwatch.daemon.couriers.health import Health
from tdbwatch.daemon.couriers.lane import LaneQueue, Parcel
from tdbwatch.daemon.couriers.lanes import Lanes
from tdbwatch.daemon.couriers.pieces import UNTRIED, Failure, Piece, another
from tdbwatch.daemon.couriers.progress import Saving
from tdbwatch.daemon.couriers.settings import Counts, CourierSettings
from tdbwatch.daemon.couriers.unended import Caution, given_up
from tdbwatch.daemon.delivery.bounds import MOST_VALUES, too_large
from tdbwatch.daemon.hosting.faults import describe
from tdbwatch.daemon.hosting.hosts import Host, SinkStuckError
from tdbwatch.daemon.spool.api import Attempt, DeadLetter, Entry
from tdbwatch.plugin.event import Event
from tdbwatch.plugin.outcome import Rejected, Retry
from tdbwatch.redaction import presentable

_PART_AFTER: Final = 2
"""Failures of a whole parcel after which its entries go one by one: one of them may be to blame."""


class NotGivenError(Exception):
    """What a sink was to be given could not be made, by a mistake of ours: it was not called."""


@dataclass(slots=True, eq=False)
class Delivery:
    """Makes attempts for one courier, and counts them."""

    _settings: CourierSettings
    _host: Host
    _lanes: Lanes
    _health: Health
    _saving: Saving
    _caution: Caution | None
    _clock: Clock
    _counts: Counts

    async def attempt(self, parcel: Parcel) -> None:
        """Offer the parcel to the sink once."""
        started, started_us = self._clock.monotonic(), int(self._clock.time() * 1e6)
        try:
            answer = await self._ask(parcel)
        except SinkStuckError as error:
            self._not_tried(parcel, error)
            return
        except Exception as error:  # noqa: BLE001 - a sink may raise anything; all of it means: again
            answer = Answer([Retry(describe(error))] * len(parcel), cause=error)
        duration = self._clock.monotonic() - started
        self._counts.calls.observe(duration)
        call = (parcel.failure.attempts + 1, started_us, int(duration * 1e6))
        if answer.outcomes is None:
            self._note([("delivered", parcel.seqs, "")], call)
            self._delivered(parcel.pieces)
            self._lanes.finish(parcel, self._clock.monotonic())
            self._worked(parcel)
        else:
            told = Told.of(parcel, answer)
            self._note(told.history, call)
            tried = another(parcel.failure, self._health.breaker.active(started), started_us)
            await self._sort(parcel, told, tried)
        self._saving.tell()

    async def _ask(self, parcel: Parcel) -> Answer:
        """Call the sink, which may raise anything.

        Raises:
            SinkStuckError, NotGivenError: it was not called.
        """
        events, refused = self._given(parcel)
        if not (given := len(events)):
            return Answer(merged((), refused, len(parcel)))
        async with nullcontext() if self._caution is None else self._caution.under_way(parcel):
            verdict = await self._host.deliver(events)
        outcomes = judge(verdict, given)  # the batch is the sink's own to change
        return Answer(merged(outcomes, refused, len(parcel)), about_sink=isinstance(verdict, Retry))

    def _given(self, parcel: Parcel) -> tuple[Sequence[Event], dict[int, Rejected]]:
        """What the sink is given, and by index what it is not, and why."""
        batch = parcel.batch
        try:
            if refused := self._refused(parcel, batch):
                return [event for index, event in enumerate(batch) if index not in refused], refused
        except Exception as error:
            text = f"it was not called, by a mistake of tdbwatch: {describe(error)}"
            raise NotGivenError(text) from error
        return batch, {}

    def _refused(self, parcel: Parcel, events: Sequence[Event]) -> dict[int, Rejected]:
        if parcel.failure.unended and (reason := given_up(parcel.failure, self._settings.batch.count)):
            return dict.fromkeys(range(len(events)), Rejected(reason))
        may_be_large = any(piece.largest > MOST_VALUES for piece in parcel.pieces)
        return too_large(events) if may_be_large else {}

    def _delivered(self, pieces: Sequence[Piece]) -> None:
        now_us = self._clock.time() * 1e6
        if pieces:
            self._health.facts.refused_in_row = 0
        for piece in pieces:  # its events came together
            self._counts.delivered += piece.count
            self._counts.waits.observe((now_us - piece.received_us) / 1e6, piece.count)

    def _worked(self, parcel: Parcel) -> None:
        if self._health.facts.last_error is not None:
            self._health.worked(parcel.asked)

    def _not_tried(self, parcel: Parcel, error: Exception) -> None:
        now = self._clock.monotonic()
        self._lanes.finish(parcel, now, back=parcel.shares)
        self._health.erred("sink.failed", str(error), error)
        self._health.breaker.failed(now, after=self._settings.retry.initial)
        self._saving.tell()

    async def _sort(self, parcel: Parcel, told: Told, tried: Failure) -> None:
        """Not all was delivered: finish what is, bury what is refused, and offer the rest again.

        Dead letters are saved with the progress that they make; until then the parcel is in flight.
        """
        self._count(parcel, told)
        letters = self._letters(tried, told.refused)
        again, untried = shares_of(told.again), shares_of(told.untried)
        if told.pause is not None:  # it says nothing of its entries, so it is no attempt
            self._health.paused(told.pause)  # from now on, even if the disk does not take dead letters
        elif told.again:
            waits = waits_of(told.again, self._settings.retry.max_after)
            failure = self._failed(parcel, told, tried, max(waits.values()) or None)
            if spent := self._spent(failure):
                letters += self._letters(failure, told.again, spent)
                again = []
            else:
                failures = self._failures(parcel, told, failure, waits)
                again = [(lane, piece.failed(failures[lane])) for lane, piece, _ in told.again]
        self._counts.retried += sum([piece.count for _, piece in again])
        self._lanes.settle(parcel, [*again, *untried])
        if letters:
            await self._saving.bury(letters)
            self._counts.dead += len(letters)
            self._health.gave_up(len(letters), letters[0].reason, letters[0].last_error)
        self._lanes.release(parcel, self._clock.monotonic())

    def _count(self, parcel: Parcel, told: Told) -> None:
        facts, refused = self._health.facts, count_of(told.refused)
        self._delivered([part.piece for part in told.delivered])
        self._counts.rejected += refused
        facts.refused_in_row += refused
        if told.refused:
            facts.last_refusal = presentable(told.refused[-1].outcomes[-1].reason)
        if not told.nothing_finished:
            self._worked(parcel)

    def _failed(self, parcel: Parcel, told: Told, tried: Failure, after: float | None) -> Failure:
        """What has become of those that failed, which is said in the log, and counted against the sink.

        Args:
            after: seconds for which it wants to be left alone.
        """
        reasons = {seq: retry.reason for seq, retry in said_of(told.again)}
        reason, first_errors = told.again[0].outcomes[0].reason, tried.first_errors
        if not tried.first_error and any(other != reason for other in reasons.values()):
            first_errors = {seq: presentable(other) for seq, other in reasons.items()}
        error, more = presentable(reason), {"events": len(reasons), "attempts": tried.attempts}
        self._health.erred("sink.failed", error, told.answer.cause, **more)
        if told.nothing_finished:
            now, wish = self._clock.monotonic(), after if told.answer.about_sink else None
            self._health.breaker.failed(now, wish, asked=parcel.asked, culprit=parcel.failure is UNTRIED)
        first_error = tried.first_error or error
        return replace(tried, first_error=first_error, last_error=error, first_errors=first_errors)

    def _spent(self, failure: Failure) -> str | None:
        """Why entries of which this became are not tried any more; None: they are."""
        if self._settings.on_exhausted == "block":
            return None
        age = self._health.breaker.active(self._clock.monotonic()) - failure.first_at
        return self._settings.retry.exhausted(failure.attempts, age)

    def _failures(
        self, parcel: Parcel, told: Told, failure: Failure, waits: Mapping[LaneQueue, float]
    ) -> Mapping[LaneQueue, Failure]:
        """The failure of each lane: when they are tried again, and in what company."""
        now, attempts = self._clock.monotonic(), failure.attempts
        policy, breaker = self._settings.retry, self._health.breaker
        part_after = min(_PART_AFTER, (policy.max_attempts or sys.maxsize) - 1)  # each alone has one left
        whole = 1 < len(parcel) == count_of(told.again) and not any(waits.values())
        if whole and attempts >= part_after:  # one may be to blame for all
            alone = replace(failure, most=1, due=now)
            first = replace(
                alone, due=now + policy.wait(attempts, breaker.rng)
            )  # it refused none of the others
            return dict.fromkeys(waits, alone) | {told.again[0].lane: first}
        dues = {after: now + policy.wait(attempts, breaker.rng, after) for after in waits.values()}
        by_wait = {after: replace(failure, due=due) for after, due in dues.items()}
        return {lane: by_wait[after] for lane, after in waits.items()}

    def _letters(
        self, failure: Failure, parts: Iterable[Part[Rejected | Retry]], reason: str = ""
    ) -> list[DeadLetter]:
        """What is kept of entries that the sink will not get any more, for a reason, or for what it said."""
        sink, now_us = self._settings.name, int(self._clock.time() * 1e6)
        return [
            DeadLetter(
                sink=sink,
                entry=Entry(seq, event),
                reason=(why := presentable(reason or said.reason)),
                attempts=failure.attempts,
                first_error=failure.first_error_of(seq) or why,
                last_error=presentable(said.reason) or why,
                first_us=failure.first_us,
                dead_us=now_us,
            )
            for _, piece, outcomes in parts
            for seq, event, said in zip(piece.seqs, piece.events, outcomes, strict=True)
        ]

    def _note(self, history: Iterable[tuple[str, Sequence[int], str]], call: tuple[int, int, int]) -> None:
        """Keep one attempt for each kind of outcome and each error."""
        sink = self._settings.name
        self._saving.note(
            [Attempt(sink, seqs, *call, outcome, presentable(detail)) for outcome, seqs, detail in history]
        )
