"""Rooms: where events are heard, by methods of a class.

    class Chat(Room):
        @event("message")
        def on_message(self, text):
            print(text)

    await Chat("chat", scope="//stuff").join(client)

Handlers may be plain or async. Plain ones run at once, in the event loop; async ones run one after the other
in the room's own task. None runs before `on_join` has ended.

A subclass may use any name for itself: apart from what `Room` documents, nothing here depends on it.
"""

from abc import ABC
from collections.abc import Callable
from typing import Any, Final, Generic, Self, TypeVar, overload

import tdbwatch.client  # as a module: it names `Room`, as this one names `Client`
from tdbwatch.client.rooms.handlers import event
from tdbwatch.client.rooms.place import Place
from tdbwatch.client.rooms.subscriptions import RoomStatus
from tdbwatch.loggers import get_logger

log = get_logger("tdbwatch.room")

MAX_BACKLOG: Final = 10_000
"""Events of one room that may wait, if it does not say otherwise."""

_Value = TypeVar("_Value")


class _Shown(Generic[_Value]):
    """A property that a subclass may assign over, since nothing depends on it."""

    def __init__(self, find: Callable[[Any], _Value]) -> None:
        self._find = find
        self.__doc__ = find.__doc__

    @overload
    def __get__(self, room: None, cls: type) -> Self: ...

    @overload
    def __get__(self, room: object, cls: type) -> _Value: ...

    def __get__(self, room: object | None, cls: type) -> "Self | _Value":
        return self if room is None else self._find(room)


class Room(ABC):
    """A room to hear, and to emit to.

    Args:
        room: its id; its name (since ThingsDB 1.7.0); or code that returns its id, such as
            `.chat.id();`, which is run again at every join.
        scope: its collection; by default the client's default scope when it joins.
        max_backlog: events that may wait for `on_join` and for async handlers; further ones are dropped,
            counted and logged.

    Raises:
        TypeError: `room` is neither a number nor a string.
        ValueError: `room` is no room's id, or `scope` no collection's.
    """

    def __init__(self, room: int | str, scope: str | None = None, *, max_backlog: int = MAX_BACKLOG) -> None:
        self.__tdbwatch = Place(self, room, scope, max_backlog)

    def __repr__(self) -> str:
        return str(self.__tdbwatch)

    def __copy__(self) -> Self:
        """Another room, of the same client and id, which is not joined; it may be, beside this one."""
        copied = self.__class__.__new__(self.__class__)
        state = object.__getstate__(self)
        for values in state if isinstance(state, tuple) else (state,):  # a dict, and one more of slots
            for name, value in values.items():
                object.__setattr__(copied, name, value)
        object.__setattr__(copied, "_Room__tdbwatch", self.__tdbwatch.for_copy(copied))
        return copied

    event = staticmethod(event)
    """The decorator of this module, as `@Room.event("message")`."""

    # -- properties --------------------------------------------------------------------------------------

    @property
    def id(self) -> int | None:
        """The room's id, once known; also after it is gone."""
        return self.__tdbwatch.id

    @property
    def scope(self) -> str | None:
        """The room's scope, such as `@collection:stuff`; None until it is joined, unless given.

        It follows a renamed collection.
        """
        return self.__tdbwatch.scope

    @property
    def client(self) -> "tdbwatch.client.Client":
        """The client that it was joined with.

        Raises:
            RuntimeError: call `join` or `no_join` first.
        """
        return self.__tdbwatch.client_or_error()

    @_Shown
    def status(self) -> RoomStatus:
        """Whether it is heard, and if not, why."""
        return self.__tdbwatch.status

    @_Shown
    def backlog(self) -> int:
        """Events that wait for `on_join` and for async handlers."""
        membership = self.__tdbwatch.membership
        return 0 if membership is None else len(membership.backlog)

    @_Shown
    def dropped(self) -> int:
        """Events that were dropped because more than `max_backlog` waited."""
        return self.__tdbwatch.dropped

    # -- to be overridden --------------------------------------------------------------------------------

    def on_init(self) -> None:
        """Called once at each `join`, before the first `on_join`. May be async. If it raises, `join` does."""

    async def on_join(self) -> None:
        """Called when the room is joined, and again after each reconnect. Handlers run after it."""

    def on_leave(self) -> None:
        """Called when the room was left, as asked for."""

    def on_delete(self) -> None:
        """Called when the room was removed from ThingsDB, also when that is found out after a reconnect."""

    def on_emit(self, event: str, *args: Any) -> Any:
        """Called for an event without a handler of its own."""
        log.debug("no handler for event %r of %s: %r", event, self.__tdbwatch, args)

    # -- what programs call ------------------------------------------------------------------------------

    async def join(
        self, client: "tdbwatch.client.Client", wait: float | None = 60.0, *, lasting: bool = False
    ) -> None:
        """Hear the room, now and after each reconnect, until it is left or deleted.

        What comes before `on_join` has ended is handled after it, in order, at most `max_backlog` events.

        Args:
            client: a connected client.
            wait: seconds to wait for the first `on_join` to end. With 0 or None nothing waits for `on_join`:
                neither this call nor, now and later, any event.
            lasting: when the room is deleted, go on looking for it, and join it again once it is made again.

        Raises:
            LookupError: there is no such room or collection.
            ForbiddenError: the user may not join.
            ThingsDBError: what the code raised that should return the room's id.
            TimeoutError: not joined within `wait` seconds; it goes on trying.
            NotConnectedError: the client was never connected, or is closed.
            RuntimeError: it is joined already.
            Exception: what `on_init` raised; the room is not joined then.
        """
        await self.__tdbwatch.join(client, wait, lasting=lasting)

    async def leave(self) -> None:
        """Hear the room no more; nothing happens if it was left before.

        Events that wait are dropped; a handler that runs is not interrupted.

        Raises:
            LookupError: the room does not exist, or not any more.
            TypeError, RuntimeError: it was never joined; `RuntimeError` if it is named by its id.
        """
        await self.__tdbwatch.leave()

    async def emit(self, event: str, *args: Any, peers_only: bool = False) -> None:
        """Emit an event to the room; `peers_only` leaves this connection out (since ThingsDB 1.8.0).

        Raises:
            RuntimeError: call `join` or `no_join` first.
            LookupError: there is no such room any more.
        """
        place = self.__tdbwatch
        core, room = place.client_or_error().__tdbwatch__, place.key if place.id is None else place.id
        await core.emit(place.scope, room, event, args, peers_only=peers_only)

    async def no_join(self, client: "tdbwatch.client.Client") -> None:
        """Find out the room's id without joining, to emit only.

        Raises:
            LookupError: there is no room of that name.
            TypeError: the id, or what the code returned, is no room's.
        """
        await self.__tdbwatch.find(client)


__all__ = ["Room", "event"]
