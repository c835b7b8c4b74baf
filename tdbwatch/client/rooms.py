"""What the client wants to hear: subscriptions are desired state, joined on every link that comes."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.wire import Emit, Push, RawEmit, RoomDelete, RoomLeave
from tdbwatch.wire.scopes import canonical, short

if TYPE_CHECKING:
    from tdbwatch.client.link import Link

log = logging.getLogger("tdbwatch.client")

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

    def room_unheard(self, reason: str) -> None: ...


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
        if self.links.pop(link, None) is not None and not self.links and self.status is RoomStatus.JOINED:
            self.status, self.reason = RoomStatus.WAITING, reason
            self.listener.room_unheard(reason)


class Members:
    """Who takes a room's events on one link: usually one subscription, sometimes several of the same room."""

    __slots__ = ("subscriptions",)

    def __init__(self) -> None:
        self.subscriptions: list[Subscription] = []

    def deliver(self, emit: Any) -> None:
        for subscription in tuple(self.subscriptions):
            subscription.listener.deliver(emit)


class LinkRooms:
    """The rooms that one link hears, by (scope, id), and what the server says of them."""

    def __init__(self, link: "Link") -> None:
        self.link = link
        self._members: dict[tuple[str, int], Members] = {}

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._members)

    def add(self, subscription: Subscription, room_id: int) -> None:
        """The link hears it from now on."""
        key = (subscription.collection, room_id)
        members = self._members.setdefault(key, Members())
        if subscription not in members.subscriptions:
            members.subscriptions.append(subscription)
        self._route(key, members)
        subscription.joined(self.link, room_id)

    def discard(self, subscription: Subscription) -> bool:
        """The subscription ended; whether the link should leave the room, since nobody else wants it."""
        room_id = subscription.links.pop(self.link, None)
        if room_id is None:
            return False
        key = (subscription.collection, room_id)
        members = self._members.get(key)
        if members is None:
            return False
        members.subscriptions.remove(subscription)
        if members.subscriptions:
            self._route(key, members)
            return False
        self._remove(key)
        return True

    def push_heard(self, push: Push) -> list[Subscription]:
        """The server deleted or left a room; returns the subscriptions that have to look for it again."""
        if not isinstance(push, RoomDelete | RoomLeave):
            return []
        key = self._key_of(push.scope, push.id)
        members = self._members.get(key) if key is not None else None
        if key is None or members is None:
            return []
        self._remove(key)
        for subscription in members.subscriptions:
            subscription.links.pop(self.link, None)
            if isinstance(push, RoomDelete):
                subscription.deleted("the server says so")
        return members.subscriptions

    def stray_heard(self, emit: Emit | RawEmit) -> bool:
        """An event of an unknown (scope, id): from an old server, or its collection was renamed."""
        key = self._key_of(emit.scope, emit.id)
        if key is None:
            return False
        if emit.scope is not None:
            log.warning("collection %s is called %s now", key[0], emit.scope)
        members = self._members[key]
        self.link.rooms[(emit.scope, emit.id)] = members.deliver
        members.deliver(emit)
        return True

    def clear(self, reason: str) -> None:
        """The link is gone."""
        members, self._members = list(self._members.values()), {}
        for member in members:
            for subscription in member.subscriptions:
                subscription.unheard(self.link, reason)

    def _key_of(self, scope: str | None, room_id: int) -> tuple[str, int] | None:
        """The joined room that a push means. Unless the scope tells, the id must."""
        if scope is not None and (scope, room_id) in self._members:
            return scope, room_id
        same_id = [key for key in self._members if key[1] == room_id]
        return same_id[0] if len(same_id) == 1 else None

    def _route(self, key: tuple[str, int], members: Members) -> None:
        one = members.subscriptions[0]
        self.link.rooms[key] = one.listener.deliver if len(members.subscriptions) == 1 else members.deliver

    def _remove(self, key: tuple[str, int]) -> None:
        members = self._members.pop(key)
        taken = {members.deliver, *(s.listener.deliver for s in members.subscriptions)}
        for alias in [a for a, deliver in self.link.rooms.items() if a[1] == key[1] and deliver in taken]:
            del self.link.rooms[alias]
        self.link.rooms.pop(key, None)
