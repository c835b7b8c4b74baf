"""Joins a link's rooms, and keeps trying those that cannot be joined now without holding up the others."""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tdbwatch.backoff import Backoff, BackoffPolicy
from tdbwatch.client.link import Link
from tdbwatch.client.rooms import LinkRooms, RoomStatus, Subscription
from tdbwatch.clock import Clock
from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.exceptions import NodeError, ThingsDBError
from tdbwatch.exceptions import TypeError as CodeTypeError
from tdbwatch.wire import Emit, Kind, Push, RawEmit

log = logging.getLogger("tdbwatch.client")

ROOMS_PER_REQUEST: Final = 1000
REQUEST_TIMEOUT: Final = 30.0
"""Seconds for one JOIN, or for the code that returns a room's id."""
RETRY: Final = BackoffPolicy(initial=1.0, factor=2.0, maximum=60.0, jitter=0.5)
"""For rooms that are missing or forbidden."""
NODE_RETRY: Final = BackoffPolicy(initial=0.2, factor=2.0, maximum=5.0, jitter=0.5)
"""For a node that is not ready (-51), which passes in seconds."""


class Joiner:
    """One link's task of hearing every room that the client wants."""

    def __init__(self, link: Link, clock: Clock, rng: random.Random, *, merging: bool) -> None:
        self.link = link
        self.rooms = LinkRooms(link, merging=merging)
        self._clock = clock
        self._rng = rng
        self._due: dict[Subscription, float] = {}
        self._backoffs: dict[Subscription, Backoff] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def join_all(self, subscriptions: Iterable[Subscription]) -> None:
        """Try all of them once; from then on the rest is tried again in the background.

        Raises:
            OSError: the link was lost meanwhile.
        """
        await self._round(list(subscriptions))
        if not self.link.is_live:
            raise self.link.lost.result()
        self._task = asyncio.create_task(self._run(), name=f"tdbwatch-joiner {self.link.address}")
        self._task.add_done_callback(self._ended)

    async def join_one(self, subscription: Subscription) -> None:
        """Try one room now, and again later if it does not work."""
        await self._round([subscription])
        self._wake.set()

    def push_heard(self, push: Push) -> None:
        """A room was deleted or left: look for it again, since one of its name may be made anew."""
        for subscription in self.rooms.push_heard(push):
            if not (subscription.status is RoomStatus.DELETED and isinstance(subscription.key, int)):
                self._later(subscription, RETRY)

    def stray_heard(self, emit: Emit | RawEmit) -> None:
        """An event that no room of this link seems to want."""
        if not self.rooms.stray_heard(emit):
            log.debug(
                "%s: an event of a room that is not joined: %s %d", self.link.address, emit.scope, emit.id
            )

    def discard(self, subscription: Subscription) -> bool:
        """Forget a subscription; returns whether the link should leave its room."""
        self._due.pop(subscription, None)
        self._backoffs.pop(subscription, None)
        return self.rooms.discard(subscription)

    def stop(self, reason: str) -> None:
        """The link is gone, or another one took over."""
        if self._task is not None:
            self._task.cancel()
        self._due.clear()
        self.rooms.clear(reason)

    async def _run(self) -> None:
        while self.link.is_live:
            now = self._clock.monotonic()
            if due := [s for s, when in self._due.items() if when <= now]:
                for subscription in due:
                    del self._due[subscription]
                await self._round(due)
            else:
                await self._sleep(min(self._due.values(), default=None))

    async def _sleep(self, until: float | None) -> None:
        self._wake.clear()
        if until is None:
            await self._wake.wait()
            return
        woken = asyncio.ensure_future(self._wake.wait())
        timer = asyncio.ensure_future(self._clock.sleep(max(0.0, until - self._clock.monotonic())))
        try:
            await asyncio.wait({woken, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            timer.cancel()

    async def _round(self, subscriptions: Sequence[Subscription]) -> None:
        """Ask for all of them, by collection, many in one request; all requests are under way at once."""
        by_scope: dict[str, list[tuple[Subscription, int | str]]] = defaultdict(list)
        for subscription, key in await self._resolve(subscriptions):
            by_scope[subscription.scope].append((subscription, key))
        await asyncio.gather(
            *(
                self._join(scope, wanted[start : start + ROOMS_PER_REQUEST])
                for scope, wanted in by_scope.items()
                for start in range(0, len(wanted), ROOMS_PER_REQUEST)
            )
        )

    async def _resolve(self, subscriptions: Sequence[Subscription]) -> list[tuple[Subscription, int | str]]:
        """Each subscription's id or name; code is run now, since it may return another id than before."""
        plain = [(s, s.key) for s in subscriptions if not s.is_code]
        coded = [s for s in subscriptions if s.is_code]
        ids = await asyncio.gather(*(self._run_code(s) for s in coded))
        return plain + [(s, i) for s, i in zip(coded, ids, strict=True) if i is not None]

    async def _run_code(self, subscription: Subscription) -> int | None:
        body = [subscription.scope, subscription.key]
        try:
            room_id = await self.link.call(Kind.QUERY, body, timeout=REQUEST_TIMEOUT)
            if isinstance(room_id, bool) or not isinstance(room_id, int):
                raise CodeTypeError(
                    f"the code must return a room's id, not {type(room_id).__name__} {room_id!r:.80}"
                )
        except (ThingsDBError, OSError) as error:
            self._refused(subscription, error)
            return None
        return room_id

    async def _join(self, scope: str, wanted: Sequence[tuple[Subscription, int | str]]) -> None:
        def answered(ids: Any) -> None:  # in the moment of the answer: events may follow in the same breath
            for (subscription, key), room_id in zip(wanted, ids, strict=True):
                if room_id is None:
                    self._refused(subscription, RoomLookupError(f"{scope} has no room {key}"))
                elif not subscription.ended:
                    self._backoffs.pop(subscription, None)
                    self.rooms.add(subscription, room_id)

        body = [scope, *(key for _, key in wanted)]
        try:
            await self.link.call(Kind.JOIN, body, timeout=REQUEST_TIMEOUT, on_answer=answered)
        except (ThingsDBError, OSError, ValueError, TypeError) as error:
            for subscription, _ in wanted:
                self._refused(subscription, error)

    def _refused(self, subscription: Subscription, error: Exception) -> None:
        if subscription.ended or not self.link.is_live:
            return  # nobody wants it any more, or the next link will try
        self._later(subscription, NODE_RETRY if isinstance(error, NodeError) else RETRY)
        subscription.unjoinable(error)

    def _later(self, subscription: Subscription, policy: BackoffPolicy) -> None:
        backoff = self._backoffs.get(subscription)
        if backoff is None or backoff.policy is not policy:
            backoff = self._backoffs[subscription] = Backoff(policy, self._rng)
        self._due[subscription] = self._clock.monotonic() + backoff.next()
        self._wake.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: joining rooms failed", self.link.address, exc_info=error)
            self.link.abort(ConnectionError(f"joining rooms failed: {error}"))
