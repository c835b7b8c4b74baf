"""From the join of a `Room` to its end: what becomes of the subscription is told to hooks and handlers."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tdbwatch.client.rooms.backlog import STOPS, Backlog, is_cancelled
from tdbwatch.client.rooms.handlers import handlers_of
from tdbwatch.client.rooms.subscriptions import RoomStatus, Subscription
from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.exceptions import NodeError, RequestTimeoutError, ThingsDBError
from tdbwatch.loggers import get_logger

if TYPE_CHECKING:
    from tdbwatch.client.core import Core
    from tdbwatch.client.rooms.place import Place

log = get_logger("tdbwatch.room")


class Membership:
    """One join of a `Room`, until it is left or deleted: its subscription's listener.

    Args:
        waits: events wait for `on_join`.
        lasting: it goes on when the room is deleted.
    """

    def __init__(self, place: "Place", scope: str, core: "Core", *, waits: bool, lasting: bool) -> None:
        room = place.room
        self.room = room
        self.subscription = Subscription(place.key, scope, self)
        self.backlog = Backlog(place, handlers_of(room), room.on_emit)
        self.deliver = self.backlog.deliver
        self._place = place
        self._core = core
        self._turn = core.turns.begin()
        self._waits = waits
        self._lasting = lasting
        self._initialised = False
        self._just_joined = False
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with the first `on_join` that is waited for, or with what keeps it from ever coming."""
        self._awaited = True
        """`join` has not returned yet."""

    async def ready(self, wait: float | None) -> None:
        """Return when the first `on_join` has ended; without `wait` at once, if nothing is known to be wrong.

        Call it after the first attempt to join.

        Raises:
            TimeoutError: it has not within `wait` seconds.
        """
        self._turn.end()
        try:
            if self._ready.done():
                self._ready.result()
            elif wait:
                await asyncio.wait({self._ready}, timeout=wait)
                if not self._ready.done():
                    raise TimeoutError(f"{self._place} was not joined within {wait:g} s")
                self._ready.result()
        finally:
            self._awaited = False

    @property
    def was_left(self) -> bool:
        """Whether it is over, and not because the room is gone."""
        return self.subscription.ended and self.subscription.status is not RoomStatus.DELETED

    async def leave(self) -> None:
        """End it, and tell so.

        Raises:
            LookupError: the room does not exist any more.
        """
        self.backlog.clear()
        is_gone = self.subscription.status in {RoomStatus.MISSING, RoomStatus.DELETED}
        if not await self._core.unsubscribe(self.subscription) or is_gone:
            raise RoomLookupError(f"{self._place} was not found")
        self.backlog.hook("on_leave", self.room.on_leave)

    def discard(self) -> None:
        """End it, as if it had never been."""
        self._turn.end()
        self.backlog.clear()
        self._core.discard(self.subscription)

    # -- RoomListener ------------------------------------------------------------------------------------

    def room_joined(self, room_id: int) -> None:
        self._place.id = room_id
        self._just_joined = True
        if self._initialised:
            self._join(None)
            return
        self._initialised = True
        self._initialise(self.room.on_init)
        self._turn.end()

    def room_deleted(self) -> None:
        if not self._lasting:
            self._core.fleet.forget(self.subscription)
        self.backlog.hook("on_delete", self.room.on_delete)

    def room_unjoinable(self, error: Exception) -> None:
        passes = not isinstance(error, ThingsDBError) or isinstance(error, NodeError | RequestTimeoutError)
        if self._awaited and not self._ready.done() and not passes:
            self.discard()
            self._ready.set_exception(error)

    def room_unheard(self, reason: str, since: float) -> None:  # noqa: ARG002
        self._just_joined = False
        if not self.subscription.ended:
            log.info("%s is not heard for now: %s", self._place, reason)

    def room_heard(self) -> None:
        if self._just_joined:  # then it runs already
            self._just_joined = False
        elif not self.subscription.ended:
            self._join(None)

    # -- inside ------------------------------------------------------------------------------------------

    def _initialise(self, on_init: Callable[[], Any]) -> None:
        if inspect.iscoroutinefunction(on_init):
            self._join(on_init)
            return
        try:
            on_init()
        except STOPS:
            raise
        except BaseException as error:  # noqa: BLE001 - the caller of join gets it
            self._fail(error)
        else:
            self._join(None)

    def _join(self, on_init: Callable[[], Awaitable[Any]] | None) -> None:
        if self._waits or on_init is not None:
            self.backlog.join(partial(self._joined, on_init))
        else:
            self._spawn_on_join()

    def _spawn_on_join(self) -> None:
        self.backlog.spawn(self._on_join(), "on-join")

    async def _on_join(self) -> None:
        await self._core.turns.wait()
        await self.backlog.run("on_join", self.room.on_join)

    async def _joined(self, on_init: Callable[[], Awaitable[Any]] | None) -> None:
        try:
            if on_init is not None:
                await on_init()
        except (*STOPS, GeneratorExit):
            raise
        except BaseException as error:
            if is_cancelled():
                raise
            self._fail(error)
            return
        if not self._waits:
            self._spawn_on_join()
            return
        try:
            await self._on_join()
        finally:
            if not self._ready.done():
                self._ready.set_result(None)

    def _fail(self, error: BaseException) -> None:
        """`on_init` raised: the join has failed."""
        if not isinstance(error, Exception) or isinstance(error, StopIteration):  # a future takes neither
            error = RuntimeError(f"on_init of {self._place} raised {error!r}")
        self.discard()
        if self._awaited:
            self._ready.set_exception(error)
        else:
            log.error("%s was left again, since its on_init raised", self._place, exc_info=error)
