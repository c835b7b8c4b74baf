"""What a `Client` knows and does, out of reach of whatever its subclasses name."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from tdbwatch.client.addresses import Address
from tdbwatch.client.calls import Call, seconds
from tdbwatch.client.links.fleet import Fleet, leave
from tdbwatch.client.links.pool import NODE_BACKOFF
from tdbwatch.client.links.settings import Settings
from tdbwatch.client.login import Ask, Auth, authenticate
from tdbwatch.client.loop import ClientLoop
from tdbwatch.client.outbox import Outbox
from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.client.rooms.turns import Turns
from tdbwatch.exceptions import AuthError, NotConnectedError
from tdbwatch.wire import Kind

LEAVE_TIMEOUT: Final = 10.0
"""Seconds for a node to answer that a room was left."""


class Core:
    """The connections of one client, its requests and its rooms.

    Args:
        loop: as of the client.
        connections: as of the client.
        persistent: make a new connection when one is lost.
    """

    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop | None,
        connections: int,
        *,
        persistent: bool,
    ) -> None:
        self.settings = settings
        self.loop = ClientLoop(loop)
        self.fleet = Fleet(settings, connections, persistent, self._link_ready)
        self.outbox = Outbox(self.fleet, patient=persistent)
        self.turns = Turns()
        self.scope = "@t"
        """Of requests that name none."""
        self._nodes: Sequence[Address] = ()
        self._insist = False
        self._ready: asyncio.Future[None] | None = None
        """The first connection, while it is being made."""

    # -- connecting --------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether there is a live connection."""
        return any(link.is_live for link in self.fleet.links())

    def connect(
        self,
        nodes: Sequence[Address],
        auth: Auth | Ask | None,
        timeout: float | None,
        longest_wait: float,
        *,
        insist: bool,
    ) -> asyncio.Future[None]:
        """Connect to one of the nodes.

        Args:
            timeout: seconds for a node to accept a connection.
            longest_wait: seconds, at most, for which a node that fails is left alone.
            insist: keep trying until it works.

        Raises:
            RuntimeError: it is connected, or connecting, already.
        """
        if self.is_connected or self._ready is not None:
            raise RuntimeError("the client is connected, or connecting, already; close it first")
        self.settings.auth, self.settings.connect_timeout = auth, timeout
        self.settings.backoff = replace(NODE_BACKOFF, maximum=min(NODE_BACKOFF.maximum, longest_wait))
        self._nodes, self._insist = nodes, insist
        return self._begin()

    async def authenticate(self, login: Auth | Ask, timeout: float | None) -> None:
        """See `Client.authenticate`."""
        former, self.settings.auth = self.settings.auth, login
        links = self.fleet.links()
        if not links:
            raise NotConnectedError("not connected; call connect() first")
        try:
            await asyncio.gather(*(authenticate(link, login, timeout) for link in links))
        except AuthError:
            self.settings.auth = former
            raise
        self.fleet.retry_rooms()

    def reconnect(self) -> asyncio.Future[None] | None:
        """See `Client.reconnect`."""
        if not self._nodes:
            raise NotConnectedError("never connected; call connect() or connect_pool() first")
        if self.outbox.closed:
            return self._begin()
        return self.loop.begin(self.fleet.move)

    def use_nodes(self, nodes: Sequence[Address]) -> None:
        """See `Client.use_nodes`."""
        if not nodes:
            raise ValueError("the pool of nodes is empty; name at least one node")
        self._nodes = nodes
        self.fleet.change(nodes)

    def close(self) -> None:
        """See `Client.close`."""
        self._ready = None
        self.fleet.close()
        self.outbox.close()

    # -- asking ------------------------------------------------------------------------------------------

    def scope_of(self, scope: str | None) -> str:
        """The one given, else the default; an empty one is given, and ThingsDB refuses it."""
        return self.scope if scope is None else scope

    async def request(self, kind: Kind, body: Any, timeout: float | None) -> Any:
        """Send a request and return its answer; nothing is sent before it is awaited."""
        call = Call(kind, body, seconds(timeout), on_error=self.outbox.try_again)
        self.outbox.send(call)
        return await call.future

    def emit(
        self,
        scope: str | None,
        room: int | str,
        event: str,
        args: Sequence[Any],
        timeout: float | None = None,
        *,
        peers_only: bool,
    ) -> Coroutine[Any, Any, None]:
        """See `Client.emit`."""
        kind = Kind.EMIT_PEER if peers_only else Kind.EMIT
        return self.request(kind, [self.scope_of(scope), room, event, *args], timeout)

    # -- rooms -------------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """For what would wait for ever on a client that nobody connects.

        Raises:
            NotConnectedError: never connected, or closed.
        """
        if self.outbox.closed:
            raise NotConnectedError("not connected; call connect_pool() or reconnect() first")

    def discard(self, subscription: Subscription) -> None:
        """Hear a room no more, as `unsubscribe`, but wait for no answer."""
        for link, room_id in self.fleet.discard(subscription):
            link.call(Kind.LEAVE, [subscription.scope, room_id], timeout=LEAVE_TIMEOUT)

    async def unsubscribe(self, subscription: Subscription, timeout: float | None = LEAVE_TIMEOUT) -> bool:
        """Hear a room no more; returns whether the server knew the room, or had no need to be asked."""
        return await leave(self.fleet.discard(subscription), subscription.scope, timeout)

    # -- inside ------------------------------------------------------------------------------------------

    def _begin(self) -> asyncio.Future[None]:
        """Connect to the nodes that were asked for last."""
        self.outbox.open()
        try:
            ready = self.loop.begin(self._open)
        except Exception:
            self.outbox.close()
            raise
        assert ready is not None
        self._ready = ready
        ready.add_done_callback(self._started)
        return ready

    def _open(self) -> asyncio.Future[None]:
        if self.outbox.closed:
            raise ConnectionAbortedError("the client was closed before it could connect")
        return self.fleet.start(self._nodes, insist=self._insist)

    def _started(self, ready: asyncio.Future[None]) -> None:
        """A first connection that failed, or that nobody waits for any more, is given up."""
        given_up = ready.cancelled() or ready.exception() is not None
        if ready is self._ready:
            self._ready = None
            if given_up:
                self.close()

    def _link_ready(self) -> None:
        self.outbox.flush()
