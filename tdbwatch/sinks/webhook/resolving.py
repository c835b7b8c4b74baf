"""Names to addresses, without the event loop's own threads."""

import socket
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from tdbwatch.blocking import in_own_thread

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Resolver(AbstractResolver):
    """Asks the system, as aiohttp's own does."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        infos = await in_own_thread(lambda: _look_up(host, port, family), "tdbwatch-webhook-name")
        return [
            ResolveResult(
                hostname=host, host=_host_of(address), port=port, family=kind, proto=protocol, flags=_NUMERIC
            )
            for kind, _, protocol, _, address in infos
        ]

    async def close(self) -> None:
        """Nothing is kept; a look-up under way ends by itself."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[Any]:
    """Addresses of the kinds that this machine has; if there are none, whatever there is.

    That it has an address of a kind does not count loopback's: `localhost` may be `::1` alone.
    """
    flags = int(socket.AI_ADDRCONFIG)
    try:
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=flags)
    except socket.gaierror:
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)


def _host_of(address: tuple[Any, ...]) -> str:
    """An address of IPv6 that is valid on one link only says on which."""
    return f"{address[0]}%{address[3]}" if len(address) > 3 and address[3] else str(address[0])
