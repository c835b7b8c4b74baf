"""Keeps one link alive: the first connection and every later one are made here, the same way."""

import asyncio
import logging
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tdbwatch.client.addresses import Address
from tdbwatch.client.joiner import Joiner
from tdbwatch.client.link import Heartbeat, Link
from tdbwatch.client.merge import SETTLE
from tdbwatch.client.observer import Observer
from tdbwatch.client.pool import NodePool
from tdbwatch.client.rooms import Subscription
from tdbwatch.client.transports import SslSetting
from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.exceptions import AuthError, ProtocolError, ThingsDBError
from tdbwatch.wire import Emit, Kind, NodeStatus, Push, RawEmit, Warn

log = logging.getLogger("tdbwatch.client")

Auth = str | tuple[str, str]

CONNECT_TIMEOUT: Final = 5.0
AUTH_TIMEOUT: Final = 10.0
AUTH_RETRY: Final = 30.0
"""Seconds between attempts once a login that used to work is refused."""


@dataclass(slots=True)
class Settings:
    """What all links of a client have in common."""

    ssl: SslSetting = None
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    raw_events: bool = False
    connect_timeout: float | None = CONNECT_TIMEOUT
    clock: Clock = SYSTEM_CLOCK
    rng: random.Random = field(default_factory=random.Random)
    observer: Observer = field(default_factory=Observer)
    auth: Auth | None = None
    merging: bool = False
    """Several links hear the same rooms at all times, not only while one takes over from another."""


class KeeperOwner(Protocol):
    """What a keeper asks of, and tells, its client."""

    def in_use(self) -> Collection[Address]: ...

    def subscriptions(self) -> Iterable[Subscription]: ...

    def link_ready(self) -> None: ...


class Keeper:
    """One place for a link. While it runs there is a link, or one is being made.

    A node that announces its shutdown is replaced at once: the old link goes on hearing and answering until
    the new one has joined every room.
    """

    def __init__(
        self, owner: KeeperOwner, pool: NodePool, settings: Settings, *, persistent: bool = True
    ) -> None:
        self.link: Link | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends when there is a link for the first time, or with the error that ended the attempt."""
        self._owner = owner
        self._pool = pool
        self._settings = settings
        self._persistent = persistent
        self._joiners: dict[Link, Joiner] = {}
        self._trying: Address | None = None
        self._moved: asyncio.Event = asyncio.Event()
        self._was_ready = False
        self._insist = persistent
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_live(self) -> bool:
        return self.link is not None and self.link.is_live

    @property
    def addresses(self) -> list[Address]:
        """The nodes that this keeper has links to, or tries: one, or two while it moves."""
        held = [link.address for link in self._joiners if link.is_live]
        return held if self._trying is None or self._trying in held else [*held, self._trying]

    @property
    def joiner(self) -> Joiner | None:
        """Joins rooms on the current link."""
        return self._joiners.get(self.link) if self.link is not None else None

    def start(self, *, insist: bool = True) -> asyncio.Future[None]:
        """Begin. With `insist` it tries until there is a link; else the first failure ends it."""
        self._insist = insist and self._persistent
        self._task = asyncio.create_task(self._run(), name="tdbwatch-keeper")
        self._task.add_done_callback(self._ended)
        return self.ready

    def move(self) -> asyncio.Future[None] | None:
        """Make a new link, on another node if there is one, then let go of this one. None if under way."""
        if self._task is None or self._task.done():
            self.ready = asyncio.get_running_loop().create_future()
            return self.start()
        if not self.is_live or self._moved.is_set():
            return None
        self.ready = asyncio.get_running_loop().create_future()
        self._moved.set()
        return self.ready

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.link = None
        for link in list(self._joiners):
            link.close()

    async def wait_closed(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})

    # -- LinkOwner ---------------------------------------------------------------------------------------

    def link_lost(self, link: Link, reason: Exception) -> None:
        joiner = self._joiners.pop(link, None)
        if joiner is None:
            return
        joiner.stop(str(reason))
        if link is self.link:
            self.link = None
            self._pool.lost(link.address, self._settings.clock.monotonic())
            self._settings.observer.disconnected(link.address, str(reason))
            log.warning("lost the connection to %s: %s", link.address, reason)

    def link_leaving(self, link: Link) -> None:
        self._pool.leaving(link.address, self._settings.clock.monotonic())
        if (joiner := self._joiners.get(link)) is not None:
            joiner.rooms.leaving(f"{link.address} is shutting down")
        if link is self.link and self._persistent:
            log.info("%s is shutting down: moving to another node", link.address)
            self.move()

    def push_heard(self, link: Link, push: Push) -> None:
        if (joiner := self._joiners.get(link)) is not None:
            joiner.push_heard(push)
        report_push(self._settings.observer, link.address, push)

    def stray_heard(self, link: Link, emit: Emit | RawEmit) -> None:
        if (joiner := self._joiners.get(link)) is not None:
            joiner.stray_heard(emit)

    # -- inside ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            if await self._replace_link():
                await self._until_needed()
                if not self._persistent and not self._moved.is_set():
                    self._was_ready = False
                    return

    async def _until_needed(self) -> None:
        """Return when the link is lost, or should be moved."""
        link = self.link
        if link is None or self._moved.is_set():
            return
        moved: asyncio.Future[Any] = asyncio.ensure_future(self._moved.wait())
        try:
            await asyncio.wait([moved, link.lost], return_when=asyncio.FIRST_COMPLETED)
        finally:
            moved.cancel()

    async def _replace_link(self) -> bool:
        """One attempt at a new link; whether there is one now."""
        address = await self._next_address()
        if address is None:
            return False
        self._moved.clear()
        self._trying = address
        try:
            return await self._try(address)
        finally:
            self._trying = None

    async def _try(self, address: Address) -> bool:
        try:
            link = await self._open(address)
        except (OSError, ProtocolError, ThingsDBError) as error:
            await self._attempt_failed(address, error)
            return False
        if not self.is_live:
            self._use(link)  # calls need not wait for rooms
        try:
            await self._joiners[link].join_all(self._owner.subscriptions())
        except OSError as error:
            self._pool.failed(address, self._settings.clock.monotonic())
            log.warning("lost the connection to %s while joining rooms: %s", address, error)
            return False
        if link is not self.link:
            self._use(link)
        self._announce(link)
        return True

    async def _next_address(self) -> Address | None:
        clock = self._settings.clock
        taken = self._owner.in_use()
        choice = self._pool.choose(clock.monotonic(), taken)
        if choice is None:  # every node is in use, this one's leaving link included
            choice = self._pool.choose(clock.monotonic(), [a for a in taken if a not in self.addresses])
        if choice is None:
            await clock.sleep(1.0)
            return None
        if choice.wait <= 0:
            return choice.address
        await clock.sleep(min(choice.wait, 1.0))  # not longer: another node may become free meanwhile
        return None

    async def _open(self, address: Address) -> Link:
        settings = self._settings
        link = Link(address, self, settings.clock, settings.heartbeat, raw_events=settings.raw_events)
        await link.open(settings.ssl, settings.connect_timeout)
        merging = settings.merging or self.is_live
        if merging and not settings.merging and (joiner := self.joiner) is not None:
            joiner.rooms.begin_merging()
        self._joiners[link] = Joiner(link, settings.clock, settings.rng, merging=merging)
        try:
            if settings.auth is not None:
                await authenticate(link, settings.auth, AUTH_TIMEOUT)
        except BaseException as error:
            link.abort(ConnectionAbortedError(str(error)))
            raise
        return link

    def _use(self, link: Link) -> None:
        old, self.link = self.link, link
        if old is not None and (joiner := self._joiners.get(old)) is not None:
            joiner.stop("another node took over")
            old.retire()
            if not self._settings.merging:
                asyncio.get_running_loop().call_later(2 * SETTLE, self._end_merging, link)
        self._owner.link_ready()

    def _end_merging(self, link: Link) -> None:
        if link is self.link and len(self._joiners) == 1:
            self._joiners[link].rooms.end_merging()

    def _announce(self, link: Link) -> None:
        self._failures = 0
        self._was_ready = True
        self._pool.connected(link.address, self._settings.clock.monotonic())
        self._settings.observer.connected(link.address)
        log.info("connected to %s", link.address)
        if not self.ready.done():
            self.ready.set_result(None)

    async def _attempt_failed(self, address: Address, error: Exception) -> None:
        clock, refused = self._settings.clock, isinstance(error, AuthError)
        wait = self._pool.failed(address, clock.monotonic())
        self._failures += 1
        if not self._was_ready and (refused or not self._insist):
            raise error
        if refused:
            wait = max(wait, AUTH_RETRY)
        self._settings.observer.unreachable(address, str(error), wait)
        if self._failures & (self._failures - 1) == 0:  # 1, 2, 4, 8, ...: said, but not said to death
            log.warning("cannot connect to %s (attempt %d): %s", address, self._failures, error)
        if refused:
            await clock.sleep(wait)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, OSError | ThingsDBError | ProtocolError):
            log.error("keeping the connection failed", exc_info=error)
        if not self.ready.done():
            self.ready.set_exception(error or ConnectionAbortedError("the client was closed"))
            self.ready.exception()  # marks it as read: not every caller waits for it


async def authenticate(link: Link, auth: Auth, timeout: float | None) -> None:
    """Log in.

    Raises:
        AuthError: refused; the message names the node and never the secret.
    """
    body = auth if isinstance(auth, str) else list(auth)
    try:
        await link.call(Kind.AUTH, body, timeout=timeout)
    except AuthError as error:
        message = f"{link.address} refused the login: {error.error_msg}"
        raise AuthError(errdata={"error_code": error.error_code, "error_msg": message}) from None


def report_push(observer: Observer, address: Address, push: Push) -> None:
    """Tell the observer of pushes that are about a node."""
    if isinstance(push, NodeStatus):
        observer.node_status(address, push.id, push.status)
    elif isinstance(push, Warn):
        observer.warning(address, push.warn_code, push.warn_msg)
