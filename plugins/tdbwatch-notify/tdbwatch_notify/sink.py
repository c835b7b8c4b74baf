"""The sink: one message for each event, in threads of its own, since Apprise blocks."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from tdbwatch.plugin import (
    DELIVERED,
    Event,
    Outcome,
    Rejected,
    Retry,
    Sink,
    SinkContext,
    TemplateError,
    sink,
)

from tdbwatch_notify.options import NotifyOptions
from tdbwatch_notify.service import Answer, Message, Service

_ABOUT_MESSAGE: Final = frozenset({400, 413, 415, 422})
_ABOUT_US: Final = frozenset({401, 403, 404, 410})
_T = TypeVar("_T")


@sink("notify")
class NotifySink(Sink):
    """Sends events as chat messages, mails and pages, by Apprise."""

    Options = NotifyOptions

    def __init__(self, options: NotifyOptions, context: SinkContext) -> None:
        super().__init__(options, context)
        self._service: Service | None = None
        self._last: asyncio.Future[Answer] | None = None

    async def deliver(self, batch: Sequence[Event]) -> Outcome | Sequence[Outcome]:
        """Begins no message when half of the sink's time is over; the rest is left for the next call."""
        until = self.context.clock.monotonic() + self.options.timeout / 2
        outcomes: list[Outcome] = []
        for event in batch:
            outcomes.append(await self._tell(event))
            if isinstance(outcomes[-1], Retry) or self.context.clock.monotonic() >= until:
                break
        return outcomes[0] if isinstance(outcomes[0], Retry) else outcomes

    async def _tell(self, event: Event) -> Outcome:
        try:
            message = self._message(event)
        except TemplateError as error:
            return Rejected(f"its templates fail for this event: {error}")
        if not message.title.strip() and not message.body.strip():
            return Rejected("its templates make no text of this event")
        if self._last is not None:  # a call that was cancelled goes on, and order is kept
            await asyncio.wait([self._last])
        self._last = _in_own_thread(lambda: self._present_service().tell(message))
        return _judge(await asyncio.shield(self._last))

    def _message(self, event: Event) -> Message:
        options = self.options
        title = options.title.render_line(event)
        return Message(title, options.body.render(event), options.severity.render(event), options.format)

    def _present_service(self) -> Service:
        """Made anew when its URL was rotated."""
        url = self.options.url.get_secret_value()
        if self._service is None or self._service.url != url:
            self._service = Service(url)
        return self._service


def _judge(answer: Answer) -> Outcome:
    if answer.ok:
        return DELIVERED
    if answer.status in _ABOUT_MESSAGE:
        return Rejected(answer.reason)
    if answer.status in _ABOUT_US:
        return Retry(f"{answer.reason}; mend `url`, or what it may do there", pause=True)
    return Retry(answer.reason)


def _in_own_thread(function: Callable[[], _T]) -> "asyncio.Future[_T]":
    """What it returns or raises. The thread ends with it, and no process waits for it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_T] = loop.create_future()

    def run() -> None:
        tell: Callable[[], None]
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - handed to who waits
            failure = error
            tell = lambda: answer.set_exception(failure)
        else:
            tell = lambda: answer.set_result(result)
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(tell)

    threading.Thread(target=run, name="tdbwatch-notify", daemon=True).start()
    return answer
