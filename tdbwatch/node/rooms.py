"""Collections and their rooms: ids, names and who listens."""

from typing import TYPE_CHECKING, Any, Final

from tdbwatch import exceptions as errors
from tdbwatch.wire import Kind, encode_push
from tdbwatch.wire.names import is_room_name

if TYPE_CHECKING:
    from tdbwatch.node.connection import Connection


NAMING_RULES: Final = "room name must follow the naming rules; see https://docs.thingsdb.io/v1/overview/names"


def require_room_name(name: str) -> None:
    """Refuse what ThingsDB 1.9.3 refuses, in its words.

    Raises:
        ValueError: (-60) no room can be called so.
    """
    if not is_room_name(name):
        raise errors.ValueError(NAMING_RULES)


class Room:
    """One room and the connections that joined it, in the order of joining."""

    def __init__(self, collection: "Collection", room_id: int, name: str | None) -> None:
        self.collection = collection
        self.id = room_id
        self.name = name
        self.listeners: dict[Connection, None] = {}


class Collection:
    """Rooms under one name. Ids are unique within the collection only, and never given twice."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._rooms: dict[int, Room] = {}
        self._named: dict[str, Room] = {}
        self.next_id = 1

    @property
    def rooms(self) -> tuple[Room, ...]:
        return tuple(self._rooms.values())

    def add_room(self, name: str | None = None, room_id: int | None = None) -> Room:
        """A new room.

        Raises:
            ValueError: (-60) the name or the id is taken, or ThingsDB has no such names.
        """
        if name is not None:
            require_room_name(name)
        if room_id is None:
            room_id = self.next_id
        if room_id in self._rooms or name in self._named:
            raise errors.ValueError(f"collection `{self.name}` already has a room {name or room_id!r}")
        room = self._rooms[room_id] = Room(self, room_id, name)
        if name is not None:
            self._named[name] = room
        self.next_id = max(self.next_id, room_id + 1)
        return room

    def find(self, room: int | str) -> Room | None:
        """The room of that id or name, if there is one."""
        return self._named.get(room) if isinstance(room, str) else self._rooms.get(room)

    def room(self, room: int | str) -> Room:
        """The room of that id or name.

        Raises:
            LookupError: (-54) there is none (recording `rooms`).
            ValueError: (-60) and no room could be called so.
        """
        found = self.find(room)
        if found is None:
            if isinstance(room, str):
                require_room_name(room)
            which = f"name `{room}`" if isinstance(room, str) else f"id {room}"
            raise errors.LookupError(f"collection `{self.name}` has no `room` with {which}")
        return found

    def remove(self, room: Room) -> None:
        del self._rooms[room.id]
        if room.name is not None:
            del self._named[room.name]


class RoomPush:
    """A push about a room, encoded once for all who hear it.

    The scope is the collection's name of now: a renamed collection shows its new name in the pushes after
    (recording `collection-renamed`).

    Raises:
        EncodeError: `body` holds something that ThingsDB has no type for.
    """

    __slots__ = ("_bare", "_body", "data", "kind")

    def __init__(self, kind: Kind, room: Room, **body: Any) -> None:
        self.kind = kind
        self._body = {"id": room.id, **body}
        self._bare: bytes | None = None
        self.data = encode_push(kind, {"scope": f"@collection:{room.collection.name}", **self._body})

    @property
    def without_scope(self) -> bytes:
        """As servers before 1.8.6 push it."""
        if self._bare is None:
            self._bare = encode_push(self.kind, self._body)
        return self._bare
