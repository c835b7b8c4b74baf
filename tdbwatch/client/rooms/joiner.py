"""Joins a link's rooms, and keeps trying those that cannot be joined now without holding up the others."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Final

from tdbwatch.backoff import BackoffPolicy
from tdbwatch.client.links.link import Link
from tdbwatch.client.links.old_servers import Group, PushScopes
from tdbwatch.client.rooms.link_rooms import LinkRooms
from tdbwatch.client.rooms.retries import OF_NODE, OF_ROOM, Retries
from tdbwatch.client.rooms.strays import Stray, Strays
from tdbwatch.client.rooms.subscriptions import RoomStatus, Subscription
from tdbwatch.client.words import words
from tdbwatch.clock import Clock
from tdbwatch.exceptions import BadDataError, EncodeError, NodeError, ProtocolError, ThingsDBError
from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.exceptions import TypeError as CodeTypeError
from tdbwatch.loggers import get_logger
from tdbwatch.redaction import presentable
from tdbwatch.wire import Emit, Kind, Push, RawEmit, RoomDelete, RoomJoin, RoomLeave
from tdbwatch.wire.scopes import canonical, short

log = get_logger("tdbwatch.client")

ROOMS_PER_REQUEST: Final = 1000
REQUEST_TIMEOUT: Final = 30.0
"""Seconds for one JOIN, or for the code that returns a room's id."""

Wish = tuple[Subscription, int | str]
"""A subscription, and the id or name to ask for."""
_FAILURES: Final = (ThingsDBError, OSError, ProtocolError, EncodeError)


class Joiner:
    """One link's task of hearing every room that it should."""

    def __init__(self, link: Link, group: Group, clock: Clock, rng: random.Random, *, merging: bool) -> None:
        self.link = link
        self.rooms = LinkRooms(link, merging=merging)
        self.active = False
        """Whether rooms may be joined on this link: it is authenticated and not on its way out."""
        self._group = group
        self._retries = Retries(clock, rng)
        self._scopes = PushScopes(link, self.rooms, group)
        self._strays = Strays(link, self.rooms, clock, self._spawn, self._heard_again, self._displaced)
        self._tried: set[Subscription] = set()
        self._joining: set[object] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def lacks_rooms_for_now(self) -> bool:
        """Whether the node was not ready to let rooms be joined; it is starting, or shutting down."""
        return self._retries.node_is_unready

    async def join_all(self) -> None:
        """Try every wanted room once; what cannot be joined now is tried again in the background.

        Returns also when the link is lost meanwhile.
        """
        self.active = True
        while self.active and (fresh := [s for s in self._group.wanted() if s not in self._tried]):
            await self._round(fresh)
        if self.active:
            self._spawn(self._run(), f"tdbwatch-joiner {self.link.address}")

    async def join_one(self, subscription: Subscription) -> None:
        """Try one room now, and again later if it does not work.

        A caller that goes away does not stop it: half a join is worse than a whole one.
        """
        if self.active:
            await asyncio.wait(
                {self._spawn(self._round([subscription]), f"tdbwatch-join {subscription!s:.60}")}
            )

    def push_heard(self, push: Push) -> None:
        """A room was deleted or left: look for it again, since one of its name may be made anew."""
        if isinstance(push, RoomJoin):
            self._room_join_heard(push)
        elif isinstance(push, Emit | RawEmit):
            self._stray_heard(push)
        elif isinstance(push, RoomDelete) and not self.rooms.has(push):
            self._strays.hear(push)
        elif isinstance(push, RoomDelete | RoomLeave):
            for subscription in self.rooms.gone(push):
                if not (subscription.status is RoomStatus.DELETED and isinstance(subscription.key, int)):
                    self._later(subscription, OF_ROOM if isinstance(push, RoomDelete) else OF_NODE)

    def retry_now(self) -> None:
        """Something changed for the better: do not wait with what could not be joined."""
        self._retries.hurry()

    def forget(self, subscription: Subscription) -> None:
        """Nobody wants it joined any more."""
        self._retries.forget(subscription)
        self._tried.discard(subscription)

    def rest(self) -> None:
        """Join nothing any more, but go on hearing what was joined."""
        self.active = False
        self._retries.stop()
        for task in self._tasks:
            task.cancel()

    def stop(self, reason: str) -> None:
        """Hear nothing any more."""
        self.rest()
        self.rooms.clear(reason)

    # -- tasks -------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Try again what is due."""
        while self.link.is_live:
            due = await self._retries.due()
            self._spawn(self._round(due), f"tdbwatch-rejoin {self.link.address}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: %s failed", self.link.address, task.get_name(), exc_info=error)
            self.link.abort(ConnectionError(f"joining rooms failed: {words(error)}"))

    # -- joining -----------------------------------------------------------------------------------------

    async def _round(self, subscriptions: Sequence[Subscription]) -> None:
        """Try each once. Code is run first, since it may return another id than before."""
        subscriptions = [subscription for subscription in subscriptions if not subscription.ended]
        self._tried.update(subscriptions)
        await asyncio.gather(
            self._join_each([(s, s.key) for s in subscriptions if not s.is_code]),
            self._join_coded([s for s in subscriptions if s.is_code]),
        )

    async def _join_each(self, wishes: Iterable[Wish]) -> None:
        """By collection, many in one request; all requests are under way at once."""
        by_scope: dict[str, list[Wish]] = defaultdict(list)
        for wish in wishes:
            by_scope[wish[0].scope].append(wish)
        await asyncio.gather(
            *(
                self._scopes.in_turn(
                    of_scope[0][0].collection,
                    partial(self._join, scope, of_scope[start : start + ROOMS_PER_REQUEST]),
                )
                for scope, of_scope in by_scope.items()
                for start in range(0, len(of_scope), ROOMS_PER_REQUEST)
            )
        )

    async def _join_coded(self, subscriptions: Sequence[Subscription]) -> None:
        """Join rooms as their codes return, many in one request: none waits for another one's code."""
        async with asyncio.TaskGroup() as group:
            running = {
                group.create_task(self._run_code(s), name=f"tdbwatch-code {s!s:.60}"): s
                for s in subscriptions
            }
            while running:
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                resolved = [(running.pop(task), task.result()) for task in done]
                if wishes := [(s, room_id) for s, room_id in resolved if room_id is not None]:
                    group.create_task(self._join_each(wishes), name="tdbwatch-join-coded")

    async def _run_code(self, subscription: Subscription) -> int | None:
        body = [subscription.scope, subscription.key]
        try:
            room_id = await self.link.call(Kind.QUERY, body, timeout=REQUEST_TIMEOUT)
            if isinstance(room_id, bool) or not isinstance(room_id, int):
                shown = f"{type(room_id).__name__} {presentable(repr(room_id), 80)}"
                raise CodeTypeError(f"the code must return a room's id, not {shown}")
        except _FAILURES as error:
            if isinstance(error, RoomLookupError) and subscription.id is not None:
                return subscription.id  # it may live on elsewhere
            self._refused(subscription, error)
            return None
        return room_id

    async def _join(self, scope: str, wishes: Sequence[Wish]) -> None:
        wishes = [wish for wish in wishes if self._group.hears(wish[0])]  # it may have learned meanwhile
        if not wishes:
            return
        nameless: list[Wish] = []

        def answered(ids: Any) -> None:  # in the moment of the answer: events may follow in the same breath
            nameless.extend(self._answered(scope, wishes, ids))

        body = [scope, *(key for _, key in wishes)]
        self.rooms.asked(canonical(scope))
        self._joining.add(answered)
        try:
            await self.link.call(Kind.JOIN, body, timeout=REQUEST_TIMEOUT, on_answer=answered)
        except _FAILURES as error:
            await self._join_failed(scope, wishes, error)
        finally:
            self._joining.discard(answered)
        if nameless:
            await self._join(scope, nameless)

    async def _join_failed(self, scope: str, wishes: Sequence[Wish], error: Exception) -> None:
        if isinstance(error, BadDataError | EncodeError) and len(wishes) > 1:
            half = len(wishes) // 2  # one of them is at fault: it must not keep the others from being heard
            await asyncio.gather(self._join(scope, wishes[:half]), self._join(scope, wishes[half:]))
            return
        for subscription, _ in wishes:
            self._refused(subscription, error)

    def _answered(self, scope: str, wishes: Sequence[Wish], ids: Any) -> Iterable[Wish]:
        """Take the answer to a JOIN; yields what to ask for by id, since its name or code leads nowhere."""
        for (subscription, key), room_id in zip(wishes, room_ids(ids, len(wishes)), strict=True):
            if room_id is not None:
                self._joined(subscription, room_id)
            elif subscription.id not in {None, key}:
                yield subscription, subscription.id
            else:
                self._refused(subscription, RoomLookupError(f"{scope} has no room {key}"))

    def _joined(self, subscription: Subscription, room_id: int) -> None:
        if not subscription.ended:
            self._retries.succeeded(subscription)
            self.rooms.add(subscription, room_id)
        elif not self.rooms.hears(subscription.collection, room_id) and len(self._joining) == 1:
            # Left while it was being joined. A LEAVE must not undo another JOIN of the same room; with one
            # under way the server goes on sending, and what it sends is not delivered.
            self.link.call(Kind.LEAVE, [subscription.scope, room_id], timeout=REQUEST_TIMEOUT)

    def _refused(self, subscription: Subscription, error: Exception) -> None:
        if subscription.ended or not self.active:
            return  # nobody wants it any more, or the next link will try
        if isinstance(error, RoomLookupError) and subscription.asked_for_again():
            self._later(subscription, OF_NODE)
            return
        self._later(subscription, OF_NODE if isinstance(error, NodeError) else OF_ROOM)
        subscription.unjoinable(error)

    def _later(self, subscription: Subscription, policy: BackoffPolicy) -> None:
        if not subscription.ended:
            self._retries.later(subscription, policy)

    # -- what pushes tell --------------------------------------------------------------------------------

    def _room_join_heard(self, push: RoomJoin) -> None:
        self._scopes.heard(push.scope)
        if push.scope is not None and not self.rooms.has(push):
            self._strays.named(push.scope, push.id)

    def _stray_heard(self, emit: Emit | RawEmit) -> None:
        if self._scopes.heard(emit.scope) and self.rooms.has(emit):
            self._heard_again(emit)
        else:
            self._strays.hear(emit)

    def _displaced(self, collections: Sequence[str], now_called: str) -> None:
        """One of these was renamed, and its name means another one now: look for its rooms there."""
        if not self.active:
            return  # on its way out
        names = " or ".join(map(short, collections))
        reason = f"a collection is called {short(now_called)} now, and another one has its name, {names}"
        log.warning("%s: %s: its rooms are looked for there", self.link.address, reason)
        reason += "; since when is not known"
        self._spawn(
            self._look_anew(collections, self.rooms.displaced(collections, reason)),
            f"tdbwatch-displaced {self.link.address}",
        )

    async def _look_anew(self, collections: Sequence[str], subscriptions: Sequence[Subscription]) -> None:
        await self._round(subscriptions)
        self.rooms.settle(collections)

    def _heard_again(self, stray: Stray) -> None:
        if isinstance(stray, RoomDelete):
            self.push_heard(stray)
        elif (deliver := self.link.rooms.get((stray.scope, stray.id))) is not None:
            deliver(stray)


def room_ids(answer: Any, count: int) -> Sequence[int | None]:
    """What a JOIN of `count` rooms was answered.

    Raises:
        ProtocolError: it is not one id or nil for each.
    """
    if isinstance(answer, list) and len(answer) == count and all(map(_is_id_or_nil, answer)):
        return answer
    raise ProtocolError(f"the server answered a JOIN of {count} rooms with {presentable(repr(answer), 80)}")


def _is_id_or_nil(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value < 2**63)
