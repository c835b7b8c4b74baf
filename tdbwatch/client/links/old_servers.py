"""Servers before 1.8.6 push no scope: everything that is different with them.

Ids are per collection, so of such a push only the connection tells which room is meant. A link to such a
server hears one collection; every further one gets links of its own, a `Group`, for good. Which kind a server
is shows with the first push after a JOIN; until then a link joins one collection after the other, so that
what it hears meanwhile is of one collection only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tdbwatch.client.addresses import Address
from tdbwatch.client.links.link import Link
from tdbwatch.client.rooms.link_rooms import LinkRooms
from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.exceptions import ConnectionLostError, ProtocolError, ThingsDBError
from tdbwatch.loggers import get_logger
from tdbwatch.wire import Kind

if TYPE_CHECKING:
    from tdbwatch.client.links.keeper import Keeper

log = get_logger("tdbwatch.client")

PING_TIMEOUT: Final = 30.0
"""Seconds."""


@dataclass(eq=False, slots=True)
class Group:
    """Keepers whose links hear the same rooms, each on its own node. There is one, but for old servers."""

    subscriptions: Collection[Subscription]
    """All that the client wants to hear."""
    regroup: Callable[[], None]
    """Makes groups for what no group hears any more."""
    collection: str | None = None
    """The only collection that it hears; None: every one."""
    keepers: "list[Keeper]" = field(default_factory=list)

    def hears(self, subscription: Subscription) -> bool:
        return self.collection is None or subscription.collection == self.collection

    def wanted(self) -> list[Subscription]:
        """What its links should hear."""
        return [subscription for subscription in self.subscriptions if self.hears(subscription)]

    def in_use(self) -> list[Address]:
        """The nodes that its keepers have links to, or try."""
        return [address for keeper in self.keepers for address in keeper.addresses]

    def keep_to(self, collection: str, link: Link) -> None:
        """A link is to an old server, and hears this collection: all others must be heard elsewhere."""
        if self.collection is None:
            self.collection = collection
            self.regroup()
        elif self.collection != collection:  # two links learned it at once, with two collections
            link.abort(ConnectionLostError("it hears a collection that another link is for"))


class PushScopes:
    """Whether the pushes of one link carry scopes, and what follows if not."""

    def __init__(self, link: Link, rooms: LinkRooms, group: Group) -> None:
        self._link = link
        self._rooms = rooms
        self._group = group
        self._known = False
        self._asked: set[str] = set()
        self._turn = asyncio.Lock()

    def heard(self, scope: str | None) -> bool:
        """A push came with this scope; returns whether it is the one that shows an old server."""
        if self._known:
            return False
        self._known = True
        if scope is not None:
            return False
        self._rooms.hear_by_id()
        if collections := self._rooms.collections():
            log.info("%s pushes no scopes: one connection for each collection", self._link.address)
            self._group.keep_to(next(iter(collections)), self._link)
        return True

    async def in_turn(self, collection: str, join: Callable[[], Awaitable[None]]) -> None:
        """Join rooms of a collection, as soon as that cannot be mistaken."""
        if self._unknown():
            async with self._turn:
                if self._unknown() and self._asked - {collection}:
                    await self._hear_what_follows()
                if self._unknown():
                    self._asked.add(collection)
                    await join()
                    return
        await join()

    def _unknown(self) -> bool:
        return not self._known

    async def _hear_what_follows(self) -> None:
        """After the answer to a PING, everything that the server pushed before has been heard."""
        try:
            await self._link.call(Kind.PING, timeout=PING_TIMEOUT)
        except (ThingsDBError, OSError, ProtocolError) as error:
            log.debug("%s: %s", self._link.address, error)
