"""What happens to nodes and connections: records of it, and what people must be told at once."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog

from tdbwatch.client import Observer
from tdbwatch.client.addresses import Address
from tdbwatch.clock import Clock
from tdbwatch.daemon.intake.causes import Cause
from tdbwatch.daemon.intake.source import Source, Unreadable
from tdbwatch.daemon.intake.watched import WatchedRoom
from tdbwatch.daemon.spool.stored.blocks import NOWHERE
from tdbwatch.daemon.status import START_PATIENCE, Journal
from tdbwatch.plugin import Kind

_NETWORK: Final = "start a node, or mend the network to one; it is connected to by itself"
_LOGIN: Final = "see that the user or token exists; a new one in its file is used at the next attempt"


class NodeWatcher(Observer):
    """Told by the client. Without any connection the daemon is deaf, and says so once, as an error."""

    def __init__(self, source: Source, journal: Journal, rooms: Iterable[WatchedRoom], clock: Clock) -> None:
        self.closing = False
        """Connections end since we stop: nothing to worry about."""
        self._source = source
        self._journal = journal
        self._rooms = rooms
        self._clock = clock
        self._links: Counter[Address] = Counter()
        self._statuses: dict[Address, str] = {}
        self._deaf_since: float | None = None
        self._ever_connected = False
        self._refused = False
        self._lost: Counter[Address] = Counter()
        self._unreadable = Unreadable(source, NOWHERE, clock)
        self._log = structlog.get_logger("tdbwatch.links")

    def node_status(self, address: Address, node_id: int, status: str) -> None:
        if self._statuses.get(address) != status:  # a node that says the same again has nothing to say
            self._statuses[address] = status
            self._record(status, address, node_id=node_id, status=status)

    def warning(self, address: Address, code: int, message: str) -> None:
        self._record("warning", address, code=code, message=message)

    def connected(self, address: Address) -> None:
        self._ever_connected = True
        self._links[address] += 1
        self._refused = False
        if self._deaf_since is not None:
            seconds = round(self._clock.monotonic() - self._deaf_since, 1)
            self._deaf_since = None
            self._log.info("links.back", node=str(address), seconds=seconds)
        self._statuses.pop(address, None)
        self._record("connected", address)

    def disconnected(self, address: Address, reason: str) -> None:
        self._links[address] -= 1
        if not self._links.total() and not self.closing:
            self._deaf_since = self._clock.monotonic()
            self._log.error("links.none", node=str(address), reason=reason, remedy=_NETWORK)
        self._record("disconnected", address, reason=reason)

    def unreachable(self, address: Address, reason: str, wait: float) -> None:  # noqa: ARG002
        self._journal.unreachable(str(address), reason)

    def refused(self, address: Address, reason: str, wait: float, *, by_all: bool) -> None:  # noqa: ARG002
        self._journal.unreachable(str(address), reason, refused=True)
        if by_all and not self._links.total():
            for room in self._rooms:
                room.silent(Cause.LOGIN, reason)
            if not self._refused:
                self._refused = True
                self._log.error("links.login_refused", node=str(address), reason=reason, remedy=_LOGIN)

    def recovered(self, address: Address) -> None:
        self._journal.recovered(str(address))

    def emit_lost(self, address: Address) -> None:
        self._lost[address] += 1

    async def tell_of_none(self, is_connected: Callable[[], bool]) -> None:
        """What is emitted while no node can be reached is missed, at the very first start as well."""
        await self._clock.sleep(START_PATIENCE)
        if not (self._ever_connected or self.closing or is_connected()):
            for room in self._rooms:
                room.silent(Cause.CONNECTION, "no node could be reached since the start", room.made_at)

    def tell_of_unreadable(self) -> None:
        """Make gap records of the events that could not be read since this was called last.

        Each connection heard those that name no room, so the one that heard most counts.
        """
        if self._lost:
            self._unreadable.add(max(self._lost.values()))
            self._lost.clear()
        self._unreadable.tell()
        for room in self._rooms:
            room.tell_of_unreadable()

    def _record(self, event: str, address: Address, **details: Any) -> None:
        self._source.record(Kind.NODE, event, NOWHERE, None, {"node": str(address), **details})
