"""The event loop of a client, which may be used before and after it runs."""

import asyncio
from collections.abc import Callable

Begin = Callable[[], asyncio.Future[None] | None]
"""Begins something in the running loop; the future ends when it is done."""


class ClientLoop:
    """The loop that a client was given, else the one that it ran on last."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop

    def get(self) -> asyncio.AbstractEventLoop:
        """The loop; if there is none yet, or it has ended, the running one from now on.

        Raises:
            RuntimeError: there is none, and none is running.
        """
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.get_running_loop()
        return self._loop

    def begin(self, begin: Begin) -> asyncio.Future[None] | None:
        """Begin now if a loop is running, which is the client's then; else as soon as the client's runs.

        Raises:
            RuntimeError: there is no loop, and none is running.
        """
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return self.get().create_task(_later(begin))
        return begin()


async def _later(begin: Begin) -> None:
    if (begun := begin()) is not None:
        await begun
