"""One request, from the caller's wish to its answer, whichever links it has to try."""

import asyncio
from collections.abc import Callable
from typing import Any

from tdbwatch.client.addresses import Address
from tdbwatch.client.words import words
from tdbwatch.exceptions import ConnectionLostError
from tdbwatch.wire.kinds import Kind


def seconds(timeout: float | None) -> float | None:
    """A deadline, which may be of any type of number, or the text of one; 0 and None are none."""
    return float(timeout or 0) or None


class Call:
    """A request that somebody waits for.

    `future` ends exactly once: with the answer, an error, the deadline, or the caller's cancellation. Until
    then the call either waits for a link or is outstanding at `holder`, never both.

    Args:
        kind: which request.
        body: its body, encoded when it is sent.
        timeout: seconds from now until it fails with `TimeoutError`, waiting included; None: no deadline.
        on_answer: called with the value in the very moment it is heard, before anything that follows it on
            the stream; what must not be late by one turn of the event loop belongs here.
        on_error: may take an error over (to try again elsewhere) by returning True.
    """

    __slots__ = (
        "_expiry",
        "attempts",
        "body",
        "future",
        "holder",
        "kind",
        "on_answer",
        "on_error",
        "timeout",
        "waits_for",
    )

    def __init__(
        self,
        kind: Kind,
        body: Any,
        timeout: float | None,
        *,
        on_answer: Callable[[Any], None] | None = None,
        on_error: "Callable[[Call, Exception], bool] | None" = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.kind = kind
        self.body = body
        self.timeout = timeout
        self.on_answer = on_answer
        self.on_error = on_error
        self.attempts = 0
        self.holder: Callable[[Call], None] | None = None
        """Called when the call ends while somebody holds it: a link, or the queue of waiting calls."""
        self.waits_for = "a connection"
        """What the holder waits for, as the message about the deadline names it."""
        self.future: asyncio.Future[Any] = loop.create_future()
        self._expiry = None if timeout is None else loop.call_later(timeout, self._expire)
        self.future.add_done_callback(self._ended)

    def answered(self, value: Any) -> None:
        """The answer came."""
        self.holder = None
        if self.future.done():
            return
        try:
            if self.on_answer is not None:
                self.on_answer(value)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, and the stream go on
            self.future.set_exception(error)
        else:
            self.future.set_result(value)

    def failed(self, error: Exception) -> None:
        """It was refused, or cannot be answered any more."""
        self.holder = None
        if self.future.done() or (self.on_error is not None and self.on_error(self, error)):
            return
        self.future.set_exception(error)

    def lost(self, address: Address, reason: Exception) -> None:
        """The link died after the request was sent: nobody knows whether it was executed."""
        self.failed(
            ConnectionLostError(
                f"the connection to {address} was lost ({words(reason)}) after the {self.kind.name} was "
                "sent: it may have been executed or not"
            )
        )

    def _expire(self) -> None:
        if not self.future.done():
            self.future.set_exception(
                TimeoutError(
                    f"no answer to the {self.kind.name} within {self.timeout:g} s "
                    f"(waited for {self.waits_for})"
                )
            )

    def _ended(self, future: asyncio.Future[Any]) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        holder, self.holder = self.holder, None
        if holder is not None:
            holder(self)
        if not future.cancelled():
            future.exception()  # a caller that went away has no use for a warning about an unread error
