"""The connector's face: what a program calls."""

import asyncio
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from tdbwatch.client.addresses import DEFAULT_PORT, Address, parse_address
from tdbwatch.client.asking import Asking
from tdbwatch.client.links.fleet import Fleet, leave
from tdbwatch.client.links.heartbeat import Heartbeat
from tdbwatch.client.links.link import Link
from tdbwatch.client.links.observer import Observer
from tdbwatch.client.links.pool import NODE_BACKOFF
from tdbwatch.client.links.settings import CONNECT_TIMEOUT, Settings
from tdbwatch.client.login import Ask, Auth, authenticate, parse_auth
from tdbwatch.client.loop import ClientLoop
from tdbwatch.client.outbox import Outbox
from tdbwatch.client.rooms.membership import Membership
from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.client.rooms.turns import Turns
from tdbwatch.client.transports import SslSetting
from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.exceptions import NotConnectedError
from tdbwatch.wire import Kind

if TYPE_CHECKING:
    from tdbwatch.room import Room


LEAVE_TIMEOUT: Final = 10.0
"""Seconds for a node to answer that a room was left."""


class Client(Asking):
    """A connection to ThingsDB that heals itself.

    What asks the server (`query`, `run`, `emit`, ...) is a coroutine: nothing is sent, and no deadline runs,
    before it is awaited or made a task. `connect_pool` and `reconnect` act at once, and return a future that
    nobody needs to wait for. Everything may be called before, while and after the event loop runs.

    Args:
        auto_reconnect: make a new connection when one is lost, and move when a node shuts down.
        ssl: TLS for TCP and `wss://`. True verifies the certificate and the host name; a context of your
            own is taken as it is; an async function that returns one is asked at each connection.
        loop: the event loop to connect on where none is running; else the running one is used.
        connections: how many nodes to be connected to at once; every room is joined on each.
        heartbeat: how a silent node is noticed.
        clock: the time, for tests.
        rng: chance, for tests.
        observer: told of connections and of nodes.
        raw_events: rooms get `RawEmit`, whose arguments are not decoded.
        check_spares: try nodes that are in trouble also while others are enough, and tell the observer.
    """

    MAX_RECONNECT_WAIT_TIME: float = 60
    """Seconds, at most, for which a node that fails again and again is left alone (it is 30 if this is more).
    Change it, on the class or the client, before connecting."""
    MAX_RECONNECT_TIMEOUT: float = 10
    """Seconds, at most, for a node of a pool to accept a connection (they are 5 if this is more)."""

    def __init__(
        self,
        auto_reconnect: bool = True,
        ssl: SslSetting = None,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: int = 1,
        heartbeat: Heartbeat | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
        observer: Observer | None = None,
        raw_events: bool = False,
        check_spares: bool = False,
    ) -> None:
        self._loop = ClientLoop(loop)
        self._settings = Settings(
            ssl=ssl,
            heartbeat=heartbeat or Heartbeat(),
            raw_events=raw_events,
            check_spares=check_spares,
            clock=clock,
            rng=rng or random.Random(),
            observer=observer or Observer(),
        )
        self._fleet = Fleet(self._settings, connections, auto_reconnect, self._link_ready)
        super().__init__(Outbox(self._fleet, patient=auto_reconnect))
        self._nodes: Sequence[Address] = ()
        self._insist = False
        self._ready: asyncio.Future[None] | None = None
        """The first connection, while it is being made."""
        self.turns = Turns()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_and_wait()

    # -- connecting --------------------------------------------------------------------------------------

    async def connect(self, host: str, port: int = DEFAULT_PORT, timeout: float | None = 10) -> None:
        """Connect to one node. `host` may be a name, an address, or a URI, which names its own port.

        Raises:
            OSError: the node cannot be reached within `timeout` seconds.
            ValueError: `host` or `port` is no address.
        """
        await self._start([parse_address((host, port))], None, timeout or None, insist=False)

    def connect_pool(
        self, pool: Iterable[str | tuple[str, int] | Address], *auth: Auth | Ask
    ) -> asyncio.Future[None]:
        """Connect to a node of the pool, chosen at random, and authenticate; keep trying until it works.

        Args:
            pool: `host`, `host:port`, `ws://...`, `wss://...`, `unix:///path`, or (host, port).
            auth: a token; or user and password, as two strings or one pair; or a function, plain or async,
                that gives a token or a pair, and is asked at each login.

        Raises:
            ValueError: a bad address, or an empty pool.
            TypeError: auth that is neither, or a pool that is a single string.
            RuntimeError: it is connected already; or no event loop runs, and the client was given none.
            AuthError: from the future: every node was reached, and refuses the login. While one cannot be
                reached it may be what the others wait for, so all are tried on.
        """
        login = parse_auth(auth)
        if isinstance(pool, str):  # else each of its letters would be a node
            raise TypeError(f"the pool is a list of nodes; write [{pool!r}]")
        nodes = [parse_address(node) for node in pool]
        return self._start(nodes, login, min(CONNECT_TIMEOUT, self.MAX_RECONNECT_TIMEOUT), insist=True)

    async def authenticate(self, *auth: Auth | Ask, timeout: float | None = 10) -> None:
        """Log in with a token, two strings, or one pair; later connections log in the same way.

        Raises:
            AuthError: refused.
            NotConnectedError: there is no connection.
            TimeoutError: no answer within `timeout` seconds.
        """
        login = parse_auth(auth)
        links = self._fleet.links()
        if not links:
            raise NotConnectedError("not connected; call connect() first")
        await asyncio.gather(*(authenticate(link, login, timeout or None) for link in links))
        self._settings.auth = login
        self._fleet.retry_rooms()

    def reconnect(self) -> asyncio.Future[None] | None:
        """Make a new connection, to another node if there is one, then let go of the old one.

        It acts at once, also on a client that was closed.

        Returns:
            A future that ends when the new connection is ready; nobody needs to wait for it. None if one is
            being made already.

        Raises:
            NotConnectedError: never connected.
            RuntimeError: no event loop runs, and the client never ran on one.
        """
        if not self._nodes:
            raise NotConnectedError("never connected; call connect() or connect_pool() first")
        if self._outbox.closed:
            return self._begin()
        return self._loop.begin(self._fleet.move)

    def use_nodes(self, pool: Iterable[str | tuple[str, int] | Address]) -> None:
        """From now on connect to these nodes. Connections to others live on until new ones have taken over.

        Raises:
            ValueError: a bad address, or an empty pool.
        """
        nodes = [parse_address(node) for node in pool]
        if not nodes:
            raise ValueError("the pool of nodes is empty; name at least one node")
        self._nodes = nodes
        self._fleet.change(nodes)

    def set_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Have connections that are made from now on noticed so when they are silent."""
        self._settings.heartbeat = heartbeat

    def is_connected(self) -> bool:
        """Whether there is a live connection."""
        return any(link.is_live for link in self._fleet.links())

    def links(self) -> list[Link]:
        """The connections in use, one for each node."""
        return self._fleet.links()

    def in_use(self) -> Collection[Address]:
        """The nodes that there are connections to, or that are tried."""
        return self._fleet.addresses()

    def is_websocket(self) -> bool:
        """Whether the connection in use is a WebSocket."""
        link = self._fleet.link()
        return link is not None and link.address.is_websocket

    def connection_info(self) -> str:
        """The node in use, such as `node01:9200`; `disconnected` without one."""
        link = self._fleet.link()
        return "disconnected" if link is None else str(link.address)

    def close(self) -> None:
        """Close every connection; returns at once. Calls that wait for an answer fail."""
        self._ready = None
        self._fleet.close()
        self._outbox.close()

    async def wait_closed(self) -> None:
        """Return when everything is closed."""
        await self._fleet.wait_closed()

    async def close_and_wait(self) -> None:
        """`close`, then `wait_closed`."""
        self.close()
        await self.wait_closed()

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the client runs on: the one it was given, else the one it ran on last."""
        return self._loop.get()

    # -- rooms -------------------------------------------------------------------------------------------

    def get_rooms(self) -> "tuple[Room, ...]":
        """The rooms that this client hears or wants to hear."""
        listeners = [subscription.listener for subscription in self._fleet.subscriptions]
        return tuple(listener.room for listener in listeners if isinstance(listener, Membership))

    def check_open(self) -> None:
        """For what would wait for ever on a client that nobody connects.

        Raises:
            NotConnectedError: never connected, or closed.
        """
        if self._outbox.closed:
            raise NotConnectedError("not connected; call connect_pool() or reconnect() first")

    async def subscribe(self, subscription: Subscription) -> None:
        """Hear a room on every link, now and after each reconnect, until `unsubscribe`.

        Returns when every live link has tried once; what came of it is told to the listener.
        """
        await self._fleet.subscribe(subscription)

    def forget(self, subscription: Subscription) -> None:
        """Join the room no more, since it was deleted; what links still hear of it is delivered."""
        self._fleet.forget(subscription)

    def discard(self, subscription: Subscription) -> None:
        """Hear the room no more, as `unsubscribe`, but wait for no answer."""
        for link, room_id in self._fleet.discard(subscription):
            link.call(Kind.LEAVE, [subscription.scope, room_id], timeout=LEAVE_TIMEOUT)

    async def unsubscribe(self, subscription: Subscription, timeout: float | None = LEAVE_TIMEOUT) -> bool:
        """Hear the room no more; returns whether the server knew the room, or had no need to be asked."""
        return await leave(self._fleet.discard(subscription), subscription.scope, timeout)

    # -- inside ------------------------------------------------------------------------------------------

    def _start(
        self, nodes: Sequence[Address], auth: Auth | Ask | None, timeout: float | None, *, insist: bool
    ) -> asyncio.Future[None]:
        if self.is_connected() or self._ready is not None:
            raise RuntimeError("the client is connected, or connecting, already; close it first")
        settings = self._settings
        settings.auth, settings.connect_timeout = auth, timeout
        longest = min(NODE_BACKOFF.maximum, self.MAX_RECONNECT_WAIT_TIME)
        settings.backoff = replace(NODE_BACKOFF, maximum=longest)
        self._nodes, self._insist = nodes, insist
        return self._begin()

    def _begin(self) -> asyncio.Future[None]:
        """Connect to the nodes that were asked for last."""
        self._outbox.open()
        try:
            ready = self._loop.begin(self._open)
        except Exception:
            self._outbox.close()
            raise
        assert ready is not None
        self._ready = ready
        ready.add_done_callback(self._started)
        return ready

    def _open(self) -> asyncio.Future[None]:
        if self._outbox.closed:
            raise ConnectionAbortedError("the client was closed before it could connect")
        return self._fleet.start(self._nodes, insist=self._insist)

    def _started(self, ready: asyncio.Future[None]) -> None:
        """A first connection that failed, or that nobody waits for any more, is given up."""
        given_up = ready.cancelled() or ready.exception() is not None
        if ready is self._ready:
            self._ready = None
            if given_up:
                self.close()

    def _link_ready(self) -> None:
        self._outbox.flush()
