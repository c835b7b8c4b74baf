"""A thread with an event loop of its own, and calls into it that can be waited for from another loop."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog


class SinkExitError(Exception):
    """The sink tried to end the process, or cancelled itself."""


class Call:
    """One call of a sink in its thread. `result` and `ended` are futures of the caller's event loop."""

    def __init__(self, function: Callable[[], Awaitable[Any]], thread: "LoopThread") -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = thread
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self.result: asyncio.Future[Any] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        thread.loop.call_soon_threadsafe(self._begin, function)

    def cancel(self) -> None:
        """Ask the thread to cancel it; nothing happens while the thread is blocked."""
        self._cancelled = True
        self._thread.loop.call_soon_threadsafe(self._cancel_in_thread)

    def _begin(self, function: Callable[[], Awaitable[Any]]) -> None:
        self._task = self._thread.loop.create_task(self._run(function), name=self._thread.name)

    def _cancel_in_thread(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, function: Callable[[], Awaitable[Any]]) -> None:
        result, error = None, None
        try:
            result = await function()
        except Exception as raised:  # noqa: BLE001 - handed to the caller
            error = raised
        except BaseException as raised:  # noqa: BLE001 - a plugin's sys.exit() ends no thread of ours
            error = SinkExitError(f"it raised {type(raised).__name__}")
        try:
            self._loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:  # the caller's event loop is closed: nobody waits any more
            return

    def _settle(self, result: Any, error: Exception | None) -> None:
        if error is not None:
            self.result.set_exception(error)
            self.result.exception()  # a late one is nobody's any more, and needs no warning
        else:
            self.result.set_result(result)
        self.ended.set_result(None)


class LoopThread:
    """A daemon thread that runs an event loop until it is stopped."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loop = asyncio.new_event_loop()
        self._stopping = False
        self._stopped: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Return when the thread has ended; safe to give up on."""
        here = asyncio.get_running_loop()
        ended: asyncio.Future[None] = here.create_future()
        self._stopped = (here, ended)
        self._stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        await ended

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._stopping:
            try:
                self.loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - a task of the plugin raised SystemExit
                structlog.get_logger("tdbwatch.hosts").error(
                    "sink.thread_raised", thread=self.name, exc_info=error
                )
                time.sleep(0.01)  # should it do so at every turn
        self._end()

    def _end(self) -> None:
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        if self._stopped is not None:
            here, ended = self._stopped
            try:
                here.call_soon_threadsafe(_set, ended)
            except RuntimeError:  # abandoned: the daemon's event loop is closed
                return


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
