"""What a room's async handlers still have to do: one after the other, in a task of the room's own."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

log = logging.getLogger("tdbwatch.room")

_Work = tuple[str, Callable[..., Awaitable[Any]], tuple[Any, ...]]
"""Its name in the log, what to call, and with what."""


class Backlog:
    """Runs handlers and hooks. Whatever they raise is logged with their name and their room, and ends here.

    Args:
        owner: the room; its `repr` is in the log.
        limit: handlers that may wait; further ones are dropped, counted and logged.
    """

    def __init__(self, owner: object, limit: int) -> None:
        self.dropped = 0
        self._owner = owner
        self._limit = limit
        self._waiting: deque[_Work] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def clear(self) -> None:
        """Forget what waits; a handler that runs goes on."""
        self._waiting.clear()

    def immediate(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        """A plain handler as it is; an async one as a plain one that makes it wait for its turn."""
        if not inspect.iscoroutinefunction(handler):
            return handler
        return lambda *args: self._put(name, handler, args)

    def hook(self, hook: Callable[[], Any]) -> None:
        """Call a hook; if it is async, when the handlers before it are done."""
        if inspect.iscoroutinefunction(hook):
            self._waiting.append((hook.__name__, hook, ()))
            self._work()
        else:
            self.call(hook)

    def call(self, hook: Callable[[], Any]) -> Awaitable[Any] | None:
        """Call a hook; returns what must be awaited, if it is async."""
        try:
            result = hook()
        except (Exception, asyncio.CancelledError):
            log.exception("%s of %r raised", hook.__name__, self._owner)
            return None
        return result if inspect.isawaitable(result) else None

    async def run(self, name: str, handler: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Await a handler or hook. Only a cancellation of the task that awaits it goes on."""
        task = asyncio.current_task()
        try:
            await handler(*args)
        except asyncio.CancelledError:
            if task is not None and task.cancelling():
                raise
            log.exception("%s of %r was cancelled", name, self._owner)
        except Exception:
            log.exception("%s of %r raised", name, self._owner)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something beside the handlers."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _put(self, name: str, handler: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        if len(self._waiting) < self._limit:
            self._waiting.append((name, handler, args))
            self._work()
            return
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:  # 1, 2, 4, 8, ...
            log.error(
                "%r: its async handlers are too slow, %d events dropped so far", self._owner, self.dropped
            )

    def _work(self) -> None:
        if self._worker is None or self._worker.done():
            self._worker = self.spawn(self._work_off(), f"tdbwatch-room {self._owner!r:.60}")

    async def _work_off(self) -> None:
        while self._waiting:
            name, handler, args = self._waiting.popleft()
            await self.run(name, handler, *args)
