"""The connector's face: what a program calls."""

import asyncio
import random
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from tdbwatch.client.addresses import DEFAULT_PORT, Address, parse_address
from tdbwatch.client.admin import Admin
from tdbwatch.client.calls import Call
from tdbwatch.client.fleet import Fleet, leave
from tdbwatch.client.link import Heartbeat, Link
from tdbwatch.client.login import Auth, authenticate, parse_auth
from tdbwatch.client.membership import Membership
from tdbwatch.client.observer import Observer
from tdbwatch.client.outbox import Outbox
from tdbwatch.client.rooms import Subscription
from tdbwatch.client.settings import CONNECT_TIMEOUT, Settings
from tdbwatch.client.transports import SslSetting
from tdbwatch.client.turns import Turns
from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.exceptions import NotConnectedError
from tdbwatch.wire import Kind

if TYPE_CHECKING:
    from tdbwatch.room import Room


LEAVE_TIMEOUT: Final = 10.0
"""Seconds for a node to answer that a room was left."""


class Client(Admin):
    """A connection to ThingsDB that heals itself.

    Args:
        auto_reconnect: make a new connection when one is lost, and move when a node shuts down.
        ssl: TLS for TCP and `wss://`. True verifies the certificate and the host name; a context of your
            own is taken as it is.
        loop: kept for python-thingsdb's sake; the running loop is used.
        connections: how many nodes to be connected to at once; every room is joined on each.
        heartbeat: how a silent node is noticed.
        clock: the time, for tests.
        rng: chance, for tests.
        observer: told of connections and of nodes.
        raw_events: rooms get `RawEmit`, whose arguments are not decoded.
    """

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
    ) -> None:
        self._loop = loop
        self._settings = Settings(
            ssl=ssl,
            heartbeat=heartbeat or Heartbeat(),
            raw_events=raw_events,
            clock=clock,
            rng=rng or random.Random(),
            observer=observer or Observer(),
        )
        self._scope = "@t"
        self._fleet = Fleet(self._settings, connections, auto_reconnect, self._link_ready)
        self.turns = Turns()
        self._outbox = Outbox(self._fleet, patient=auto_reconnect)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_and_wait()

    # -- connecting --------------------------------------------------------------------------------------

    async def connect(self, host: str, port: int = DEFAULT_PORT, timeout: float | None = 5) -> None:
        """Connect to one node. `host` may be a name, an address, or a URI, which names its own port.

        Raises:
            OSError: the node cannot be reached within `timeout` seconds.
            ValueError: `host` or `port` is no address.
        """
        address = parse_address((host, port))
        await self._start([address], None, timeout or None, insist=False)

    def connect_pool(
        self, pool: Iterable[str | tuple[str, int] | Address], *auth: str | tuple[str, str]
    ) -> asyncio.Future[None]:
        """Connect to a node of the pool, chosen at random, and authenticate; keep trying until it works.

        Args:
            pool: `host`, `host:port`, `ws://...`, `wss://...`, `unix:///path`, or (host, port).
            auth: a token; or user and password, as two strings or one pair.

        Raises:
            ValueError: a bad address, an empty pool, or auth that is neither.
            AuthError: from the future: the login is refused.
        """
        login = parse_auth(auth)
        return self._start([parse_address(node) for node in pool], login, CONNECT_TIMEOUT, insist=True)

    async def authenticate(self, *auth: str | tuple[str, str], timeout: float | None = 5) -> None:
        """Log in with a token, two strings, or one pair; later connections log in the same way.

        Raises:
            AuthError: refused.
            NotConnectedError: there is no connection.
            RequestTimeoutError: no answer within `timeout` seconds.
        """
        login = parse_auth(auth)
        links = self._fleet.links()
        if not links:
            raise NotConnectedError("not connected; call connect() first")
        await asyncio.gather(*(authenticate(link, login, timeout or None) for link in links))
        self._settings.auth = login
        self._fleet.retry_rooms()

    async def reconnect(self) -> asyncio.Future[None] | None:
        """Make a new connection, to another node if there is one, then let go of the old one.

        Returns:
            A future that ends when the new connection is ready; nobody needs to wait for it. None if one is
            being made already.

        Raises:
            NotConnectedError: never connected, or closed.
        """
        return self._fleet.move()

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
        self._fleet.close()
        self._outbox.close()

    async def wait_closed(self) -> None:
        """Return when everything is closed."""
        await self._fleet.wait_closed()

    async def close_and_wait(self) -> None:
        """`close`, then `wait_closed`."""
        self.close()
        await self.wait_closed()

    # -- asking ------------------------------------------------------------------------------------------

    def get_default_scope(self) -> str:
        """The scope of queries that name none."""
        return self._scope

    def set_default_scope(self, scope: str) -> None:
        """Change the default scope, at first `@t`. Write for instance `//stuff` or `@:stuff`."""
        if not scope.startswith(("@", "/")):
            raise ValueError(f"{scope!r} is no scope; scopes start with @ or /, such as //stuff")
        self._scope = scope

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the client runs on."""
        return self._loop or asyncio.get_running_loop()

    def query(
        self,
        code: str,
        scope: str | None = None,
        timeout: float | None = None,
        skip_strip_code: bool = False,
        **kwargs: Any,
    ) -> asyncio.Future[Any]:
        """Run code. It is sent in this call; the future that is returned ends with its result.

        Args:
            code: ThingsDB code; white space around it is cut off unless `skip_strip_code`.
            scope: where to run it, by default `get_default_scope()`.
            timeout: seconds until `RequestTimeoutError`; None waits as long as the connection lives.
            kwargs: variables for the code.

        Raises:
            ThingsDBError: what the code raised, by class and code.
            ConnectionLostError: the connection died meanwhile; the code may have run or not.
            NotConnectedError: there is no connection, and none is being made. The code did not run.
        """
        body = [scope or self._scope, code if skip_strip_code else code.strip()]
        if kwargs:
            body.append(kwargs)  # type: ignore[arg-type]
        return self._submit(Kind.QUERY, body, timeout)

    def run(
        self,
        procedure: str,
        *args: Any,
        scope: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> asyncio.Future[Any]:
        """Run a procedure, with arguments by position or by name, not both. Else as `query`."""
        if args and kwargs:
            raise ValueError("a procedure takes arguments by position or by name, not both")
        body: list[Any] = [scope or self._scope, procedure]
        if args or kwargs:
            body.append(list(args) or kwargs)
        return self._submit(Kind.RUN, body, timeout)

    def emit(
        self,
        room: int | str,
        event: str,
        *args: Any,
        scope: str | None = None,
        peers_only: bool = False,
        timeout: float | None = None,
    ) -> asyncio.Future[None]:
        """Emit an event to a room, by its id or name; `peers_only` leaves this connection out."""
        kind = Kind.EMIT_PEER if peers_only else Kind.EMIT
        return self._submit(kind, [scope or self._scope, room, event, *args], timeout)

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
        if not self._fleet.started:
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
        self, addresses: Sequence[Address], auth: Auth | None, timeout: float | None, *, insist: bool
    ) -> asyncio.Future[None]:
        if self.is_connected():
            raise RuntimeError("the client is connected already; close it first")
        self._settings.auth, self._settings.connect_timeout = auth, timeout
        self._outbox.open()
        ready = self._fleet.start(addresses, insist=insist)
        ready.add_done_callback(self._started)
        return ready

    def _started(self, ready: asyncio.Future[None]) -> None:
        """A first connection that failed, or that nobody waits for any more, is given up."""
        if ready.cancelled() or ready.exception() is not None:
            self.close()

    def _link_ready(self) -> None:
        self._outbox.flush()

    def _submit(self, kind: Kind, body: Any, timeout: float | None) -> asyncio.Future[Any]:
        call = Call(kind, body, timeout or None, on_error=self._outbox.try_again)
        self._outbox.send(call)
        return call.future
