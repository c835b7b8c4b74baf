"""The connector's face: what a program calls."""

import asyncio
import random
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import Self

import tdbwatch.room  # as a module: it names `Client`, as this one names `Room`
from tdbwatch.client.addresses import DEFAULT_PORT, Address, parse_address
from tdbwatch.client.asking import Asking
from tdbwatch.client.calls import seconds
from tdbwatch.client.core import LEAVE_TIMEOUT, Core
from tdbwatch.client.links.heartbeat import Heartbeat
from tdbwatch.client.links.link import Link
from tdbwatch.client.links.observer import Observer
from tdbwatch.client.links.settings import CONNECT_TIMEOUT, Settings
from tdbwatch.client.login import Ask, Auth, parse_auth
from tdbwatch.client.rooms.membership import Membership
from tdbwatch.client.rooms.subscriptions import Subscription
from tdbwatch.client.transports import SslSetting
from tdbwatch.clock import SYSTEM_CLOCK, Clock


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
        settings = Settings(
            ssl=ssl,
            heartbeat=heartbeat or Heartbeat(),
            raw_events=raw_events,
            check_spares=check_spares,
            clock=clock,
            rng=rng or random.Random(),
            observer=observer or Observer(),
        )
        super().__init__(Core(settings, loop, connections, persistent=auto_reconnect))

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
        core, node = self.__tdbwatch__, parse_address((host, port))
        await core.connect([node], None, seconds(timeout), self.MAX_RECONNECT_WAIT_TIME, insist=False)

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
        timeout = min(CONNECT_TIMEOUT, self.MAX_RECONNECT_TIMEOUT)
        core = self.__tdbwatch__
        return core.connect(nodes, login, timeout, self.MAX_RECONNECT_WAIT_TIME, insist=True)

    async def authenticate(self, *auth: Auth | Ask, timeout: float | None = 10) -> None:
        """Log in with a token, two strings, or one pair; later connections log in the same way.

        They do so also where this one is lost or does not answer, unless the login is refused.

        Raises:
            AuthError: refused.
            NotConnectedError: there is no connection.
            TimeoutError: no answer within `timeout` seconds.
        """
        await self.__tdbwatch__.authenticate(parse_auth(auth), seconds(timeout))

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
        return self.__tdbwatch__.reconnect()

    def use_nodes(self, pool: Iterable[str | tuple[str, int] | Address]) -> None:
        """From now on connect to these nodes. Connections to others live on until new ones have taken over.

        Raises:
            ValueError: a bad address, or an empty pool.
        """
        self.__tdbwatch__.use_nodes([parse_address(node) for node in pool])

    def set_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Have connections that are made from now on noticed so when they are silent."""
        self.__tdbwatch__.settings.heartbeat = heartbeat

    def is_connected(self) -> bool:
        """Whether there is a live connection."""
        return self.__tdbwatch__.is_connected

    def links(self) -> list[Link]:
        """The connections in use, one for each node."""
        return self.__tdbwatch__.fleet.links()

    def in_use(self) -> Collection[Address]:
        """The nodes that there are connections to, or that are tried."""
        return self.__tdbwatch__.fleet.addresses()

    def is_websocket(self) -> bool:
        """Whether the connection in use is a WebSocket."""
        link = self.__tdbwatch__.fleet.link()
        return link is not None and link.address.is_websocket

    def connection_info(self) -> str:
        """The node in use, such as `node01:9200`; `disconnected` without one."""
        link = self.__tdbwatch__.fleet.link()
        return "disconnected" if link is None else str(link.address)

    def close(self) -> None:
        """Close every connection; returns at once. Calls that wait for an answer fail."""
        self.__tdbwatch__.close()

    async def wait_closed(self) -> None:
        """Return when everything is closed."""
        await self.__tdbwatch__.fleet.wait_closed()

    async def close_and_wait(self) -> None:
        """`close`, then `wait_closed`."""
        self.__tdbwatch__.close()
        await self.__tdbwatch__.fleet.wait_closed()

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the client runs on: the one it was given, else the one it ran on last."""
        return self.__tdbwatch__.loop.get()

    # -- rooms -------------------------------------------------------------------------------------------

    def get_rooms(self) -> "tuple[tdbwatch.room.Room, ...]":
        """The rooms that this client hears or wants to hear."""
        listeners = [subscription.listener for subscription in self.__tdbwatch__.fleet.subscriptions]
        return tuple(listener.room for listener in listeners if isinstance(listener, Membership))

    def check_open(self) -> None:
        """Raise `NotConnectedError` if it was never connected, or is closed."""
        self.__tdbwatch__.check_open()

    async def subscribe(self, subscription: Subscription) -> None:
        """Hear a room on every link, now and after each reconnect, until `unsubscribe`.

        Returns when every live link has tried once; what came of it is told to the listener.
        """
        await self.__tdbwatch__.fleet.subscribe(subscription)

    def forget(self, subscription: Subscription) -> None:
        """Join the room no more, since it was deleted; what links still hear of it is delivered."""
        self.__tdbwatch__.fleet.forget(subscription)

    def discard(self, subscription: Subscription) -> None:
        """Hear the room no more, as `unsubscribe`, but wait for no answer."""
        self.__tdbwatch__.discard(subscription)

    async def unsubscribe(self, subscription: Subscription, timeout: float | None = LEAVE_TIMEOUT) -> bool:
        """Hear the room no more; returns whether the server knew the room, or had no need to be asked."""
        return await self.__tdbwatch__.unsubscribe(subscription, timeout)
