"""Running foreign code: in a thread of its own, with a deadline, whatever it raises."""

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent import futures
from types import TracebackType
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")
_MACHINERY: Final = (
    "/concurrent/futures/",
    "/importlib/",
    "<frozen importlib",
    "/pluggy/",
    "/tdbwatch/daemon/plugins/",
    "/tdbwatch/daemon/expressions/",
)


class HungError(Exception):
    """The code did not return in time; its thread is left behind."""

    def __init__(self, seconds: float, stack: traceback.StackSummary) -> None:
        super().__init__(f"did not return within {seconds:g} s")
        self.stack = stack


class Call(Generic[_T]):
    """A call under way in a daemon thread: one that hangs for ever does not keep the process alive."""

    def __init__(self, work: Callable[[], _T], name: str) -> None:
        self._work = work
        self._future: futures.Future[_T] = futures.Future()
        self._future.set_running_or_notify_cancel()  # so that nobody's waiting can cancel it
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ends_within(self, seconds: float) -> bool:
        """Whether it does; returns as soon as that is known."""
        return bool(futures.wait([self._future], seconds).done)

    def wait(self, seconds: float) -> _T:
        """The result.

        Raises:
            HungError: it takes longer.
            BaseException: whatever the code raised, `SystemExit` too.
        """
        futures.wait([self._future], seconds)
        return self._result(seconds)

    async def wait_async(self, seconds: float) -> _T:
        """As `wait`, without blocking the event loop."""
        waiter = asyncio.wrap_future(self._future)
        try:
            await asyncio.wait([waiter], timeout=seconds)
        finally:
            waiter.cancel()
        if waiter.done() and not waiter.cancelled():
            waiter.exception()  # seen: `_result` raises it
        return self._result(seconds)

    def _run(self) -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - it is the caller's to judge
            self._future.set_exception(error)
        else:
            self._future.set_result(result)

    def _result(self, seconds: float) -> _T:
        if not self._future.done():
            raise HungError(seconds, self._where_it_is())
        return self._future.result()

    def _where_it_is(self) -> traceback.StackSummary:
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 - there is no other way
        return traceback.extract_stack(frame) if frame else traceback.StackSummary()


def place_of(error: BaseException, files: str, otherwise: str = "") -> str:
    """`file:line` of the code to blame: the innermost that lies under `files`, else the innermost of all.

    Args:
        otherwise: where it is if all of the traceback is ours.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}"
    frames = error.stack if isinstance(error, HungError) else traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if files and frame.filename.startswith(files)]
    others = [frame for frame in frames if not any(mark in frame.filename for mark in _MACHINERY)]
    blamed = (theirs or others)[-1:]
    return f"{blamed[0].filename}:{blamed[0].lineno}" if blamed else otherwise or files


def story_of(error: BaseException) -> str:
    """The traceback, from the plugin's own code on."""
    if isinstance(error, HungError):
        return "".join(error.stack.format())
    return "".join(traceback.format_exception(type(error), error, _from_theirs(error.__traceback__)))


def reason_of(error: BaseException) -> str:
    """One line: what went wrong."""
    if isinstance(error, HungError):
        return str(error)
    if type(error).__module__.startswith("tdbwatch.daemon."):  # the name of ours says nothing to people
        return str(error)
    text = traceback.format_exception_only(error)[-1].strip()
    return f"it ended the program ({text})" if isinstance(error, SystemExit | KeyboardInterrupt) else text


def _from_theirs(trace: TracebackType | None) -> TracebackType | None:
    """Without the frames of the machinery that called the plugin."""
    first = trace
    while first is not None and any(mark in first.tb_frame.f_code.co_filename for mark in _MACHINERY):
        first = first.tb_next
    return first
