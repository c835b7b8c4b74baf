"""An event loop in a thread of its own: what runs there can be used from any test, plain or async."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent import futures
from types import TracebackType
from typing import Any, Self, TypeVar

_T = TypeVar("_T")


class BackgroundLoop:
    """Runs an event loop in a thread until `stop`; as a context manager it stops by itself.

    Args:
        limit: seconds for everything that is waited for; only reached when something is broken.
    """

    def __init__(self, limit: float = 30.0) -> None:
        self.limit = limit
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="tdbwatch-testing", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run(self, work: Coroutine[Any, Any, _T], limit: float | None = None) -> _T:
        """The result of a coroutine that runs there.

        Raises:
            TimeoutError: it took longer than `limit`; it is cancelled.
            BaseException: what it raises.
        """
        seconds = self.limit if limit is None else limit
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        if not futures.wait([future], seconds).done:
            future.cancel()
            raise TimeoutError(f"not done within {seconds:g} s")
        return future.result()

    def call(self, function: Callable[[], _T]) -> _T:
        """The result of a plain function that is called there."""

        async def work() -> _T:
            return function()

        return self.run(work())

    def stop(self) -> None:
        """Cancel what still runs, and return when the thread has ended."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(self.limit)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_cancel_all())
        finally:
            self._loop.close()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.wait(left, timeout=1.0) if left else None
