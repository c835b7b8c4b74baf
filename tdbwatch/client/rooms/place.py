"""What a `Room` object knows of itself, out of reach of whatever its subclasses name."""

from typing import TYPE_CHECKING

from tdbwatch.client.rooms.membership import Membership
from tdbwatch.client.rooms.subscriptions import RoomStatus
from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.redaction import presentable
from tdbwatch.wire.names import is_room_name
from tdbwatch.wire.scopes import canonical, collection_of

if TYPE_CHECKING:
    from tdbwatch.client.client import Client
    from tdbwatch.room import Room


class Place:
    """What a `Room` knows: how it is found, by which client, and the last membership, if there was one."""

    __slots__ = ("_missing", "_scope", "client", "dropped", "id", "key", "max_backlog", "membership", "room")

    def __init__(self, room: "Room", key: int | str, scope: str | None, max_backlog: int) -> None:
        if not isinstance(key, int | str):
            raise TypeError(f"{key!r} is no room; write its id, its name, or code that returns its id")
        if isinstance(key, int) and not 0 <= key < 2**63:
            raise ValueError(f"{key} is no room's id")
        self.room = room
        self.key = key.strip() if isinstance(key, str) else key
        self.max_backlog = max_backlog
        self.dropped = 0
        self.id = key if isinstance(key, int) else None
        self.client: Client | None = None
        self.membership: Membership | None = None
        """None: never joined, or the last join failed."""
        self._missing = False
        self._scope = None if scope is None else of_collection(scope)

    def __str__(self) -> str:
        return f"<{type(self.room).__name__} {self.key!r} scope={self.scope!r} id={self.id}>"

    def for_copy(self, room: "Room") -> "Place":
        """What a copy of the room knows: all but the membership, and what was dropped in it."""
        place = Place(room, self.key, self.scope, self.max_backlog)
        place.id, place.client, place._missing = self.id, self.client, self._missing
        return place

    @property
    def scope(self) -> str | None:
        """As the server writes it; None if it was not given, until there is a client."""
        return self._scope if self.membership is None else canonical(self.membership.subscription.scope)

    @property
    def status(self) -> RoomStatus:
        """Where it stands now, or how it ended."""
        if self.membership is None or self.membership.was_left:
            return RoomStatus.WAITING
        return self.membership.subscription.status

    def client_or_error(self) -> "Client":
        """The client.

        Raises:
            RuntimeError: there is none yet.
        """
        if self.client is None:
            raise RuntimeError(f"{self} has no client yet; call join() or no_join() first")
        return self.client

    def enter(self, client: "Client") -> str:
        """This client it is, from now on; returns the scope."""
        self.client = client
        if self._scope is None:
            self._scope = of_collection(client.get_default_scope())
        return self.scope or self._scope

    async def join(self, client: "Client", wait: float | None, *, lasting: bool) -> None:
        """See `Room.join`."""
        if self.membership is not None and not self.membership.subscription.ended:
            raise RuntimeError(f"{self} is joined already")
        core = client.__tdbwatch__
        core.check_open()
        scope = self.enter(client)
        membership = self.membership = Membership(self, scope, core, waits=bool(wait), lasting=lasting)
        try:
            await core.fleet.subscribe(membership.subscription)
            await membership.ready(wait)
        except TimeoutError:
            raise
        except (
            BaseException
        ) as error:  # refused for good, or the caller went away: as if it had not been asked
            membership.discard()
            self.membership, self._missing = None, isinstance(error, RoomLookupError)
            raise

    async def leave(self) -> None:
        """See `Room.leave`."""
        if self.membership is None:
            if self.id is None:
                raise TypeError(f"{self} was never joined")
            self.client_or_error()
            if self._missing:
                raise RoomLookupError(f"{self} was not found")
        elif not self.membership.was_left:
            await self.membership.leave()

    async def find(self, client: "Client") -> None:
        """See `Room.no_join`."""
        scope, key = self.enter(client), self.key
        if isinstance(key, str) and is_room_name(key):
            self.id = await client.query("room(name).id();", scope=scope, name=key)
            return
        room_id = await client.query(key, scope=scope) if isinstance(key, str) else key
        if isinstance(room_id, bool) or not isinstance(room_id, int):
            raise TypeError(f"{self}: the code returned {presentable(repr(room_id), 80)} and not a room's id")
        try:
            self.id = await client.query("room(id).id();", scope=scope, id=room_id)
        except RoomLookupError:
            raise TypeError(f"{self}: {room_id} is no room's id") from None


def of_collection(scope: str) -> str:
    """The scope as the server writes it, such as `@collection:stuff`.

    Raises:
        ValueError: it is no collection's.
    """
    if collection_of(scope) is None:
        raise ValueError(f"{scope!r} is no collection's scope; write for instance //stuff")
    return canonical(scope)
