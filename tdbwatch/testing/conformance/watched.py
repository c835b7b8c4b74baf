"""The sink under test, looked at from within its own thread."""

import asyncio
import threading
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from tdbwatch.plugin import Event, Sink
from tdbwatch.plugin.sink import Verdict

_ENDING: Final = 0.1
"""The share of the limit that tasks have to end after `close`: one that was cancelled needs a turn or two."""


class CutError(Exception):
    """The call was cancelled, and ended."""


class Watched(Sink):
    """Passes all calls on to a sink, and notes what cannot be seen from outside.

    Attributes:
        got: set when the sink is given events.
        cut_after: cancel calls after so many turns of the event loop; None: do not.
        swallowed: a call that was cancelled did not end.
        closed: `close` came back.
        close_error: what it raised.
        counts_tasks: look for tasks after `close`; those that run on are waited for a little.
        left: the tasks that still ran.
    """

    def __init__(self, sink: Sink, limit: float) -> None:
        self._sink = sink
        self._limit = limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self.got = threading.Event()
        self.cut_after: int | None = None
        self.swallowed = False
        self.closed = False
        self.close_error: BaseException | None = None
        self.counts_tasks = False
        self.left: list[str] = []

    @property
    def blocks(self) -> bool:
        """Whether its event loop does not turn now."""
        turned = threading.Event()
        if self._loop is None:
            return True
        self._loop.call_soon_threadsafe(turned.set)
        return not turned.wait(self._limit)

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._call(self._sink.open())

    async def deliver(self, batch: Sequence[Event]) -> Verdict:
        self.got.set()
        verdict: Verdict = await self._call(self._sink.deliver(batch))
        return verdict

    async def close(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._sink.close()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.close_error = error
            raise
        self.closed = True
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if self.counts_tasks and others:
            _, running = await asyncio.wait(others, timeout=_ENDING * self._limit)
            self.left = sorted(_described(task) for task in running)

    async def _call(self, call: Awaitable[Any]) -> Any:
        if self.cut_after is None:
            return await call
        task = asyncio.ensure_future(call)
        for _ in range(self.cut_after):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=self._limit / 2)  # before the host's own
        if not task.done():
            self.swallowed = True
            raise CutError
        if task.cancelled() or task.exception() is not None:
            raise CutError
        return task.result()


def from_the_sink_on(error: BaseException) -> BaseException:
    """An exception without the frames of those who called the sink."""
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == __file__:
            found = trace.tb_next
        trace = trace.tb_next
    return error if found is None else error.with_traceback(found)


def _described(task: "asyncio.Task[Any]") -> str:
    work = task.get_coro()
    return getattr(work, "__qualname__", "") or task.get_name()
