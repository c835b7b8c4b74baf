"""The webhook sink: batches to requests, answers to outcomes."""

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdbwatch.clock import Clock
from tdbwatch.descriptors import SHORT, SOON
from tdbwatch.plugin import (
    Delivered,
    Event,
    Outcome,
    Rejected,
    Retry,
    Sink,
    SinkContext,
    TemplateError,
    sink,
    trace_headers,
)
from tdbwatch.printable import printable
from tdbwatch.sinks.webhook.addresses import origin_of
from tdbwatch.sinks.webhook.answers import FORBIDDEN, outcome_of
from tdbwatch.sinks.webhook.composing import Composer
from tdbwatch.sinks.webhook.handshake import Pace, interval_of, request_headers
from tdbwatch.sinks.webhook.messages import BATCH, Message
from tdbwatch.sinks.webhook.options import WebhookOptions
from tdbwatch.sinks.webhook.redaction import Redactor
from tdbwatch.sinks.webhook.signing import sign, signer_of

if TYPE_CHECKING:
    from tdbwatch.sinks.webhook.transport import Answer

_SHOWN: Final = 1024
"""Characters of an answer's body in a reason; cut after the redaction, so that no secret is cut in two."""
_SHARE: Final = 0.9
"""Of the sink's `timeout`: what requests may take of it."""
_decoder: Final = codecs.getincrementaldecoder("utf-8")
_ABOUT_CONTENT: Final = frozenset({400, 413, 415, 422})
"""Statuses that may be about one event of a batch: its halves are tried by themselves."""


@sink("webhook", threaded=False)
class WebhookSink(Sink):
    """Sends events to an HTTP endpoint, signed if you wish."""

    Options = WebhookOptions

    def __init__(self, options: WebhookOptions, context: SinkContext) -> None:
        from tdbwatch.sinks.webhook.transport import Transport  # aiohttp takes its time to import

        super().__init__(options, context)
        self._transport = Transport(options, context.log)
        self._take_secrets()
        self._pace = Pace(0.0, context.clock)
        self._not_before = 0.0
        self._why_not = ""

    def _take_secrets(self) -> None:
        """As they are now: those from files change while we run."""
        options = self.options
        self._secrets = hash(options.present_secrets)  # which shows none of them
        self._signers = [signer_of(secret.get_secret_value()) for secret in options.secrets]
        self._compose = Composer(options)
        self._redact = Redactor(options)
        self._target = origin_of(options.url.get_secret_value())
        self._transport.identify(options)

    async def open(self) -> None:
        """Make ready, and ask for consent if that is wanted.

        Raises:
            OSError: a TLS file cannot be used, or the way to the receiver failed.
            NoConsentError: it does not want our events.
        """
        await self._transport.open()
        try:
            await self._ask_for_consent()
        except BaseException:
            await self._transport.close()
            raise

    async def _ask_for_consent(self) -> None:
        handshake = self.options.handshake
        if handshake is None:
            return
        seconds = _SHARE * self.options.timeout
        try:
            answer = await self._transport.ask(request_headers(handshake), seconds)
        except TimeoutError:
            raise ConnectionError(f"{self._target}: no answer within {seconds:.3g} s") from None
        except OSError as error:
            raise ConnectionError(self._failed(error)) from None
        self._pace = Pace(interval_of(answer.headers, handshake), self.context.clock)

    async def close(self) -> None:
        await self._transport.close()

    async def deliver(self, batch: Sequence[Event]) -> Outcome | Sequence[Outcome]:
        """Begins no request when half of the sink's time is over; the rest is left for the next call."""
        if hash(self.options.present_secrets) != self._secrets:
            self._take_secrets()
        call = _Call(self.context.clock, self.options.timeout)
        together = self.options.format in BATCH
        outcomes = await (
            self._deliver_together(batch, call) if together else self._deliver_each(batch, call)
        )
        first = outcomes[0]
        about_us = isinstance(first, Retry) and first.after is not None  # not about that event
        return first if about_us else outcomes

    async def _deliver_each(self, batch: Sequence[Event], call: "_Call") -> list[Outcome]:
        """After a 403 the next one is sent, too: if that is taken, not we were forbidden, but the event."""
        outcomes: list[Outcome] = []
        forbidden: Retry | None = None
        for event in batch:
            outcome, status = await self._deliver_one(event, call)
            if forbidden is not None:
                if not isinstance(outcome, Delivered):
                    break
                outcomes[-1] = Rejected(f"{forbidden.reason}; others are accepted")
            outcomes.append(outcome)
            if isinstance(outcome, Retry):
                if status != FORBIDDEN or not outcome.pause:
                    break
                forbidden = outcome
            else:
                forbidden = None
            if call.is_late() or self._pace.wait() > call.remaining() / 2:
                break
        return outcomes

    async def _deliver_one(self, event: Event, call: "_Call") -> tuple[Outcome, int | None]:
        try:
            message = self._compose(event)
        except TemplateError as error:
            return Rejected(f"its templates fail for this event: {error}"), None
        return await self._send(message, call)

    async def _deliver_together(self, batch: Sequence[Event], call: "_Call") -> list[Outcome]:
        message = BATCH[self.options.format](batch, self.options.source)
        outcome, status = await self._send(message, call)
        if len(batch) == 1 or not isinstance(outcome, Rejected) or status not in _ABOUT_CONTENT:
            return [outcome] * len(batch)
        half = len(batch) // 2
        first = await self._deliver_together(batch[:half], call)
        if len(first) < half or isinstance(first[-1], Retry) or call.is_late():
            return first
        return first + await self._deliver_together(batch[half:], call)

    async def _send(self, message: Message, call: "_Call") -> tuple[Outcome, int | None]:
        """The outcome of one request, and its status if there was an answer."""
        wait = self._not_before - self.context.clock.monotonic()
        if wait > 0:
            return Retry(self._why_not, wait), None
        if (pause := self._pace.wait()) > call.remaining() / 2:
            return Retry(f"the receiver allows a request each {self._pace.interval:.3g} s", pause), None
        if self._pace.interval:
            await self.context.clock.sleep(pause)
            self._pace.went()
        seconds = call.remaining()
        try:
            answer = await self._transport.send(message, self._identify(message), seconds)
        except TimeoutError:
            return Retry(f"{self._target}: no answer within {seconds:.3g} s"), None
        except OSError as error:
            if error.errno in SHORT:  # which is nothing of the events: it costs them no attempt
                return Retry(f"{self._target}: {error.strerror}", SOON, pause=True), None
            return Retry(self._failed(error)), None
        outcome = self._judge(answer)
        self._wait_as_told(outcome)
        return outcome, answer.status

    def _failed(self, error: OSError) -> str:
        return printable(self._redact(f"{self._target}: {error}"))

    def _identify(self, message: Message) -> dict[str, str]:
        now = int(self.context.clock.time())
        headers = {**trace_headers(), "webhook-id": message.id, "webhook-timestamp": str(now)}
        if self._signers:
            headers["webhook-signature"] = sign(self._signers, message.id, now, message.body)
        return headers

    def _judge(self, answer: "Answer") -> Outcome:
        text = _decoder("replace").decode(answer.excerpt, final=answer.whole)  # a cut character is left out
        excerpt = printable(self._redact(text, cut=not answer.whole).strip())[:_SHOWN]
        now = self.context.clock.time()
        return outcome_of(
            answer.status, answer.headers, excerpt, now, self.options.retry_status, self.options.pause_status
        )

    def _wait_as_told(self, outcome: Outcome) -> None:
        """A wait that the receiver asks for holds for all events, not only for the one it answered."""
        if isinstance(outcome, Retry) and outcome.after and not outcome.pause:  # a pause is the courier's
            self._not_before = self.context.clock.monotonic() + outcome.after
            self._why_not = outcome.reason


class _Call:
    """The time of one `deliver`: it ends before the sink's deadline, so that what was done is told."""

    def __init__(self, clock: Clock, timeout: float) -> None:
        self._clock = clock
        self._timeout = timeout
        self._begin = clock.monotonic()

    def remaining(self) -> float:
        """Seconds that a request begun now may take."""
        return self._begin + _SHARE * self._timeout - self._clock.monotonic()

    def is_late(self) -> bool:
        """Whether the next request would have too little time."""
        return self.remaining() < _SHARE / 2 * self._timeout
