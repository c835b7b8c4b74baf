"""A thread with an event loop of its own, and calls into it that can be waited for from another loop."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import structlog

from tdbwatch.daemon.hosting.blame import PluginMistakeError
from tdbwatch.daemon.hosting.faults import say
from tdbwatch.daemon.hosting.whereabouts import place_of_call
from tdbwatch.descriptors import require

_LEFT: Final = 20
"""Descriptors that must be left: an event loop takes three of them for good."""

WORKERS: Final = min(32, (os.cpu_count() or 1) + 4)
"""Threads that each sink has for `asyncio.to_thread`; as many as Python gives a loop."""


class SinkExitError(PluginMistakeError):
    """The sink tried to end the process, or cancelled itself."""


_Answer = tuple[Any, Exception | None]


class Call:
    """One call of a sink in its thread. `result` and `ended` are futures of the caller's event loop."""

    def __init__(self, function: Callable[[], Awaitable[Any]], thread: "LoopThread") -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = thread
        self._task: asyncio.Task[_Answer] | None = None
        self.result: asyncio.Future[Any] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        thread.loop.call_soon_threadsafe(self._begin, function)

    @property
    def where(self) -> str:
        """`file:line` of the sink's code where it is, and if it finds no thread; empty: nobody knows."""
        task, thread = self._task, self._thread.ident
        place = "" if task is None or thread is None else place_of_call(task, thread)
        full = self._thread.workers.full
        return (
            f"{place}, and all {WORKERS} threads of asyncio.to_thread were taken" if place and full else place
        )

    def cancel(self) -> None:
        """Ask the thread to cancel it; nothing happens while the thread is blocked."""
        self._thread.loop.call_soon_threadsafe(self._cancel_in_thread)

    def _begin(self, function: Callable[[], Awaitable[Any]]) -> None:
        self._task = self._thread.loop.create_task(_outcome(function), name=self._thread.name)
        self._task.add_done_callback(self._tell)

    def _cancel_in_thread(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _tell(self, task: "asyncio.Task[_Answer]") -> None:
        """Also for a task that was cancelled before its first step, so that none of its code ever ran."""
        answer = (None, SinkExitError("it was cancelled")) if task.cancelled() else task.result()
        try:
            self._loop.call_soon_threadsafe(self._settle, *answer)
        except RuntimeError:  # the caller's event loop is closed: nobody waits any more
            return

    def _settle(self, result: Any, error: Exception | None) -> None:
        if error is not None:
            self.result.set_exception(error)
            self.result.exception()  # a late one is nobody's any more, and needs no warning
        else:
            self.result.set_result(result)
        self.ended.set_result(None)


async def _outcome(function: Callable[[], Awaitable[Any]]) -> _Answer:
    """What the call returned, or raised.

    A child that a sink forked does not come back from here: it would be a second daemon, with one thread.
    """
    process = os.getpid()
    try:
        return await function(), None
    except StopIteration as error:  # no future takes it
        return None, _because(RuntimeError("it raised StopIteration"), error)
    except Exception as error:  # noqa: BLE001 - handed to the caller
        return None, error
    except BaseException as error:  # noqa: BLE001 - a plugin's sys.exit() ends no thread of ours
        if os.getpid() != process and isinstance(error, SystemExit):
            os._exit(error.code if isinstance(error.code, int) else bool(error.code))
        return None, _because(SinkExitError(f"it raised {type(error).__name__}"), error)
    finally:
        if os.getpid() != process:
            os._exit(os.EX_SOFTWARE)


def _because(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


class Workers(ThreadPoolExecutor):
    """The threads of a sink's `asyncio.to_thread`. What hangs in one keeps it, though it was cancelled."""

    def __init__(self, name: str) -> None:
        super().__init__(WORKERS, f"{name}-worker")
        self._taken = 0
        self._counting = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether all are taken, so that what is to run next waits."""
        return self._taken >= WORKERS

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(self._counted, fn, *args, **kwargs)

    def _counted(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        with self._counting:
            self._taken += 1
        try:
            return function(*args, **kwargs)
        finally:
            with self._counting:
                self._taken -= 1


class LoopThread:
    """A daemon thread that runs an event loop until it is stopped.

    Raises:
        OSError: so few descriptors are left that the sinks that are there already need them.
    """

    def __init__(self, name: str, log: Any = None) -> None:
        self.name = name
        self._log = log if log is not None else structlog.get_logger("tdbwatch.hosts")
        require(_LEFT)
        self.loop = asyncio.new_event_loop()
        self.workers = Workers(name)
        self.loop.set_default_executor(self.workers)
        self._stopping = False
        self._stopped: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int | None:
        """The thread's number."""
        return self._thread.ident

    async def stop(self) -> None:
        """Return when the thread has ended; safe to give up on."""
        here = asyncio.get_running_loop()
        ended: asyncio.Future[None] = here.create_future()
        self._stopped = (here, ended)
        self.loop.call_soon_threadsafe(self._stop_here)
        await ended

    def _stop_here(self) -> None:
        """In the thread, which may begin only now: a stop that is still to come would cut `_clear` short."""
        self._stopping = True
        self.loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._stopping:
            try:
                self.loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - a task of the plugin raised SystemExit
                self._log_raised(error)
                time.sleep(0.01)  # should it do so at every turn
        self._end()

    def _end(self) -> None:
        try:
            self.loop.run_until_complete(self._clear())
        except BaseException as error:  # noqa: BLE001 - whatever is left of the plugin, the thread ends in order
            self._log_raised(error)
        self.loop.close()
        if self._stopped is not None:
            here, ended = self._stopped
            try:
                here.call_soon_threadsafe(_set, ended)
            except RuntimeError:  # abandoned: the daemon's event loop is closed
                return

    async def _clear(self) -> None:
        """Cancel what the plugin left."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.loop.shutdown_asyncgens()

    def _log_raised(self, error: BaseException) -> None:
        say(self._log.error, "sink.thread_raised", error, thread=self.name)


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
