"""What the event loop knows of the log, and those in it who wait for the writer."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tdbwatch.daemon.spool.api import Gone, Progress, SpoolError


class LogState:
    """What the event loop knows of the log.

    Attributes:
        start: where a new sink begins.
        progress: as it was at the start.
        turned: set and cleared after each turn of the writer.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.closing = False
        self.first_seq, self.last_seq, self.entries = 1, 0, 0
        self.start = 0
        self.progress: dict[str, Progress] = {}
        self.watchers: list[Callable[[Sequence[Gone]], None]] = []

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.turned = asyncio.Event()
        self.failed: asyncio.Future[None] = loop.create_future()
        self.stopped: asyncio.Future[None] = loop.create_future()


def answer(waiters: Iterable["asyncio.Future[Any]"], result: Any) -> None:
    """End these waits."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(result)


def fail(waiters: Iterable["asyncio.Future[Any]"], error: SpoolError) -> None:
    """End these waits in vain."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)
