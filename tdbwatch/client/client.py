"""The connector's face: what a program calls."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

from tdbwatch.client.addresses import DEFAULT_PORT, Address, parse_address
from tdbwatch.client.admin import Admin
from tdbwatch.client.calls import Call
from tdbwatch.client.keeper import Auth, Keeper, Settings, authenticate
from tdbwatch.client.link import Heartbeat, Link
from tdbwatch.client.observer import Observer
from tdbwatch.client.pool import NodePool
from tdbwatch.client.rooms import Subscription
from tdbwatch.client.transports import SslSetting
from tdbwatch.clock import SYSTEM_CLOCK, Clock
from tdbwatch.exceptions import NodeError, NotConnectedError
from tdbwatch.wire import Kind

if TYPE_CHECKING:
    from tdbwatch.room import Room

log = logging.getLogger("tdbwatch.client")

MAX_WAITING: Final = 10_000
"""Calls that may wait for a connection; further ones fail at once."""
NODE_RETRIES: Final = 8
"""How often a request that a node was not ready for (-51) is tried again."""
NODE_RETRY_WAIT: Final = 0.25
"""Seconds before the first of these; each later one waits longer."""


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
        self._auto_reconnect = auto_reconnect
        self._connections = connections
        self._settings = Settings(
            ssl=ssl,
            heartbeat=heartbeat or Heartbeat(),
            raw_events=raw_events,
            clock=clock,
            rng=rng or random.Random(),
            observer=observer or Observer(),
        )
        self._scope = "@t"
        self._keepers: list[Keeper] = []
        self._subscriptions: dict[Subscription, None] = {}
        self._waiting: deque[Call] = deque()
        self._closed = False

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
        self._settings.connect_timeout = timeout
        self._settings.auth = None
        await self._start([parse_address((host, port))], insist=False)

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
        self._settings.auth = parse_auth(auth)
        return self._start([parse_address(node) for node in pool], insist=True)

    async def authenticate(self, *auth: str | tuple[str, str], timeout: float | None = 5) -> None:
        """Log in with a token, two strings, or one pair; later connections log in the same way.

        Raises:
            AuthError: refused.
            NotConnectedError: there is no connection.
            RequestTimeoutError: no answer within `timeout` seconds.
        """
        login = parse_auth(auth)
        links = [keeper.link for keeper in self._keepers if keeper.link is not None]
        if not links:
            raise NotConnectedError("not connected; call connect() first")
        for link in links:
            await authenticate(link, login, timeout)
        self._settings.auth = login

    def reconnect(self) -> asyncio.Future[None] | None:
        """Make a new connection, to another node if there is one, then let go of the old one.

        Returns:
            A future that ends when the new connection is ready, or None if one is being made already.
        """
        if not self._keepers:
            raise NotConnectedError("never connected; call connect() or connect_pool() first")
        return self._keepers[0].move()

    def is_connected(self) -> bool:
        """Whether there is a live connection."""
        return any(keeper.is_live for keeper in self._keepers)

    def links(self) -> "list[Link]":
        """The connections in use, one for each node."""
        return [keeper.link for keeper in self._keepers if keeper.link is not None]

    def is_websocket(self) -> bool:
        """Whether the connection in use is a WebSocket."""
        link = self._link()
        return link is not None and link.address.is_websocket

    def connection_info(self) -> str:
        """The node in use, such as `node01:9200`; `disconnected` without one."""
        link = self._link()
        return "disconnected" if link is None else str(link.address)

    def close(self) -> None:
        """Close every connection; returns at once. Calls that wait for an answer fail."""
        self._closed = True
        for keeper in self._keepers:
            keeper.close()
        waiting, self._waiting = list(self._waiting), deque()
        for call in waiting:
            call.failed(NotConnectedError("the client was closed before the request was sent"))

    async def wait_closed(self) -> None:
        """Return when everything is closed."""
        for keeper in self._keepers:
            await keeper.wait_closed()

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
        return tuple(dict.fromkeys(cast("Room", s.listener) for s in self._subscriptions))

    async def subscribe(self, subscription: Subscription) -> None:
        """Hear a room on every link, now and after each reconnect, until `unsubscribe`.

        Returns when every live link has tried once; what came of it is told to the listener.
        """
        self._subscriptions[subscription] = None
        joiners = [keeper.joiner for keeper in self._keepers if keeper.is_live]
        await asyncio.gather(*(joiner.join_one(subscription) for joiner in joiners if joiner is not None))

    async def unsubscribe(self, subscription: Subscription, timeout: float | None = 10) -> bool:
        """Hear the room no more; returns whether the server knew the room, or had no need to be asked."""
        self._subscriptions.pop(subscription, None)
        subscription.ended = True
        known = True
        for link, room_id in list(subscription.links.items()):
            joiner = next((k.joiner for k in self._keepers if k.link is link), None)
            if joiner is not None and joiner.discard(subscription) and link.is_live:
                ids = await link.call(Kind.LEAVE, [subscription.scope, room_id], timeout=timeout)
                known = ids != [None]
        return known

    # -- KeeperOwner -------------------------------------------------------------------------------------

    def in_use(self) -> Collection[Address]:
        return [address for keeper in self._keepers for address in keeper.addresses]

    def subscriptions(self) -> Iterable[Subscription]:
        return tuple(self._subscriptions)

    def link_ready(self) -> None:
        waiting, self._waiting = list(self._waiting), deque()
        for call in waiting:
            call.holder = None
            self._send(call)

    # -- inside ------------------------------------------------------------------------------------------

    def _start(self, addresses: Sequence[Address], *, insist: bool) -> asyncio.Future[None]:
        if any(keeper.is_live for keeper in self._keepers):
            raise RuntimeError("the client is connected already; close it first")
        self.close()
        self._closed = False
        pool = NodePool(addresses, self._settings.rng)
        count = max(1, min(self._connections, len(pool)))
        self._settings.merging = count > 1
        self._keepers = [
            Keeper(self, pool, self._settings, persistent=self._auto_reconnect) for _ in range(count)
        ]
        return first_of([keeper.start(insist=insist) for keeper in self._keepers])

    def _link(self) -> Link | None:
        """The link that requests go to: preferably of a node that stays."""
        live = [keeper.link for keeper in self._keepers if keeper.link is not None and keeper.link.is_live]
        return next((link for link in live if not link.leaving), live[0] if live else None)

    def _submit(self, kind: Kind, body: Any, timeout: float | None) -> asyncio.Future[Any]:
        call = Call(kind, body, timeout or None, on_error=self._tried_again)
        self._send(call)
        return call.future

    def _send(self, call: Call) -> None:
        if call.future.done():
            return
        link = self._link()
        if link is not None:
            try:
                link.send(call)
            except Exception as error:  # noqa: BLE001 - the caller's future is where errors go
                call.on_error = None
                call.failed(error)
        elif self._closed or not self._keepers or not self._auto_reconnect:
            call.failed(NotConnectedError("not connected; the request was not sent"))
        elif len(self._waiting) >= MAX_WAITING:
            call.failed(NotConnectedError(f"{MAX_WAITING} requests wait for a connection already"))
        else:
            self._waiting.append(call)
            call.holder = self._waiting_ended

    def _waiting_ended(self, call: Call) -> None:
        if call in self._waiting:
            self._waiting.remove(call)

    def _tried_again(self, call: Call, error: Exception) -> bool:
        """A node that is not ready (-51) did not execute the request: try again, elsewhere if possible."""
        if not isinstance(error, NodeError) or not self._auto_reconnect or call.attempts > NODE_RETRIES:
            return False
        if call.attempts == 2 and not any(k.link is not None and k.link.leaving for k in self._keepers):
            self.reconnect()
        wait = NODE_RETRY_WAIT * call.attempts
        asyncio.get_running_loop().call_later(wait, self._send, call)
        return True


def first_of(futures: Sequence[asyncio.Future[None]]) -> asyncio.Future[None]:
    """Ends with whichever ends first, well or not: one link is enough, one refused login is too."""
    if len(futures) == 1:
        return futures[0]
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(future: asyncio.Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if first.done():
            return
        if error is None:
            first.set_result(None)
        else:
            first.set_exception(error)

    for future in futures:
        future.add_done_callback(ended)
    return first


def parse_auth(auth: Sequence[Any]) -> Auth:
    """A login, from a token, two strings or one pair.

    Raises:
        ValueError: neither; the message does not show what was given.
    """
    if len(auth) == 1 and isinstance(auth[0], str):
        return auth[0]
    if len(auth) == 1 and isinstance(auth[0], tuple | list):
        auth = auth[0]
    if len(auth) == 2 and all(isinstance(part, str) for part in auth):
        return (auth[0], auth[1])
    raise ValueError("to log in, give a token, or user and password as two strings or one pair")
