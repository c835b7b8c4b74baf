"""Where a sink lives: in the event loop, or in a thread of its own that harms nobody, whatever it does."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.daemon.deadline import DeadlineError, within
from tdbwatch.daemon.hosting.faults import describe, say
from tdbwatch.daemon.hosting.sink_thread import Call, LoopThread, SinkExitError
from tdbwatch.plugin.event import Event, format_time
from tdbwatch.plugin.sink import Sink, Verdict, delivered_by

MakeSink = Callable[[], Sink]
_CANCEL_GRACE = 1.0
"""Seconds that a cancelled call of a sink has to come back before its thread counts as stuck."""
_LEAST_CLOSE = 0.25
"""Seconds that closing may always take, even when deliveries have used up the grace."""


class SinkStuckError(Exception):
    """The sink's thread does not come back from an earlier call; it is not called until it does."""


class SinkHangsError(DeadlineError):
    """The call took longer than it may, and its thread does not come back from it either."""


class Host(Protocol):
    """Runs one sink. Whatever the sink raises comes out as an `Exception`."""

    @property
    def stuck(self) -> bool:
        """Whether a call that was cancelled has not come back yet."""

    async def open(self) -> None:
        """Make the sink, if it is not made yet, and open it."""

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        """Call the sink.

        Raises:
            DeadlineError: no answer within the sink's timeout.
            SinkHangsError: neither that, nor did the thread come back when the call was cancelled.
            SinkStuckError: the sink was not called.
            Exception: what the sink raised.
        """

    async def close(self, grace: float) -> None:
        """Close the sink; return within `grace` seconds, a quarter of one at least. Raises nothing."""


class _Host:
    """What hosts have in common.

    Args:
        make: makes the sink; called once, or until it does not raise.
        timeout: seconds for each call of the sink.
        log: bound to the plugin's name.
    """

    def __init__(
        self, make: MakeSink, *, name: str, timeout: float, clock: Clock = SYSTEM_CLOCK, log: Any = None
    ) -> None:
        self.name = name
        self._make = make
        self._timeout = timeout
        self._clock = clock
        self._log = (log if log is not None else structlog.get_logger("tdbwatch.hosts")).bind(sink=name)
        self._sink: Sink | None = None

    async def _open(self) -> None:
        """Where the sink runs: making it may block as well."""
        if self._sink is None:
            self._sink = self._make()
        await self._sink.open()

    def _close_failed(self, error: Exception) -> None:
        """A sink's own exception is said as one of a delivery is; that it was too slow needs no traceback."""
        if isinstance(error, DeadlineError):
            place = f" (it was at {error.where})" if error.where else ""
            self._log.warning("sink.close_failed", error=f"not closed after {error.seconds:.3g} s{place}")
        else:
            say(self._log.warning, "sink.close_failed", error, error=describe(error))


class InlineHost(_Host):
    """Runs a sink in the event loop: only for code known never to block it."""

    @property
    def stuck(self) -> bool:
        """What never blocks comes back."""
        return False

    async def open(self) -> None:
        await within(self._clock, self._timeout, _contained(self._open))

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        assert self._sink is not None, "deliver before open"
        sink = self._sink
        return await within(self._clock, self._timeout, _contained(lambda: delivered_by(sink, batch)))

    async def close(self, grace: float) -> None:
        sink, self._sink = self._sink, None
        if sink is None:
            return
        try:
            await within(self._clock, min(max(grace, _LEAST_CLOSE), self._timeout), _contained(sink.close))
        except Exception as error:  # noqa: BLE001 - a sink may raise anything; there is nothing left to do
            self._close_failed(error)


@dataclass(frozen=True, slots=True)
class _Overdue:
    """A call that was cancelled and has not come back."""

    began_us: int
    cancelled_at: float

    @property
    def began(self) -> str:
        """When it began: what is said with this stays true for however long it is shown."""
        return f"{format_time(self.began_us)[:19].replace('T', ' ')} UTC"


class ThreadHost(_Host):
    """Runs a sink in a daemon thread with an event loop of its own.

    A sink that blocks, plain or async, blocks only this thread. A call that takes too long is cancelled; if
    the thread does not come back, the sink is stuck: further calls fail at once, and no second thread is
    made. At `close` a stuck thread is left behind, and hardly waited for: it had its time to come back. It
    does not keep the process from ending.
    """

    def __init__(
        self, make: MakeSink, *, name: str, timeout: float, clock: Clock = SYSTEM_CLOCK, log: Any = None
    ) -> None:
        super().__init__(make, name=name, timeout=timeout, clock=clock, log=log)
        self._thread: LoopThread | None = None
        self._overdue: dict[Call, _Overdue] = {}
        self._given_up = False  # what is overdue has had its time to come back

    @property
    def stuck(self) -> bool:
        """Whether a call that was cancelled has not come back yet."""
        return bool(self._overdue)

    async def open(self) -> None:
        await self._call(self._open, self._timeout)

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        sink = self._sink
        assert sink is not None, "deliver before open"
        verdict: Verdict = await self._call(lambda: delivered_by(sink, batch), self._timeout)
        return verdict

    async def close(self, grace: float) -> None:
        grace = _LEAST_CLOSE if self._given_up and self._overdue else max(grace, _LEAST_CLOSE)
        until = self._clock.monotonic() + grace
        sink, self._sink = self._sink, None
        if sink is not None and await self._back(grace / 2):
            try:
                await self._begin(sink.close, min(until - self._clock.monotonic(), self._timeout))
            except Exception as error:  # noqa: BLE001 - a sink may raise anything; there is nothing left to do
                self._close_failed(error)
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            await within(self._clock, max(0.05, until - self._clock.monotonic()), thread.stop())
        except DeadlineError:
            self._log.error("sink.thread_abandoned", remedy="it blocks; see its plugin")

    async def _call(self, function: Callable[[], Awaitable[Any]], timeout: float) -> Any:
        while self._overdue:  # one that was just cancelled, while others went on, may still come back
            first = min(self._overdue.values(), key=lambda call: call.cancelled_at)
            seconds = self._clock.monotonic() - first.cancelled_at
            if seconds >= _CANCEL_GRACE or not await self._back(_CANCEL_GRACE - seconds):
                self._given_up = True
                raise SinkStuckError(f"sink {self.name!r} has not come back from its call of {first.began}")
        self._given_up = False
        try:
            return await self._begin(function, timeout)
        except DeadlineError as error:
            if await self._back(_CANCEL_GRACE):
                raise
            self._given_up = True
            raise SinkHangsError(error.seconds, error.where) from None

    async def _begin(self, function: Callable[[], Awaitable[Any]], timeout: float) -> Any:
        if self._thread is None:
            self._thread = LoopThread(f"tdbwatch-sink-{self.name}", self._log)
        call, began_us = Call(function, self._thread), int(self._clock.time() * 1_000_000)
        try:
            return await within(self._clock, timeout, asyncio.shield(call.result))
        except asyncio.CancelledError:
            self._cancel(call, began_us)
            raise
        except DeadlineError as error:
            error.where = call.where
            self._cancel(call, began_us)
            raise

    def _cancel(self, call: "Call", began_us: int) -> None:
        if not call.ended.done():
            self._overdue[call] = _Overdue(began_us, self._clock.monotonic())
            call.ended.add_done_callback(lambda _: self._overdue.pop(call, None))
            call.cancel()

    async def _back(self, seconds: float) -> bool:
        """Whether all cancelled calls come back within so many seconds."""
        try:
            for call in list(self._overdue):
                await within(self._clock, seconds, asyncio.shield(call.ended))
                self._overdue.pop(call, None)  # its own callback may come a turn later
        except DeadlineError:
            return False
        return True


async def _contained(function: Callable[[], Awaitable[Any]]) -> Any:
    """Call a sink in this event loop; what would end the process, or cancel us, becomes an `Exception`."""
    try:
        return await function()
    except Exception:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise SinkExitError("it raised CancelledError") from error
    except BaseException as error:
        raise SinkExitError(f"it raised {type(error).__name__}") from error
