"""A sink that does what a test says."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from tdbwatch.plugin import Event, Sink, SinkContext

BATCH = [Event.create("r")]


class Acting(Sink):
    """Calls a function at each delivery."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__(None, SinkContext("acting"))
        self.act = act
        self.thread: int | None = None
        self.closed = False

    async def deliver(self, batch: Any) -> Any:
        self.thread = threading.get_ident()
        result = self.act()
        return await result if asyncio.iscoroutine(result) else result

    async def close(self) -> None:
        self.closed = True


MakeHost = Callable[..., Awaitable[tuple[Any, Acting]]]
