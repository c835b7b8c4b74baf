"""Names to addresses, each in a thread of its own: the event loop's are few, and belong to everyone.

A name server that does not answer would keep one of them for half a minute, and a few such sinks all of them.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from aiohttp.abc import AbstractResolver, ResolveResult

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_T = TypeVar("_T")


class Resolver(AbstractResolver):
    """Asks the system, as aiohttp's own does."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        infos = await _in_thread(
            lambda: socket.getaddrinfo(
                host, port, family, socket.SOCK_STREAM, flags=int(socket.AI_ADDRCONFIG)
            )
        )
        return [
            ResolveResult(
                hostname=host, host=_host_of(address), port=port, family=kind, proto=protocol, flags=_NUMERIC
            )
            for kind, _, protocol, _, address in infos
        ]

    async def close(self) -> None:
        """Nothing is kept; a look-up under way ends by itself."""


def _host_of(address: tuple[Any, ...]) -> str:
    """An address of IPv6 that is valid on one link only says on which."""
    return f"{address[0]}%{address[3]}" if len(address) > 3 and address[3] else str(address[0])


async def _in_thread(function: Callable[[], _T]) -> _T:
    """What `function` returns or raises; no process waits for its thread."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_T] = loop.create_future()

    def tell(settle: Callable[[Any], None], value: Any) -> None:
        if not answer.done():  # nobody waits any more
            settle(value)

    def run() -> None:
        try:
            told: tuple[Callable[[Any], None], Any] = (answer.set_result, function())
        except Exception as error:  # noqa: BLE001 - handed to who waits
            told = (answer.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(tell, *told)

    threading.Thread(target=run, name="tdbwatch-webhook-name", daemon=True).start()
    return await answer
