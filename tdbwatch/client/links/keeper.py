"""Keeps one link alive: the first connection and every later one are made here, the same way."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from tdbwatch.client.addresses import Address
from tdbwatch.client.links.handovers import Handovers
from tdbwatch.client.links.link import Link
from tdbwatch.client.links.observer import report_push
from tdbwatch.client.links.old_servers import Group
from tdbwatch.client.links.phases import Phases
from tdbwatch.client.links.pool import Choice, NodePool, Outcome, outcome_of
from tdbwatch.client.links.settings import AUTH_TIMEOUT, Settings
from tdbwatch.client.login import authenticate
from tdbwatch.client.rooms.joiner import Joiner
from tdbwatch.client.words import beside, words
from tdbwatch.exceptions import AuthError, ProtocolError, ThingsDBError
from tdbwatch.loggers import get_logger
from tdbwatch.wire import Push

log = get_logger("tdbwatch.client")

RESTART: Final = 5.0
"""Seconds until the next attempt after a mistake of ours."""
POLL: Final = 1.0
"""Seconds after which nodes that could not be tried are looked at again: another one may be free by then."""

_EXPECTED: Final = (OSError, ProtocolError, ThingsDBError)
"""What attempts fail with; anything else is a mistake of ours."""


class Phase(Enum):
    """Where a keeper stands."""

    IDLE = "idle"
    """There is no link, and none is made."""
    CONNECTING = "connecting"
    """A link is being made. One that answers is in use already while its rooms are still being joined."""
    SERVING = "serving"
    """There is a link, and all is well."""
    MOVING = "moving"
    """There is a link, and another one is being made to take its place."""
    CLOSED = "closed"


TRANSITIONS: Final = {
    Phase.IDLE: {Phase.CONNECTING, Phase.CLOSED},
    Phase.CONNECTING: {Phase.SERVING, Phase.MOVING, Phase.IDLE, Phase.CLOSED},
    Phase.SERVING: {Phase.MOVING, Phase.CONNECTING, Phase.IDLE, Phase.CLOSED},
    Phase.MOVING: {Phase.SERVING, Phase.MOVING, Phase.CONNECTING, Phase.IDLE, Phase.CLOSED},
    Phase.CLOSED: set[Phase](),
}
_MAKING: Final = frozenset({Phase.CONNECTING, Phase.MOVING})
"""A task is making a link."""


class Keeper:
    """One place for a link. While it runs there is a link, or one is being made.

    A node that announces its shutdown is replaced at once: the old link goes on hearing and answering until
    the new one has joined every room, and a little longer, for what is still on its way.

    Args:
        group: tells what the link should hear, and which nodes the keepers beside this one use.
        link_ready: called when requests can be sent.
        persistent: keep the link alive.
    """

    def __init__(
        self,
        group: Group,
        pool: NodePool,
        settings: Settings,
        link_ready: Callable[[], None],
        *,
        persistent: bool = True,
    ) -> None:
        self.link: Link | None = None
        """The link that requests go to."""
        self._group = group
        self._pool = pool
        self._settings = settings
        self._link_ready = link_ready
        self._persistent = persistent
        self._insist = persistent
        self._phases = Phases(TRANSITIONS, Phase.IDLE)
        self._joiners: dict[Link, Joiner] = {}
        self._announced: set[Link] = set()
        self._open: set[Link] = set()
        self._task: asyncio.Task[None] | None = None
        self._handovers = Handovers(self._joiners, settings)
        self._ready: asyncio.Future[None] | None = None

    @property
    def phase(self) -> Phase:
        return self._phases.now

    @property
    def addresses(self) -> list[Address]:
        """The nodes that this keeper has links to, or tries."""
        return list(dict.fromkeys(link.address for link in self._joiners))

    @property
    def joiners(self) -> list[Joiner]:
        """One for each link; two links hear the rooms while one takes over."""
        return list(self._joiners.values())

    def start(self, *, insist: bool) -> "asyncio.Future[None]":
        """Begin. With `insist` it tries until there is a link; else once each node has failed it ends.

        Returns:
            A future that ends when there is a link, or with the error that ended the attempts.
        """
        self._insist = insist
        return self._begin(Phase.CONNECTING)

    def move(self) -> "asyncio.Future[None] | None":
        """Make a new link, on another node if there is one, then let go of this one. None if under way."""
        if self.phase is Phase.IDLE:
            return self.start(insist=self._persistent)
        return self._begin(Phase.MOVING) if self.phase is Phase.SERVING else None

    def close(self) -> None:
        """Close every link; returns at once. The loop need not run now, but must not be closed."""
        self._phases.go(Phase.CLOSED)
        for task in (self._task, *self._handovers.tasks):
            if task is not None:
                task.cancel()
        self.link = None
        for link in list(self._joiners):
            link.close()

    def abandon(self) -> None:
        """Forget every link: the loop is closed, and nothing of them can run any more."""
        self._phases.go(Phase.CLOSED)
        self.link = None
        for joiner in self._joiners.values():
            joiner.rooms.clear("the event loop was closed")
        self._joiners.clear()

    async def wait_closed(self) -> None:
        """Return when every task has ended and every socket is closed."""
        waits: list[asyncio.Future[Any]] = [link.closed for link in self._open]
        waits += [task for task in (self._task, *self._handovers.tasks) if task is not None]
        if waits:
            await asyncio.wait(waits)

    # -- LinkOwner ---------------------------------------------------------------------------------------

    def link_lost(self, link: Link, reason: Exception) -> None:
        joiner = self._joiners.pop(link, None)
        if joiner is None:
            return
        if link in self._announced:
            self._announced.discard(link)
            self._settings.observer.disconnected(link.address, words(reason))
        used = link is self.link
        if used:
            self.link = None
            self._pool.lost(link.address, self._settings.clock.monotonic())
            log.warning("lost the connection to %s: %s", link.address, beside(link.address, words(reason)))
        joiner.stop(words(reason))
        if used:
            self._replace()

    def link_leaving(self, link: Link) -> None:
        self._pool.leaving(link.address, self._settings.clock.monotonic())
        if (joiner := self._joiners.get(link)) is not None:
            joiner.rooms.leaving(f"{link.address} is shutting down")
        if link is self.link and self._persistent and self.phase is Phase.SERVING:
            log.info("%s is shutting down: moving to another node", link.address)
            self._go(Phase.MOVING)

    def push_heard(self, link: Link, push: Push) -> None:
        if (joiner := self._joiners.get(link)) is not None:
            joiner.push_heard(push)
        report_push(self._settings.observer, link.address, push)

    def emit_lost(self, link: Link) -> None:
        self._settings.observer.emit_lost(link.address)

    # -- from phase to phase -----------------------------------------------------------------------------

    def _begin(self, phase: Phase) -> "asyncio.Future[None]":
        self._pool.begin_round()
        self._ready = asyncio.get_running_loop().create_future()
        self._go(phase)
        return self._ready

    def _go(self, phase: Phase) -> None:
        self._phases.go(phase)
        if phase in _MAKING and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._make_link(), name="tdbwatch-keeper")
            self._task.add_done_callback(self._made)

    def _replace(self) -> None:
        """The link in use is lost: another one that answers takes its place, or is made."""
        candidate = next((joiner.link for joiner in self.joiners if joiner.active), None)
        if candidate is not None:
            self._use(candidate)  # its rooms may not be joined yet
        elif self.phase is Phase.SERVING and not self._persistent:
            self._go(Phase.IDLE)
        elif self.phase in {Phase.SERVING, Phase.MOVING}:
            self._go(Phase.CONNECTING)

    def _made(self, task: "asyncio.Task[None]") -> None:
        """There is a link, or there will be none."""
        error = None if task.cancelled() else task.exception()
        if task is not self._task or self.phase is Phase.SERVING:
            return
        if self.phase is not Phase.CLOSED:
            self._go(Phase.IDLE if self.link is None else Phase.SERVING)
        self._resolve(error or ConnectionAbortedError("the connection is not kept any more"))

    def _resolve(self, error: BaseException | None) -> None:
        """Tell whoever waits for the link."""
        if self._ready is None or self._ready.done():
            return
        if error is None:
            self._ready.set_result(None)
        else:
            self._ready.set_exception(error)
            self._ready.exception()  # marks it as read: not every caller waits for it

    # -- making a link -----------------------------------------------------------------------------------

    async def _make_link(self) -> None:
        """Try until there is one, as long as the phase asks for it.

        Raises:
            OSError, ProtocolError, ThingsDBError: there will be none, and why.
        """
        while self.phase in _MAKING:
            try:
                await self._attempt()
            except Exception as error:
                if isinstance(error, _EXPECTED) or not self._insist:
                    raise
                log.exception("keeping the connection failed by a mistake of ours")
                await self._settings.clock.sleep(RESTART)

    async def _attempt(self) -> None:
        """Try a node, or wait for one that may be tried."""
        choice = self._choose()
        if choice is None or choice.wait > 0:
            await self._settings.clock.sleep(POLL if choice is None else min(choice.wait, POLL))
            return
        settings = self._settings
        link = Link(choice.address, self, settings.clock, settings.heartbeat, raw_events=settings.raw_events)
        try:
            await self._connect(link, choice.failures)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt is made
            self._failed(link, error)

    def _choose(self) -> Choice | None:
        now = self._settings.clock.monotonic()
        taken = self._group.in_use()
        choice = self._pool.choose(now, taken)
        if choice is None:  # no node is free: a second link to the own one will do, if it stays
            stays = [link.address for link in self._joiners if not link.leaving]
            choice = self._pool.choose(now, [address for address in taken if address not in stays])
        return choice

    async def _connect(self, link: Link, turn: int) -> None:
        """Connect, log in, join every room; then this is the link.

        Raises:
            OSError, ProtocolError, ThingsDBError: why it failed.
        """
        joiner = await self._log_in(link, turn)
        if self.link is None:
            self._use(link)  # calls need not wait for rooms
        else:
            self._handovers.prepare()
        await joiner.join_all()
        link.require_live()
        if link is not self.link:
            if link.leaving or joiner.lacks_rooms_for_now:  # the link of before hears more
                self._handovers.let_go(link, reason := f"{link.address} is not ready to take over")
                raise ConnectionAbortedError(reason)
            self._use(link)
        self._announce(link)

    async def _log_in(self, link: Link, turn: int) -> Joiner:
        settings = self._settings
        joiner = Joiner(link, self._group, settings.clock, settings.rng, merging=settings.merging)
        self._joiners[link] = joiner
        try:
            await link.open(settings.ssl, settings.connect_timeout, turn)
            self._open.add(link)
            link.closed.add_done_callback(lambda _: self._open.discard(link))
            if settings.auth is not None:
                await authenticate(link, settings.auth, AUTH_TIMEOUT)
            link.require_live()  # it may have been lost right behind the answer
        except BaseException as error:
            link.abort(ConnectionAbortedError(words(error)))
            raise
        return joiner

    def _use(self, link: Link) -> None:
        old, self.link = self.link, link
        self._handovers.begin(old, link)
        self._link_ready()

    def _announce(self, link: Link) -> None:
        self._insist = self._persistent
        self._settings.proven = True
        self._pool.connected(link.address, self._settings.clock.monotonic())
        self._go(Phase.MOVING if link.leaving and self._persistent else Phase.SERVING)
        self._resolve(None)
        log.info("connected to %s", link.address)
        self._announced.add(link)
        self._settings.observer.connected(link.address)

    def _failed(self, link: Link, error: Exception) -> None:
        """An attempt failed. Report it; the next one is made when the pool allows.

        Raises:
            OSError, ProtocolError, ThingsDBError: there will be none.
        """
        address, now, reason = link.address, self._settings.clock.monotonic(), words(error)
        outcome, wait = self._pool.failed(address, now, outcome_of(error), reason, link.ways)
        self._handovers.abandoned()
        if self.link is None and self._pool.all_tried:
            if self._pool.each_refuses and not self._settings.proven:
                raise self._refused(error)
            if not self._insist:
                raise error
        if outcome is Outcome.REFUSED:
            self._settings.observer.refused(address, reason, wait, by_all=self._pool.all_refuse)
        else:
            self._settings.observer.unreachable(address, reason, wait)
        if not isinstance(error, _EXPECTED):
            log.error("connecting to %s failed by a mistake of ours", address, exc_info=error)
        elif times := self._pool.complaint(address, reason, now):
            often = f" ({times} times now)" if times > 1 else ""
            log.warning("cannot connect to %s%s: %s", address, often, beside(address, reason))

    def _refused(self, last: Exception) -> Exception:
        return last if len(self._pool) == 1 else AuthError(f"no node takes the login: {self._pool.reasons()}")
