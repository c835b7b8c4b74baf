"""Blocking calls in threads of their own: the event loop's are few, and belong to everyone.

A name server that does not answer would keep one of them for half a minute, and a few names all of them.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def in_own_thread(function: Callable[[], _T], name: str) -> _T:
    """What `function` returns or raises. When nobody waits any more it goes on, and no process waits for it.

    Args:
        name: the thread's.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_T] = loop.create_future()

    def tell(settle: Callable[[Any], None], value: Any) -> None:
        if not answer.done():
            settle(value)

    def run() -> None:
        try:
            told: tuple[Callable[[Any], None], Any] = (answer.set_result, function())
        except Exception as error:  # noqa: BLE001 - handed to who waits
            told = (answer.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(tell, *told)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await answer
