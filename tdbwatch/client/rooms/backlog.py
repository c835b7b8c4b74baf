"""What a room's handlers and hooks still have to do, in the order in which it came."""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from tdbwatch.loggers import get_logger, is_worth_saying

log = get_logger("tdbwatch.room")

_Work = tuple[str, Callable[..., Awaitable[Any]], tuple[Any, ...]]
"""Its name in the log, what to call, and with what."""
STOPS: Final = (KeyboardInterrupt, SystemExit)
"""What ends the program, also when a handler raises it, as everywhere in asyncio; nothing else does."""
_NOBODY: Final[Mapping[str, Callable[..., Any]]] = {}


class Owner(Protocol):
    """A room, as the log calls it."""

    max_backlog: int
    dropped: int
    """Events that were dropped because more than `max_backlog` were waiting."""


class _Held(NamedTuple):
    """An event that waits for `on_join`."""

    event: str
    args: tuple[Any, ...]


class Backlog:
    """Calls handlers and hooks. Whatever they raise is logged with their name and their room, and ends here.

    Plain handlers are called at once, async ones one after the other in a task. While the room is being
    joined, every event is held back. What waits, for either reason, is bounded.
    """

    def __init__(
        self, owner: Owner, handlers: Mapping[str, Callable[..., Any]], on_emit: Callable[..., Any]
    ) -> None:
        self._owner = owner
        self._open = (
            {event: self._in_turn(f"the handler of event {event!r}", h) for event, h in handlers.items()},
            self._in_turn("on_emit", on_emit),
        )
        self._handlers: Mapping[str, Callable[..., Any]]
        self._handlers, self._rest = (
            self._open
        )  # others while the room is being joined: no event needs a test
        self._held: deque[Callable[[], None]] = deque()
        self._waiting: deque[_Work] = deque()
        self._join_due = False
        self._worker: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._held) + len(self._waiting)

    def deliver(self, emit: Any) -> None:
        """Call the event's handler. Nothing that it raises goes further than here."""
        handler = self._handlers.get(emit.event)
        try:
            if handler is not None:
                handler(*emit.args)
            else:
                self._rest(emit.event, *emit.args)
        except STOPS:
            raise
        except BaseException:  # a handler may have looked at a future that was cancelled
            log.exception("the handler of event %r of %s raised", emit.event, self._owner)

    def join(self, work: Callable[[], Awaitable[None]]) -> None:
        """Hold back what comes from now on until `work` has ended; it begins after the handlers before it.

        If it has not begun when the room is joined once more, once is enough.
        """
        self._handlers, self._rest = _NOBODY, self._hold
        if not self._join_due:
            self._join_due = True
            self._add("on_join", self._join, work)

    def hook(self, name: str, hook: Callable[[], Any]) -> None:
        """Call a hook after the events that are held back; if it is async, after all handlers before it."""
        if self._is_holding:
            self._held.append(partial(self.hook, name, hook))
        elif inspect.iscoroutinefunction(hook):
            self._add(name, hook)
        else:
            self._call(name, hook)

    def clear(self) -> None:
        """Forget what waits, and hold back no more; a handler or hook that runs goes on."""
        self._waiting.clear()
        self._held.clear()
        self._let_in()

    async def run(self, name: str, hook: Callable[..., Any], *args: Any) -> None:
        """Call a hook or an async handler, and await it. Only a cancellation of this task goes on."""
        try:
            result = hook(*args)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            log.exception("%s of %s was cancelled", name, self._owner)
        except (*STOPS, GeneratorExit):
            raise
        except BaseException:
            log.exception("%s of %s raised", name, self._owner)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something beside the handlers."""
        task = asyncio.create_task(work, name=f"tdbwatch-{name} {self._owner!s:.60}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- inside ------------------------------------------------------------------------------------------

    def _in_turn(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        """A plain handler as it is; an async one as a plain one that makes it wait for its turn."""
        if not inspect.iscoroutinefunction(handler):
            return handler

        def wait(*args: Any) -> None:
            if self._has_space("async handlers"):
                self._add(name, handler, *args)

        return wait

    def _call(self, name: str, hook: Callable[[], Any]) -> None:
        try:
            hook()
        except STOPS:
            raise
        except BaseException:
            log.exception("%s of %s raised", name, self._owner)

    @property
    def _is_holding(self) -> bool:
        return self._handlers is _NOBODY

    def _hold(self, event: str, *args: Any) -> None:
        if self._has_space("on_join"):
            self._held.append(partial(self.deliver, _Held(event, args)))

    async def _join(self, work: Callable[[], Awaitable[None]]) -> None:
        self._join_due = False
        try:
            await work()
        finally:
            if not self._join_due:
                self._let_in()

    def _let_in(self) -> None:
        self._handlers, self._rest = self._open
        while self._held and not self._is_holding:
            self._held.popleft()()

    def _has_space(self, what_for: str) -> bool:
        owner = self._owner
        if len(self) < owner.max_backlog:
            return True
        owner.dropped += 1
        if is_worth_saying(owner.dropped):
            log.error(
                "%s: %d events dropped so far; %d wait for %s",
                owner,
                owner.dropped,
                owner.max_backlog,
                what_for,
            )
        return False

    def _add(self, name: str, work: Callable[..., Awaitable[Any]], *args: Any) -> None:
        self._waiting.append((name, work, args))
        if self._worker is None or self._worker.done():
            self._worker = self.spawn(self._work_off(), "room")

    async def _work_off(self) -> None:
        while self._waiting:
            name, work, args = self._waiting.popleft()
            await self.run(name, work, *args)


def is_cancelled() -> bool:
    """Whether the task that runs is being cancelled: a `CancelledError` may have come from elsewhere."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
