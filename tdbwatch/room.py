"""Rooms: where events are heard, by methods of a class.

    class Chat(Room):
        @event("message")
        def on_message(self, text):
            print(text)

    await Chat("chat", scope="//stuff").join(client)

Handlers may be plain or async. Plain ones run at once, in the event loop; async ones run one after the other
in the room's own task, from a backlog that is bounded.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from tdbwatch.client.backlog import Backlog
from tdbwatch.client.rooms import RoomStatus, Subscription
from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.exceptions import NodeError, RequestTimeoutError, ThingsDBError
from tdbwatch.exceptions import TypeError as RoomTypeError

if TYPE_CHECKING:
    from tdbwatch.client import Client

log = logging.getLogger("tdbwatch.room")

_MARK: Final = "__tdbwatch_event__"
_Handler = TypeVar("_Handler", bound=Callable[..., Any])


def event(event: str) -> Callable[[_Handler], _Handler]:
    """Make a method of a `Room` the handler of an event; it gets the event's arguments."""

    def mark(handler: _Handler) -> _Handler:
        setattr(handler, _MARK, event)
        return handler

    return mark


class Room:
    """A room to hear, and to emit to.

    Args:
        room: its id; its name (since ThingsDB 1.7.0); or code that returns its id, such as
            `.chat.id();`, which is run again at every join.
        scope: its collection; by default the client's default scope when it joins.
    """

    MAX_BACKLOG: ClassVar[int] = 10_000
    """Events that may wait for async handlers; further ones are dropped, counted and logged."""

    event = staticmethod(event)

    _handler_names: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = {
            getattr(member, _MARK): name
            for name, member in inspect.getmembers(cls, inspect.isfunction)
            if hasattr(member, _MARK)
        }
        cls._handler_names = found

    def __init__(self, room: int | str, scope: str | None = None) -> None:
        if isinstance(room, int) and not 0 <= room < 2**63:
            raise ValueError(f"{room} is no room's id")
        self._key = room.strip() if isinstance(room, str) else room
        self._scope = scope
        self._id: int | None = room if isinstance(room, int) else None
        self._client: Client | None = None
        self._subscription: Subscription | None = None
        self._backlog = Backlog(self, self.MAX_BACKLOG)
        self._handlers = {
            name: self._backlog.immediate(f"the handler of event {name!r}", getattr(self, method))
            for name, method in self._handler_names.items()
        }
        self._fallback = self._backlog.immediate("on_emit", self.on_emit)
        self._initialised = False
        self._just_joined = False
        self._first_join: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._key!r} scope={self._scope!r} id={self._id}>"

    # -- properties --------------------------------------------------------------------------------------

    @property
    def id(self) -> int | None:
        """The room's id, once known."""
        return self._id

    @property
    def scope(self) -> str | None:
        """The room's scope; None until it is joined, unless given. It follows a renamed collection."""
        return self._scope if self._subscription is None else self._subscription.scope

    @property
    def client(self) -> "Client | None":
        """The client that it was joined with."""
        return self._client

    @property
    def status(self) -> RoomStatus:
        """Whether it is heard, and if not, why."""
        return RoomStatus.WAITING if self._subscription is None else self._subscription.status

    @property
    def backlog(self) -> int:
        """Events that wait for async handlers."""
        return len(self._backlog)

    @property
    def dropped(self) -> int:
        """Events that were dropped because async handlers were too slow."""
        return self._backlog.dropped

    # -- to be overridden --------------------------------------------------------------------------------

    def on_init(self) -> None:
        """Called once, before the first `on_join`. May be async."""

    async def on_join(self) -> None:
        """Called when the room is joined, and again after each reconnect."""

    def on_leave(self) -> None:
        """Called when the room was left, as asked for."""

    def on_delete(self) -> None:
        """Called when the room was removed from ThingsDB, also when that is found out after a reconnect."""

    def on_emit(self, event: str, *args: Any) -> Any:
        """Called for an event without a handler of its own."""
        log.debug("no handler for event %r of %r: %r", event, self, args)

    # -- what programs call ------------------------------------------------------------------------------

    async def join(self, client: "Client", wait: float | None = 60.0) -> None:
        """Hear the room, now and after each reconnect.

        Args:
            client: a connected client.
            wait: seconds to wait for the first `on_join` to finish; 0 or None does not wait for it.

        Raises:
            LookupError: there is no such room or collection.
            ForbiddenError: the user may not join.
            ThingsDBError: what the code raised that should return the room's id.
            TimeoutError: not joined within `wait` seconds; it goes on trying.
            NotConnectedError: the client was never connected, or is closed.
            RuntimeError: it is joined already.
        """
        client.check_open()
        subscription = self._prepare(client)
        self._first_join = asyncio.get_running_loop().create_future()
        self._subscription = subscription
        try:
            await client.subscribe(subscription)
            if self._first_join.done() and not self._first_join.cancelled():
                self._first_join.result()
            if wait:
                await self._joined_within(wait)
        except TimeoutError:
            raise
        except BaseException:  # refused for good, or the caller went away: as if it had not been asked for
            self._subscription = None
            client.discard(subscription)
            raise

    async def leave(self) -> None:
        """Hear the room no more.

        Events that wait for async handlers are dropped; a handler that runs is not interrupted.

        Raises:
            LookupError: the room is not joined, or does not exist any more.
        """
        subscription, client = self._subscription, self._client
        if subscription is None or client is None:
            raise RoomLookupError(f"{self!r} is not joined")
        self._subscription = None
        self._scope = subscription.scope
        self._backlog.clear()
        is_gone = subscription.status in {RoomStatus.MISSING, RoomStatus.DELETED}
        if not await client.unsubscribe(subscription) or is_gone:
            raise RoomLookupError(f"{self!r} was not found")
        self._backlog.hook(self.on_leave)

    def emit(self, event: str, *args: Any, peers_only: bool = False) -> Coroutine[Any, Any, None]:
        """Emit an event to the room; `peers_only` leaves this connection out (since ThingsDB 1.8.0).

        Raises:
            RuntimeError: call `join` or `no_join` first.
            LookupError: the room was deleted.
        """
        if self._client is None:
            raise RuntimeError(f"{self!r} has no client yet; call join() or no_join() first")
        if self._id is None:
            raise RoomLookupError(f"{self!r} is not there (any more)")
        return self._client.emit(self._id, event, *args, scope=self.scope, peers_only=peers_only)

    async def no_join(self, client: "Client") -> None:
        """Find out the room's id without joining, to emit only.

        Raises:
            LookupError: there is no such room.
            TypeError: the code returned something that is no room's id.
        """
        subscription = self._prepare(client)
        if subscription.is_code:
            room_id = await client.query(str(self._key), scope=self._scope)
        elif isinstance(self._key, str):
            room_id = await client.query("room(name).id();", scope=self._scope, name=self._key)
        else:
            room_id = await client.query("room(id).id();", scope=self._scope, id=self._key)
        if isinstance(room_id, bool) or not isinstance(room_id, int):
            raise RoomTypeError(f"{self!r}: the code returned {room_id!r:.80} and not a room's id")
        self._id = room_id

    # -- RoomListener ------------------------------------------------------------------------------------

    def deliver(self, emit: Any) -> None:
        """An event, from the link that heard it. Nothing that a handler raises goes further than here."""
        handler = self._handlers.get(emit.event)
        try:
            if handler is not None:
                handler(*emit.args)
            else:
                self._fallback(emit.event, *emit.args)
        except (
            Exception,
            asyncio.CancelledError,
        ):  # a handler may have looked at a future that was cancelled
            log.exception("the handler of event %r of %r raised", emit.event, self)

    def room_joined(self, room_id: int) -> None:
        self._id = room_id
        self._just_joined = True
        first, self._initialised = not self._initialised, True
        self._run_on_join(self._backlog.call(self.on_init) if first else None)

    def room_left(self) -> None:
        pass

    def room_deleted(self) -> None:
        self._backlog.hook(self.on_delete)
        self._id = self._key if isinstance(self._key, int) else None

    def room_unjoinable(self, error: Exception) -> None:
        passes = not isinstance(error, ThingsDBError) or isinstance(error, NodeError | RequestTimeoutError)
        if self._first_join is not None and not self._first_join.done() and not passes:
            self._first_join.set_exception(error)
            self._first_join.exception()  # marks it as read: nobody may wait for it

    def room_unheard(self, reason: str, since: float) -> None:  # noqa: ARG002
        self._just_joined = False
        log.info("%r is not heard for now: %s", self, reason)

    def room_heard(self) -> None:
        if self._just_joined:  # then it runs already
            self._just_joined = False
        else:
            self._run_on_join(None)

    # -- inside ------------------------------------------------------------------------------------------

    def _prepare(self, client: "Client") -> Subscription:
        if self._subscription is not None:
            raise RuntimeError(f"{self!r} is joined already")
        self._client = client
        if self._scope is None:
            self._scope = client.get_default_scope()
        return Subscription(self._key, self._scope, self)

    async def _joined_within(self, wait: float) -> None:
        assert self._first_join is not None
        try:
            await asyncio.wait_for(asyncio.shield(self._first_join), wait)
        except TimeoutError:
            raise TimeoutError(f"{self!r} was not joined within {wait:g} s") from None

    def _run_on_join(self, initialising: Awaitable[Any] | None) -> None:
        self._backlog.spawn(self._joined(initialising), f"tdbwatch-on-join {self._key!r:.40}")

    async def _joined(self, initialising: Awaitable[Any] | None) -> None:
        """Let `on_init` end, if it was the first join and `on_init` is async, then run `on_join`."""
        try:
            if initialising is not None:
                await self._backlog.run("on_init", lambda: initialising)
            if (joining := self._backlog.call(self.on_join)) is not None:
                await self._backlog.run("on_join", lambda: joining)
        finally:
            if self._first_join is not None and not self._first_join.done():
                self._first_join.set_result(None)


__all__ = ["Room", "event"]
