"""Keeps one link alive: the first connection and every later one are made here, the same way."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

from tdbwatch.client.addresses import Address
from tdbwatch.client.dialing import words
from tdbwatch.client.joiner import Joiner
from tdbwatch.client.link import Link
from tdbwatch.client.login import authenticate
from tdbwatch.client.merge import SETTLE
from tdbwatch.client.observer import report_push
from tdbwatch.client.pool import Choice, NodePool
from tdbwatch.client.rooms import Subscription
from tdbwatch.client.settings import Settings
from tdbwatch.exceptions import AuthError, ProtocolError, ThingsDBError
from tdbwatch.wire import Emit, Push, RawEmit

log = logging.getLogger("tdbwatch.client")

AUTH_TIMEOUT: Final = 10.0
AUTH_RETRY: Final = 30.0
"""Seconds between attempts once a login that used to work is refused."""
RESTART: Final = 5.0
"""Seconds until a keeper that died of a mistake of ours begins anew."""
POLL: Final = 1.0
"""Seconds after which nodes that could not be tried are looked at again: another one may be free by then."""

_EXPECTED: Final = (OSError, ProtocolError, ThingsDBError)
"""What attempts fail with; anything else is a mistake of ours."""


class KeeperOwner(Protocol):
    """What a keeper asks of, and tells, its client."""

    def in_use(self, keeper: "Keeper") -> Collection[Address]:
        """The nodes that this keeper and those beside it have links to."""
        ...

    def wanted(self, keeper: "Keeper") -> Sequence[Subscription]:
        """What this keeper's link should hear."""
        ...

    def pushes_no_scope(self, keeper: "Keeper", collection: str) -> None:
        """An old server: the keeper's link can hear this collection, and no other one beside it."""
        ...

    def link_ready(self) -> None:
        """Requests can be sent."""
        ...


class Keeper:
    """One place for a link. While it runs there is a link, or one is being made.

    A node that announces its shutdown is replaced at once: the old link goes on hearing and answering until
    the new one has joined every room, and a little longer, for what is still on its way.
    """

    def __init__(
        self, owner: KeeperOwner, pool: NodePool, settings: Settings, *, persistent: bool = True
    ) -> None:
        self.link: Link | None = None
        """The link that requests go to."""
        self._owner = owner
        self._pool = pool
        self._settings = settings
        self._persistent = persistent
        self._insist = persistent
        self._joiners: dict[Link, Joiner] = {}
        self._closing: set[Link] = set()
        self._candidate: Link | None = None
        self._announced: set[Link] = set()
        self._trying: Address | None = None
        self._moving = False
        self._wake = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._handovers: set[asyncio.Task[None]] = set()

    @property
    def is_live(self) -> bool:
        return self.link is not None and self.link.is_live

    @property
    def addresses(self) -> list[Address]:
        """The nodes that this keeper has links to, or tries."""
        held = [link.address for link in self._joiners if link.is_live]
        return held if self._trying is None or self._trying in held else [*held, self._trying]

    @property
    def joiners(self) -> list[Joiner]:
        """Those on which rooms are joined now: one, or two while a link takes over."""
        return [joiner for joiner in self._joiners.values() if joiner.active]

    @property
    def all_joiners(self) -> list[Joiner]:
        """These, and those of links that are made or let go of."""
        return list(self._joiners.values())

    def start(self, *, insist: bool) -> asyncio.Future[None]:
        """Begin. With `insist` it tries until there is a link; else the first failure ends it.

        Returns:
            A future that ends when there is a link, or with the error that ended the attempt.
        """
        self._insist = insist
        self._task = asyncio.create_task(self._run(), name="tdbwatch-keeper")
        self._task.add_done_callback(self._ended)
        return self._waiter()

    def move(self) -> asyncio.Future[None] | None:
        """Make a new link, on another node if there is one, then let go of this one. None if under way."""
        if self._task is None or self._task.done():
            return self.start(insist=self._persistent)
        if self._moving or self._trying is not None or (self._persistent and not self.is_live):
            return None
        self._moving = True
        self._wake.set()
        return self._waiter()

    def close(self) -> None:
        self._closed = True
        for task in (self._task, *self._handovers):
            if task is not None:
                task.cancel()
        self.link = None
        for link in list(self._joiners):
            link.close()

    async def wait_closed(self) -> None:
        """Return when every task has ended and every socket is closed."""
        waits: list[asyncio.Future[Any]] = [link.closed for link in self._closing]
        waits += [task for task in (self._task, *self._handovers) if task is not None]
        if waits:
            await asyncio.wait(waits)

    # -- JoinerOwner -------------------------------------------------------------------------------------

    def wanted(self) -> Sequence[Subscription]:
        return self._owner.wanted(self)

    def pushes_no_scope(self, collection: str) -> None:
        self._owner.pushes_no_scope(self, collection)

    # -- LinkOwner ---------------------------------------------------------------------------------------

    def link_lost(self, link: Link, reason: Exception) -> None:
        joiner = self._joiners.pop(link, None)
        if joiner is None:
            return
        if link is self._candidate:
            self._candidate = None
        if link in self._announced:
            self._announced.discard(link)
            self._settings.observer.disconnected(link.address, str(reason))
        if link is self.link:
            self.link = None
            self._pool.lost(link.address, self._settings.clock.monotonic())
            log.warning("lost the connection to %s: %s", link.address, reason)
        joiner.stop(str(reason))
        if self.link is None and self._candidate is not None and not self._closed:
            self._use(self._candidate)  # its rooms may not be joined yet, but it answers

    def link_leaving(self, link: Link) -> None:
        self._pool.leaving(link.address, self._settings.clock.monotonic())
        if (joiner := self._joiners.get(link)) is not None:
            joiner.rooms.leaving(f"{link.address} is shutting down")
        if link is self.link and self._persistent:
            log.info("%s is shutting down: moving to another node", link.address)
            self._moving = True
            self._wake.set()

    def push_heard(self, link: Link, push: Push) -> None:
        if (joiner := self._joiners.get(link)) is not None:
            joiner.push_heard(push)
        report_push(self._settings.observer, link.address, push)

    def stray_heard(self, link: Link, emit: Emit | RawEmit) -> None:
        if (joiner := self._joiners.get(link)) is not None:
            joiner.stray_heard(emit)

    # -- inside ------------------------------------------------------------------------------------------

    def _waiter(self) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    async def _run(self) -> None:
        while True:
            while not await self._attempt():
                pass
            await self._until_needed()
            if not self._persistent and not self._moving:
                return

    async def _until_needed(self) -> None:
        """Return when the link is lost, or should be moved."""
        if self.link is None or self._moving:
            return
        woken: asyncio.Future[Any] = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait([woken, self.link.lost], return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()

    async def _attempt(self) -> bool:
        """One attempt at a new link; whether there is one now.

        Raises:
            OSError, ProtocolError, ThingsDBError: why it failed, if it is not to be repeated.
        """
        clock = self._settings.clock
        choice = self._choose()
        if choice is None or choice.wait > 0:
            await clock.sleep(POLL if choice is None else min(choice.wait, POLL))
            return False
        self._trying = choice.address
        failure: Exception | None = None
        try:
            await self._connect(choice)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt is made
            failure = error
        finally:
            self._trying = self._candidate = None
        if failure is not None:
            await self._attempt_failed(choice.address, failure)
        return failure is None

    def _choose(self) -> Choice | None:
        now = self._settings.clock.monotonic()
        taken = self._owner.in_use(self)
        choice = self._pool.choose(now, taken)
        if choice is None:  # no node is free: a second link to the own one will do, if it stays
            stays = [link.address for link in self._joiners if link.is_live and not link.leaving]
            choice = self._pool.choose(now, [address for address in taken if address not in stays])
        return choice

    async def _connect(self, choice: Choice) -> None:
        """Connect, log in, join every room; then this is the link.

        Raises:
            OSError, ProtocolError, ThingsDBError: why it failed.
        """
        link = await self._open(choice)
        self._candidate = link
        if not self.is_live:
            self._use(link)  # calls need not wait for rooms
        else:
            for joiner in self._joiners.values():
                joiner.rooms.begin_merging()
        await self._joiners[link].join_all()
        if not link.is_live:
            raise link.lost.result()
        if link is not self.link and (link.leaving or self._joiners[link].lacks_rooms_for_now):
            link.retire()  # the link of before hears more
            raise ConnectionAbortedError(f"{link.address} is not ready to take over")
        if link is not self.link:
            self._use(link)
        self._announce(link)

    async def _open(self, choice: Choice) -> Link:
        settings = self._settings
        link = Link(choice.address, self, settings.clock, settings.heartbeat, raw_events=settings.raw_events)
        await link.open(settings.ssl, settings.connect_timeout, turn=choice.failures)
        self._closing.add(link)
        link.closed.add_done_callback(lambda _: self._closing.discard(link))
        self._joiners[link] = Joiner(link, self, settings.clock, settings.rng, merging=settings.merging)
        try:
            if settings.auth is not None:
                await authenticate(link, settings.auth, AUTH_TIMEOUT)
            if not link.is_live:  # it was lost right behind the answer
                raise link.lost.result()
        except BaseException as error:
            link.abort(ConnectionAbortedError(str(error)))
            raise
        return link

    def _use(self, link: Link) -> None:
        old, self.link = self.link, link
        joiner = self._joiners[link]
        if old is not None and old in self._joiners:
            self._joiners[old].rest()
            if not old.leaving:
                for subscription in joiner.rooms.subscriptions():
                    subscription.taken_over()
        if joiner.rooms.merging and (old is not None or not self._settings.merging):
            task = asyncio.create_task(self._finish_handover(old), name=f"tdbwatch-handover {link.address}")
            self._handovers.add(task)
            task.add_done_callback(self._handover_ended)
        self._owner.link_ready()

    async def _finish_handover(self, old: Link | None) -> None:
        """Hear on the old link what is still on its way, then let it finish its calls and go."""
        await self._settings.clock.sleep(SETTLE)
        if old is not None and (joiner := self._joiners.get(old)) is not None:
            joiner.stop("another node took over")
            old.retire()
        await self._settings.clock.sleep(2 * SETTLE)
        self._end_merging()

    def _handover_ended(self, task: asyncio.Task[None]) -> None:
        self._handovers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)

    def _end_merging(self) -> None:
        """Back to the short way, once nothing else hears the same rooms."""
        hearing = [joiner for link, joiner in self._joiners.items() if not link.retiring]
        if not self._settings.merging and self._candidate is None and len(hearing) == 1:
            hearing[0].rooms.end_merging()

    def _announce(self, link: Link) -> None:
        self._insist = self._persistent
        self._settings.proven = True
        self._moving = link.leaving
        if not self._moving:
            self._wake.clear()
        self._pool.connected(link.address, self._settings.clock.monotonic())
        self._announced.add(link)
        self._settings.observer.connected(link.address)
        log.info("connected to %s", link.address)
        self._resolve(None)

    def _resolve(self, error: BaseException | None) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
                waiter.exception()  # marks it as read: not every caller waits for it

    async def _attempt_failed(self, address: Address, error: Exception) -> None:
        """Report it, and wait where trying again at once would do harm."""
        clock, refused = self._settings.clock, isinstance(error, AuthError)
        wait = self._pool.failed(address, clock.monotonic())
        if not self._handovers:
            self._end_merging()
        if not self.is_live and (not self._insist or (refused and not self._settings.proven)):
            raise error
        if refused:
            wait = max(wait, AUTH_RETRY)
        self._settings.observer.unreachable(address, reason := words(error), wait)
        if not isinstance(error, _EXPECTED):
            log.error("connecting to %s failed by a mistake of ours", address, exc_info=error)
        elif times := self._pool.complaint(address, reason, clock.monotonic()):
            often = f" ({times} times now)" if times > 1 else ""
            log.warning("cannot connect to %s%s: %s", address, often, reason)
        if refused:
            await clock.sleep(wait)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, _EXPECTED):
            log.error("keeping the connection failed by a mistake of ours", exc_info=error)
            if self._persistent and not self._closed:  # a mistake must not end in silence
                asyncio.get_running_loop().call_later(RESTART, self._restart)
        self._resolve(error or ConnectionAbortedError("the connection is not kept any more"))

    def _restart(self) -> None:
        if not self._closed and (self._task is None or self._task.done()):
            self.start(insist=True)
