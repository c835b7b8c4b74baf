"""By which names the status server may be asked for.

A web page can let its own name lead to an address of ours, and then read what we answer to whoever visits it
(DNS rebinding). What browsers then send as `Host` is that name. Pure.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

_LOCAL: Final = "localhost"


class Hosts:
    """The names that are ours.

    Args:
        own: as the configuration has it: the host to listen on.
        more: further names, from the configuration.
        addresses: where the server listens.
    """

    def __init__(self, own: str, more: Iterable[str], addresses: Iterable[str]) -> None:
        self._names = {_plain(name) for name in (own, *more) if name}
        self._only_here = all(map(is_loopback, addresses))
        self._any = not self._only_here and not tuple(more)

    def allow(self, host: str) -> bool:
        """Whether a request with this `Host` header may be answered.

        An address of ours needs no name, so no page can have made it one; on loopback only loopback's count.
        """
        name = _plain(_without_port(host))
        if self._any or name in self._names or name == _LOCAL or is_loopback(name):
            return True
        return not self._only_here and _is_address(name)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def _plain(name: str) -> str:
    return name.strip().lower().removesuffix(".").strip("[]")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether it is an address of this machine that no other one can reach."""
    return _is_address(name) and ipaddress.ip_address(name).is_loopback
