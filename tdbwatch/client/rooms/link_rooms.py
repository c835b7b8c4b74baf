"""The rooms that one link hears: who gets their events, and what the server's pushes say of them."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from tdbwatch.client.merging.merge import Merge
from tdbwatch.client.rooms.subscriptions import RoomKey, Subscription
from tdbwatch.loggers import get_logger
from tdbwatch.wire import Emit, RawEmit, RoomDelete, RoomLeave, RoomState, encode

if TYPE_CHECKING:
    from tdbwatch.client.links.link import Link

log = get_logger("tdbwatch.client")

_DIGEST_ABOVE: Final = 256
"""Bytes of arguments; a digest of 128 bits is shorter, and does not collide by chance."""


class Inlet:
    """Where a link's events of a room come in when other links hear the room too."""

    __slots__ = ("_link", "_merge", "_subscription")

    def __init__(self, subscription: Subscription, merge: Merge, link: "Link") -> None:
        self._subscription = subscription
        self._merge = merge
        self._link = link

    def __call__(self, emit: Any) -> None:
        packed = bytes(emit.args) if type(emit.args) is Raw else encode(emit.args)
        if len(packed) > _DIGEST_ABOVE:  # the merge remembers many: what is large is remembered by its digest
            packed = blake2b(packed, digest_size=16).digest()
        if self._merge.receive(self._link, (emit.event, packed), self._link.heard_at):
            self._subscription.listener.deliver(emit)


class Members:
    """Who takes a room's events on one link: usually one subscription, sometimes several of the same room."""

    __slots__ = ("_link", "subscriptions")

    def __init__(self, link: "Link") -> None:
        self._link = link
        self.subscriptions: list[Subscription] = []

    def entrance(self) -> Callable[[Any], None]:
        """What the link calls with each event: the shortest way that does."""
        ways = [self._way(subscription) for subscription in self.subscriptions]
        if len(ways) == 1:
            return ways[0]

        def each(emit: Any) -> None:
            for way in ways:
                way(emit)

        return each

    def _way(self, subscription: Subscription) -> Callable[[Any], None]:
        if subscription.each_link is not None:
            return partial(subscription.each_link, self._link)
        if subscription.merge is None:
            return subscription.listener.deliver
        return Inlet(subscription, subscription.merge, self._link)


class LinkRooms:
    """The rooms that one link hears, by (scope, id), and what the server says of them.

    Args:
        merging: other links hear, or may hear, the same rooms.
    """

    def __init__(self, link: "Link", *, merging: bool) -> None:
        self.link = link
        self.merging = merging
        self._by_id = False
        self._members: dict[RoomKey, Members] = {}
        self._known: set[str] = set()
        """Collections that were asked for rooms, or renamed: late events of a room that was left name one."""

    def add(self, subscription: Subscription, room_id: int) -> None:
        """The link hears it from now on."""
        key = (subscription.collection, room_id)
        members = self._members.setdefault(key, Members(self.link))
        if subscription not in members.subscriptions:
            members.subscriptions.append(subscription)
        if self.merging:
            self._merge(subscription)
        else:
            subscription.end_merge()  # of links that are gone: to it this one is a stranger
        self._route(key)
        subscription.joined(self.link, room_id)

    def collections(self) -> set[str]:
        """Of which collections rooms are heard."""
        return {collection for collection, _ in self._members}

    def asked(self, collection: str) -> None:
        """The server is asked for rooms of that collection."""
        self._known.add(collection)

    def knows(self, collection: str) -> bool:
        """Whether the server may have joined rooms of that collection under this name."""
        return collection in self._known

    def with_id(self, room_id: int) -> list[str]:
        """The collections of which a room of this id is heard."""
        return [collection for collection, other in self._members if other == room_id]

    def subscriptions(self) -> list[Subscription]:
        """All that are heard."""
        return [s for members in self._members.values() for s in members.subscriptions]

    def hear_by_id(self) -> None:
        """Pushes carry no scope: the id alone tells which room is meant."""
        self._by_id = True
        self._route_all()

    def begin_merging(self) -> None:
        """Another link is about to take over: what both hear must go on once."""
        if not self.merging:
            self.merging = True
            for subscription in self.subscriptions():
                self._merge(subscription)
            self._route_all()

    def end_merging(self) -> None:
        """This link is the only one again."""
        self.merging = False
        for subscription in self.subscriptions():
            subscription.end_merge()
        self._route_all()

    def discard(self, subscription: Subscription) -> int | None:
        """The subscription ended; the id of the room that the link should leave, if nobody else wants it."""
        room_id = subscription.links.pop(self.link, None)
        key = self._key_with(subscription, room_id)
        if key is None:
            return None
        members = self._members[key]
        members.subscriptions.remove(subscription)
        self._unmerge(subscription)
        if members.subscriptions:
            self._route(key)
            return None
        self._remove(key)
        return room_id

    def hears(self, collection: str, room_id: int) -> bool:
        """Whether a room is heard."""
        return (collection, room_id) in self._members

    def has(self, push: RoomState | Emit | RawEmit) -> bool:
        """Whether a push is about a room that is heard."""
        return self._key_of(push.scope, push.id) is not None

    def gone(self, push: RoomDelete | RoomLeave) -> list[Subscription]:
        """The server deleted or left a room; returns the subscriptions that have to look for it again."""
        key = self._key_of(push.scope, push.id)
        if key is None:
            return []
        subscriptions = self._remove(key).subscriptions
        for subscription in subscriptions:
            self._unmerge(subscription)
            subscription.links.pop(self.link, None)
            if isinstance(push, RoomDelete) and subscription.id == push.id:  # else it was made anew already
                subscription.deleted("the server says so")
            subscription.deafened(self.link, "the room is gone")
        return subscriptions

    def rename(self, old: str, new: str) -> None:
        """A collection is called otherwise now; its rooms stay joined (recording `collection-renamed`)."""
        log.warning("collection %s is called %s now", old, new)
        self._known.add(new)
        for key in [key for key in self._members if key[0] == old]:
            members = self._remove(key)
            self._members[new, key[1]] = members
            for subscription in members.subscriptions:
                subscription.renamed(new)
            self._route((new, key[1]))

    def displaced(self, collections: Collection[str], reason: str) -> list[Subscription]:
        """Names of collections may mean others now; returns the subscriptions that have to look there.

        Until `settle` all is heard on: for some of these names nothing may have changed.
        """
        displaced = []
        for collection, room_id in self._members:
            if collection in collections:
                for subscription in self._members[collection, room_id].subscriptions:
                    subscription.displaced(room_id, reason, self.link.now())
                    subscription.unheard(self.link, reason)
                    displaced.append(subscription)
        return displaced

    def settle(self, collections: Collection[str]) -> None:
        """What was displaced was looked for: forget where it was before."""
        for key in [key for key in self._members if key[0] in collections]:
            members = self._members[key]
            for subscription in members.subscriptions[:]:
                if subscription.links.get(self.link) != key[1]:
                    members.subscriptions.remove(subscription)
                    if self.link not in subscription.links:
                        self._unmerge(subscription)
            if members.subscriptions:
                self._route(key)
            else:
                self._remove(key)

    def leaving(self, reason: str) -> None:
        """The link's node shuts down: from now on it hears only its own emits (recording `node-shutdown`)."""
        for subscription in self.subscriptions():
            if subscription.merge is not None:
                subscription.merge.leaving(self.link, self.link.heard_at)
            subscription.deafened(self.link, reason)

    def clear(self, reason: str) -> None:
        """The link is gone."""
        subscriptions = self.subscriptions()
        self._members.clear()
        self.link.rooms.clear()
        for subscription in subscriptions:
            self._unmerge(subscription)
            subscription.unheard(self.link, reason)

    def _key_of(self, scope: str | None, room_id: int) -> RoomKey | None:
        if scope is not None:
            return (scope, room_id) if (scope, room_id) in self._members else None
        collections = self.with_id(room_id)
        return (collections[0], room_id) if len(collections) == 1 else None

    def _key_with(self, subscription: Subscription, room_id: int | None) -> RoomKey | None:
        """Where a subscription is; under its old scope if only another link knows yet that it was renamed."""
        if room_id is None:
            return None
        same_id = ((collection, room_id) for collection in (subscription.collection, *self.with_id(room_id)))
        return next(
            (k for k in same_id if k in self._members and subscription in self._members[k].subscriptions),
            None,
        )

    def _route_all(self) -> None:
        for key in self._members:
            self._route(key)

    def _route(self, key: RoomKey) -> None:
        entrance = self._members[key].entrance()
        for each in self._push_keys(key):
            self.link.rooms[each] = entrance

    def _remove(self, key: RoomKey) -> Members:
        for each in self._push_keys(key):
            self.link.rooms.pop(each, None)
        return self._members.pop(key)

    def _push_keys(self, key: RoomKey) -> Iterator[tuple[str | None, int]]:
        """What pushes about a room are found by."""
        yield key
        if self._by_id:
            yield None, key[1]

    def _merge(self, subscription: Subscription) -> None:
        if subscription.merge is None:
            subscription.merge = Merge()
        subscription.merge.add(self.link, self.link.heard_at)
        if self.link.leaving:
            subscription.merge.leaving(self.link, self.link.heard_at)

    def _unmerge(self, subscription: Subscription) -> None:
        if subscription.merge is not None:
            subscription.merge.remove(self.link, self.link.heard_at)
