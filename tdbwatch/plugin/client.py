"""What a sink asks ThingsDB, by the connection that the daemon has.

Every call may come from any event loop and any thread, and the daemon's own loop is never made to wait. What
is sent is copied where it is called: no code of a plugin runs in the daemon's loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent import futures
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from tdbwatch.exceptions import EncodeError, NotConnectedError
from tdbwatch.plugin.event import Event
from tdbwatch.wire.codec import BodyError, decode, encode

if TYPE_CHECKING:
    from tdbwatch.client.asking import Asking

MOST_HOPS: Final = 8
"""Emits of sinks that may follow from each other: the event of so many hops leads to no further one."""
MOST_BYTES: Final = 10_000_000
"""Bytes that one call may send, as MessagePack."""

_T = TypeVar("_T")
Ask = Callable[["Asking", float], Awaitable[Any]]
"""What is called in the daemon's loop, with its connector and the call's timeout."""


class LoopError(Exception):
    """The emit would be one more round of a loop: what it follows from was emitted by sinks again and again.

    To try it again cannot help, so nobody need catch it: the event is rejected. Where `deliver` has several
    events it means a retry, after which they come one by one.
    """


class Way(Protocol):
    """How calls get to the daemon's connector."""

    def begin(self, ask: Ask, timeout: float | None) -> "futures.Future[Any]":
        """Have `ask` called in the daemon's loop. Cancelling the future cancels it."""

    def emit(self, room: int | str, event: str, args: list[Any], scope: str | None, hops: int) -> Ask:
        """What emits, and has the event count as one of `hops` when it is heard."""

    def may_block(self) -> bool:
        """Whether the calling thread is none that the daemon needs."""


class NoWay:
    """Where there is no daemon, as in most tests."""

    def begin(self, ask: Ask, timeout: float | None) -> "futures.Future[Any]":  # noqa: ARG002
        raise NotConnectedError("there is no connection to ThingsDB here; in a test, give it client=")

    def emit(self, room: int | str, event: str, args: list[Any], scope: str | None, hops: int) -> Ask:  # noqa: ARG002
        return lambda client, timeout: client.emit(room, event, *args, scope=scope, timeout=timeout)

    def may_block(self) -> bool:
        return True


class delivering:  # noqa: N801 - read as `with delivering(events):`; a generator would cost three times as much
    """What is emitted within, also by tasks that begin there and end before it, follows from these events."""

    __slots__ = ("_token", "events")

    def __init__(self, events: Sequence[Event]) -> None:
        self.events: Sequence[Event] | None = events

    def __enter__(self) -> None:
        self._token = _now.set(self)

    def __exit__(self, *_: object) -> None:
        _now.reset(self._token)
        self.events = None


_now: Final[ContextVar[delivering | None]] = ContextVar("tdbwatch_delivering", default=None)


class _OfTheDelivery:
    """The cause that is meant where none is named."""

    def __repr__(self) -> str:
        return "<the events of the delivery>"


OF_THE_DELIVERY: Final = _OfTheDelivery()


class SinkClient:
    """Asks ThingsDB, as `tdbwatch.client.Client` does, by the daemon's connections and with its rights.

    The scope of calls that name none is `thingsdb.scope`. Each call has a deadline: `timeout` in seconds,
    else the sink's. A sink has 100 calls under way at most; further ones wait for their turn.

    Raises (each call):
        ThingsDBError: what the server answered, by class and code (`tdbwatch.exceptions`).
        TimeoutError: no answer within the deadline; the call may have been executed or not.
        EncodeError: ThingsDB has no type for a value, or it is too large. Nothing was sent.
        ConnectionLostError: the connection died meanwhile; the call may have been executed or not.
        NotConnectedError: nothing was sent: the daemon is stopping, or too many calls wait already.
    """

    def __init__(self, way: Way | None = None) -> None:
        self._way: Way = way or NoWay()
        self.blocking = BlockingClient(self)
        """The same calls for plain functions: they return the result, and block the thread until then."""

    async def query(
        self, code: str, scope: str | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Any:
        """Run ThingsDB code with these variables, and return its result."""
        return await self._asked(_query(code, scope, kwargs), timeout)

    async def run(
        self,
        procedure: str,
        *args: Any,
        scope: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run a procedure, with arguments by position or by name, not both; return its result."""
        return await self._asked(_run(procedure, args, scope, kwargs), timeout)

    async def emit(
        self,
        room: int | str,
        event: str,
        *args: Any,
        scope: str | None = None,
        timeout: float | None = None,
        cause: Event | _OfTheDelivery | None = OF_THE_DELIVERY,
    ) -> None:
        """Emit an event to a room, by its id or name.

        Args:
            cause: the event that it follows from, so that no loop runs away; None: it follows from none. By
                default those that are being delivered.

        Raises:
            LoopError: `cause` came about by 8 emits of sinks already.
            ValueError: nothing is being delivered, and no cause is named.
        """
        await self._asked(self._emit(room, event, args, scope, cause), timeout)

    async def _asked(self, ask: Ask, timeout: float | None) -> Any:
        return await asyncio.wrap_future(self._way.begin(ask, timeout))

    def _blocked(self, ask: Ask, timeout: float | None) -> Any:
        if not self._way.may_block():
            raise RuntimeError("this would block tdbwatch's own event loop; use the call with await")
        return self._way.begin(ask, timeout).result()

    def _emit(
        self,
        room: int | str,
        event: str,
        args: tuple[Any, ...],
        scope: str | None,
        cause: Event | _OfTheDelivery | None,
    ) -> Ask:
        hops = _hops_of(cause)
        if hops >= MOST_HOPS:
            raise LoopError(
                f"{event!r} is not emitted to {room!r}: it follows from an event that came about by {hops} "
                "emits of sinks already"
            )
        return self._way.emit(room, event, _copied(list(args)), scope, hops + 1)


class BlockingClient:
    """`SinkClient` for plain functions. Not for sinks with `threaded=False`: they would block tdbwatch."""

    def __init__(self, client: SinkClient) -> None:
        self._client = client

    def query(self, code: str, scope: str | None = None, timeout: float | None = None, **kwargs: Any) -> Any:
        """As `SinkClient.query`."""
        return self._client._blocked(_query(code, scope, kwargs), timeout)  # noqa: SLF001

    def run(
        self,
        procedure: str,
        *args: Any,
        scope: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `SinkClient.run`."""
        return self._client._blocked(_run(procedure, args, scope, kwargs), timeout)  # noqa: SLF001

    def emit(
        self,
        room: int | str,
        event: str,
        *args: Any,
        scope: str | None = None,
        timeout: float | None = None,
        cause: Event | _OfTheDelivery | None = OF_THE_DELIVERY,
    ) -> None:
        """As `SinkClient.emit`."""
        client = self._client
        client._blocked(client._emit(room, event, args, scope, cause), timeout)  # noqa: SLF001


def _query(code: str, scope: str | None, kwargs: dict[str, Any]) -> Ask:
    sent = _copied(kwargs)
    return lambda client, timeout: client.query(code, scope, timeout, **sent)


def _run(procedure: str, args: tuple[Any, ...], scope: str | None, kwargs: dict[str, Any]) -> Ask:
    if args and kwargs:
        raise ValueError("a procedure takes arguments by position or by name, not both")
    by_place, by_name = _copied((list(args), kwargs))
    return lambda client, timeout: client.run(procedure, *by_place, scope=scope, timeout=timeout, **by_name)


def _copied(values: _T) -> _T:
    """Plain values that nobody else holds, so that the daemon's loop can encode them."""
    packed = encode(values)
    if len(packed) > MOST_BYTES:
        raise EncodeError(f"the values take {len(packed):,} bytes; {MOST_BYTES:,} are allowed")
    try:
        return decode(packed)  # type: ignore[no-any-return]
    except BodyError as error:
        raise EncodeError(f"ThingsDB cannot take these values: {error}") from error


def _hops_of(cause: Event | _OfTheDelivery | None) -> int:
    if isinstance(cause, _OfTheDelivery):
        mark = _now.get()
        if mark is None or mark.events is None:
            raise ValueError(
                "nothing is being delivered, so it is not known what this emit follows from; "
                "add cause=EVENT, or cause=None if it follows from no event"
            )
        return max((event.hops for event in mark.events), default=0)
    return cause.hops if cause is not None else 0
