"""All links of a client: who keeps them, and which rooms each of them hears."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from tdbwatch.client.addresses import Address
from tdbwatch.client.links.keeper import POLL, Keeper
from tdbwatch.client.links.link import Link
from tdbwatch.client.links.old_servers import Group
from tdbwatch.client.links.pool import NodePool
from tdbwatch.client.links.settings import Settings
from tdbwatch.client.links.spares import Spares
from tdbwatch.client.rooms.joiner import Joiner
from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.exceptions import NotConnectedError
from tdbwatch.loggers import get_logger
from tdbwatch.wire import Kind

log = get_logger("tdbwatch.client")


class Fleet:
    """The keepers of one client.

    There is one group of them, unless a server is older than 1.8.6: those push the events of two collections
    without saying which is meant, so each further collection gets a group of its own, for good.

    Args:
        connections: how many nodes to be connected to at once.
        persistent: keep the links alive.
        link_ready: called when requests can be sent.
    """

    def __init__(
        self, settings: Settings, connections: int, persistent: bool, link_ready: Callable[[], None]
    ) -> None:
        self.subscriptions: dict[Subscription, None] = {}
        self._settings = settings
        self._connections = connections
        self._persistent = persistent
        self._link_ready = link_ready
        self._addresses: list[Address] = []
        self._groups: list[Group] = []
        self._pools: list[NodePool] = []
        self._moving: asyncio.Task[None] | None = None
        self._former: list[Keeper] = []
        self._spares: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def started(self) -> bool:
        return bool(self._groups)

    def start(self, addresses: Sequence[Address], *, insist: bool) -> "asyncio.Future[None]":
        """Begin to connect; the future ends with the first link, or when the login or all else is refused.

        Raises:
            ValueError: there is no address.
        """
        NodePool(addresses, self._settings.rng)  # refuses what is wrong before anything is given up
        self.close()
        self._loop = asyncio.get_running_loop()
        self._addresses = list(addresses)
        self._settings.merging = self._size > 1
        self._settings.proven = False
        ready = self._add_group(None, insist=insist)
        return ready[0] if len(ready) == 1 else asyncio.create_task(first_of(ready))

    def close(self) -> None:
        """Close all links; returns at once.

        The loop need not run now: if it is stopped, the rest is done when it runs again. If it is closed,
        nothing of it can run any more, and its sockets go with what held them.
        """
        closed = self._loop is not None and self._loop.is_closed()
        former, self._groups, self._pools = list(self._keepers()), [], []
        for task in (self._spares, self._moving):
            if task is not None and not closed:
                task.cancel()
        self._spares = self._moving = None
        for keeper in former:
            if closed:
                keeper.abandon()
            else:
                keeper.close()
        self._former = [] if closed else self._former + former

    async def wait_closed(self) -> None:
        """Return when everything that was closed is."""
        while self._former:
            await self._former[-1].wait_closed()
            if self._former:
                self._former.pop()

    def move(self) -> "asyncio.Future[None] | None":
        """Make a new link in place of the one that requests go to; None if one is being made already.

        Raises:
            NotConnectedError: never connected, or closed.
        """
        if not self._groups:
            raise NotConnectedError("never connected; call connect() or connect_pool() first")
        return self._groups[0].keepers[0].move()

    def change(self, addresses: Sequence[Address]) -> None:
        """From now on these are the nodes; a link to another one lives on until a new one takes over.

        Raises:
            ValueError: there is no address.
        """
        for pool in self._pools:
            pool.change(addresses)
        self._addresses = list(addresses)
        if self._groups and self._moving is None:
            self._moving = asyncio.create_task(self._leave_others(), name="tdbwatch-nodes")

    async def _leave_others(self) -> None:
        """Move all links to nodes that there are no more."""
        while strangers := [keeper for keeper in self._keepers() if self._is_elsewhere(keeper)]:
            for keeper in strangers:
                keeper.move()  # unless it does so already
            await self._settings.clock.sleep(POLL)
        self._moving = None

    def _is_elsewhere(self, keeper: Keeper) -> bool:
        return keeper.link is not None and keeper.link.address not in self._addresses

    def link(self, other_than: Link | None = None) -> Link | None:
        """The link that requests go to: preferably of a node that stays."""
        live = [link for link in self.links(self._groups[:1]) if link.is_live]
        good = [link for link in live if not link.leaving]
        best = [link for link in good if link is not other_than]
        return next(iter(best or good or live), None)

    def links(self, groups: Sequence[Group] | None = None) -> list[Link]:
        """Every link that is in use now."""
        chosen = self._groups if groups is None else groups
        return [k.link for group in chosen for k in group.keepers if k.link is not None]

    def addresses(self) -> list[Address]:
        """The nodes that there are links to, or that are tried."""
        return [address for keeper in self._keepers() for address in keeper.addresses]

    def is_alone(self) -> bool:
        """Whether there is no other node to move to."""
        return len(self._addresses) < 2

    # -- rooms -------------------------------------------------------------------------------------------

    async def subscribe(self, subscription: Subscription) -> None:
        """Hear a room; returns when every live link has tried once."""
        self.subscriptions[subscription] = None
        group = self._group_for(subscription)
        if group is not None:
            joiners = [joiner for keeper in group.keepers for joiner in keeper.joiners]
            await asyncio.gather(*(joiner.join_one(subscription) for joiner in joiners))

    def forget(self, subscription: Subscription) -> list[Joiner]:
        """Join a room no more; it is heard until the server says that it is gone."""
        self.subscriptions.pop(subscription, None)
        subscription.ended = True
        joiners = [joiner for keeper in self._keepers() for joiner in keeper.joiners]
        for joiner in joiners:
            joiner.forget(subscription)
        return joiners

    def discard(self, subscription: Subscription) -> list[tuple[Link, int]]:
        """Hear a room no more, from this moment on; the links that should leave it, and its id there."""
        joiners = self.forget(subscription)
        ids = [(joiner.link, joiner.rooms.discard(subscription)) for joiner in joiners]
        return [(link, room_id) for link, room_id in ids if room_id is not None and link.is_live]

    def retry_rooms(self) -> None:
        """Try every room now that could not be joined."""
        for keeper in self._keepers():
            for joiner in keeper.joiners:
                joiner.retry_now()

    # -- inside ------------------------------------------------------------------------------------------

    @property
    def _size(self) -> int:
        return max(1, min(self._connections, len(set(self._addresses))))

    def _keepers(self) -> Iterator[Keeper]:
        for group in self._groups:
            yield from group.keepers

    def _group_for(self, subscription: Subscription) -> Group | None:
        """The group that hears it, made if there is none; None while not connected at all."""
        if not self._groups:
            return None
        for group in self._groups:
            if group.hears(subscription):
                return group
        self._add_group(subscription.collection, insist=True)
        return self._groups[-1]

    def _regroup(self) -> None:
        """A group turned out to hear one collection only: make groups for the others."""
        for subscription in list(self.subscriptions):
            self._group_for(subscription)

    def _add_group(self, collection: str | None, *, insist: bool) -> "list[asyncio.Future[None]]":
        pool = NodePool(self._addresses, self._settings.rng, self._settings.backoff)
        self._pools.append(pool)
        group = Group(self.subscriptions.keys(), self._regroup, collection)
        for _ in range(self._size):
            keeper = Keeper(group, pool, self._settings, self._link_ready, persistent=self._persistent)
            group.keepers.append(keeper)
        self._groups.append(group)
        if self._settings.check_spares and self._spares is None:
            self._spares = asyncio.create_task(
                Spares(group, pool, self._settings).run(), name="tdbwatch-spares"
            )
        return [keeper.start(insist=insist) for keeper in group.keepers]


async def leave(rooms: Sequence[tuple[Link, int]], scope: str, timeout: float | None) -> bool:
    """Ask each link to leave a room, all at once; whether it was still there.

    Nothing else matters: its events are not delivered any more, whatever the server answers.
    """
    calls = [link.call(Kind.LEAVE, [scope, room_id], timeout=timeout) for link, room_id in rooms]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return not any(answer == [None] or isinstance(answer, RoomLookupError) for answer in answers)


async def first_of(futures: "Sequence[asyncio.Future[None]]") -> None:
    """End with whichever ends first, well or not: one link is enough, and what ends one keeper ends all."""
    done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    done.pop().result()
