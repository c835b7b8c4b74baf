"""What the client wants to hear: subscriptions are desired state, joined on every link that comes."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Raw

from tdbwatch.client.merge import Merge
from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.wire import Emit, Push, RawEmit, RoomDelete, RoomLeave, encode
from tdbwatch.wire.scopes import canonical, short

if TYPE_CHECKING:
    from tdbwatch.client.link import Link

log = logging.getLogger("tdbwatch.client")

RoomKey = tuple[str, int]
"""A room's scope, as the server pushes it, and its id: ids are per collection."""

_NAME: Final = re.compile(r"[A-Za-z_][0-9A-Za-z_]*")


class RoomStatus(StrEnum):
    """Where a subscription stands."""

    WAITING = "waiting"
    """No link has tried to join it yet, or the last one that had it is gone."""
    JOINED = "joined"
    MISSING = "missing"
    """There is no such room, or no such collection."""
    REFUSED = "refused"
    """The server does not let us, or not now; or the code that should return its id failed."""
    DELETED = "deleted"


class RoomListener(Protocol):
    """Who is told what becomes of a subscription, and gets its events."""

    def deliver(self, emit: Any) -> None: ...

    def room_joined(self, room_id: int) -> None: ...

    def room_left(self) -> None: ...

    def room_deleted(self) -> None: ...

    def room_unjoinable(self, error: Exception) -> None: ...

    def room_unheard(self, reason: str, since: float) -> None:
        """No link hears it any more, or none that hears all; `since` is in monotonic seconds."""
        ...

    def room_heard(self) -> None:
        """A link hears it again."""
        ...


@dataclass(eq=False, slots=True)
class Subscription:
    """A room that the client wants to hear: by id, by name, or by code that returns an id."""

    key: int | str
    scope: str
    listener: RoomListener
    status: RoomStatus = RoomStatus.WAITING
    reason: str = ""
    id: int | None = None
    links: "dict[Link, int]" = field(default_factory=dict)
    """The links that hear it, and its id there."""
    heard: bool = False
    """Whether a link hears all of it: one whose node shuts down hears no other node's emits any more."""
    merge: Merge | None = None
    """Makes one stream of what several links deliver; None while only one link does."""
    each_link: "Callable[[Link, Any], None] | None" = None
    """Gets the events of every link by itself, not merged, for those who want to know who hears."""
    ended: bool = False
    """Nobody wants it any more; an answer that still comes must not bring it back."""

    @property
    def is_code(self) -> bool:
        """Whether the key is code: whatever is no id and could not be a room's name."""
        return isinstance(self.key, str) and _NAME.fullmatch(self.key) is None

    @property
    def collection(self) -> str:
        """The scope as the server pushes it."""
        return canonical(self.scope)

    def __str__(self) -> str:
        key = "by code" if self.is_code else self.key
        return f"room {key} in {short(self.scope)}"

    def joined(self, link: "Link", room_id: int) -> None:
        """A link hears it now."""
        anew = self.status is not RoomStatus.JOINED
        if self.id not in {None, room_id}:
            log.warning("%s was made anew: its id is %d now, no longer %d", self, room_id, self.id)
            anew = True
        self.status, self.reason, self.id = RoomStatus.JOINED, "", room_id
        self.links[link] = room_id
        if anew:
            self.listener.room_joined(room_id)
        if not self.heard and not link.leaving:
            self.heard = True
            self.listener.room_heard()

    def unjoinable(self, error: Exception) -> None:
        """A link could not join it. A room that was there before and is missing now was deleted."""
        if self.links:
            return
        missing = isinstance(error, RoomLookupError)
        if missing and self.id is not None:
            self.deleted(str(error))
            return
        status = RoomStatus.MISSING if missing else RoomStatus.REFUSED
        if (status, str(error)) != (self.status, self.reason):
            log.warning("%s cannot be joined, will be tried again: %s", self, error)
        self.status, self.reason = status, str(error)
        self.listener.room_unjoinable(error)

    def deleted(self, reason: str) -> None:
        """It is gone from the database."""
        if self.status is RoomStatus.DELETED:
            return
        log.warning("%s was deleted: %s", self, reason)
        self.status, self.reason, self.id = RoomStatus.DELETED, reason, None
        self.listener.room_deleted()

    def unheard(self, link: "Link", reason: str) -> None:
        """A link that heard it is gone."""
        if self.links.pop(link, None) is None:
            return
        if not self.links and self.status is RoomStatus.JOINED:
            self.status, self.reason = RoomStatus.WAITING, reason
        self.deafened(link, reason)

    def deafened(self, link: "Link", reason: str) -> None:
        """A link hears it no more, or not all of it; what came last from that link is the last we know of."""
        if self.heard and all(other.leaving for other in self.links):
            self.heard = False
            self.listener.room_unheard(reason, link.heard_at)


class Inlet:
    """Where a link's events of a room come in when other links hear the room too."""

    __slots__ = ("_link", "_merge", "_subscription")

    def __init__(self, subscription: Subscription, merge: Merge, link: "Link") -> None:
        self._subscription = subscription
        self._merge = merge
        self._link = link

    def __call__(self, emit: Any) -> None:
        args = emit.args
        key = (emit.event, bytes(args) if type(args) is Raw else encode(args))
        if self._merge.receive(self._link, key, self._link.heard_at):
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
        self._merging = merging
        self._members: dict[RoomKey, Members] = {}
        self._aliases: dict[RoomKey, set[tuple[str | None, int]]] = {}

    def add(self, subscription: Subscription, room_id: int) -> None:
        """The link hears it from now on."""
        key = (subscription.collection, room_id)
        members = self._members.setdefault(key, Members(self.link))
        if subscription not in members.subscriptions:
            members.subscriptions.append(subscription)
        if self._merging:
            self._merge(subscription)
        self._route(key)
        subscription.joined(self.link, room_id)

    def begin_merging(self) -> None:
        """Another link is about to take over: what both hear must go on once."""
        self._merging = True
        for key, members in self._members.items():
            for subscription in members.subscriptions:
                subscription.merge = None
                self._merge(subscription)
            self._route(key)

    def end_merging(self) -> None:
        """This link is the only one again."""
        self._merging = False
        for key, members in self._members.items():
            for subscription in members.subscriptions:
                subscription.merge = None
            self._route(key)

    def discard(self, subscription: Subscription) -> bool:
        """The subscription ended; whether the link should leave the room, since nobody else wants it."""
        room_id = subscription.links.pop(self.link, None)
        key = (subscription.collection, -1 if room_id is None else room_id)
        members = self._members.get(key)
        if members is None or subscription not in members.subscriptions:
            return False
        members.subscriptions.remove(subscription)
        if members.subscriptions:
            self._route(key)
            return False
        self._remove(key)
        return True

    def push_heard(self, push: Push) -> list[Subscription]:
        """The server deleted or left a room; returns the subscriptions that have to look for it again."""
        if not isinstance(push, RoomDelete | RoomLeave):
            return []
        key = self._key_of(push.scope, push.id)
        if key is None or (isinstance(push, RoomLeave) and push.scope not in {None, key[0]}):
            return []  # a leave that we asked for is heard after we forgot the room
        subscriptions = self._remove(key).subscriptions
        for subscription in subscriptions:
            self._unmerge(subscription)
            subscription.links.pop(self.link, None)
            if isinstance(push, RoomDelete) and subscription.id == push.id:  # else it was made anew already
                subscription.deleted("the server says so")
            subscription.deafened(self.link, "the room is gone")
        return subscriptions

    def stray_heard(self, emit: Emit | RawEmit) -> bool:
        """An event of an unknown (scope, id): from an old server, or its collection was renamed."""
        key = self._key_of(emit.scope, emit.id)
        if key is None:
            return False
        if emit.scope is not None:
            log.warning("collection %s is called %s now", key[0], emit.scope)
        self._aliases.setdefault(key, set()).add((emit.scope, emit.id))
        self._route(key)
        self.link.rooms[(emit.scope, emit.id)](emit)
        return True

    def leaving(self, reason: str) -> None:
        """The link's node shuts down: from now on it hears only its own emits (recording `node-shutdown`)."""
        for members in self._members.values():
            for subscription in members.subscriptions:
                subscription.deafened(self.link, reason)

    def clear(self, reason: str) -> None:
        """The link is gone."""
        members, self._members = list(self._members.values()), {}
        for member in members:
            for subscription in member.subscriptions:
                self._unmerge(subscription)
                subscription.unheard(self.link, reason)

    def _key_of(self, scope: str | None, room_id: int) -> RoomKey | None:
        """The joined room that a push means. Unless the scope tells, the id must."""
        if scope is not None and (scope, room_id) in self._members:
            return scope, room_id
        same_id = [key for key in self._members if key[1] == room_id]
        return same_id[0] if len(same_id) == 1 else None

    def _route(self, key: RoomKey) -> None:
        entrance = self._members[key].entrance()
        for alias in (key, *self._aliases.get(key, ())):
            self.link.rooms[alias] = entrance

    def _remove(self, key: RoomKey) -> Members:
        for alias in (key, *self._aliases.pop(key, ())):
            self.link.rooms.pop(alias, None)
        return self._members.pop(key)

    def _merge(self, subscription: Subscription) -> None:
        if subscription.merge is None:
            subscription.merge = Merge()
        subscription.merge.add(self.link, self.link.heard_at)

    def _unmerge(self, subscription: Subscription) -> None:
        if subscription.merge is not None:
            subscription.merge.remove(self.link, self.link.heard_at)
