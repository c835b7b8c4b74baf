"""Fault switches: how one embedded node can be made to misbehave, on purpose and exactly."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tdbwatch import exceptions as errors
from tdbwatch.wire import Kind

if TYPE_CHECKING:
    from tdbwatch.node.node import Node


class _Countdown:
    """For which kinds of requests a fault is armed, and how many times it is left."""

    def __init__(self) -> None:
        self._left: dict[Kind, int | None] = {}

    def arm(self, kind: Kind, count: int | None) -> None:
        self._left[kind] = count

    def clear(self) -> None:
        self._left.clear()

    def strikes(self, kind: Kind) -> bool:
        """Whether the fault hits this request; one that is counted is used up by it."""
        if kind not in self._left:
            return False
        left = self._left[kind]
        if left is not None:
            if left <= 1:
                del self._left[kind]
            else:
                self._left[kind] = left - 1
        return True


class Faults:
    """The switches of one node. A `count` of None means until `clear()`.

    Attributes:
        delay: seconds to wait, on the cluster's clock, before each request is handled and answered.
        refuse_connections: new connections are closed as soon as they are accepted.
        deaf: the node answers everything but delivers no emits: the socket lives, delivery does not.
        lag: seconds, on the cluster's clock, that emits of other nodes take to this one, or a function that
            returns them for each. The order of each emitting node is kept.
        omit_scope: room pushes carry no `scope`, as from servers before 1.8.6.
    """

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._refusals: dict[Kind, errors.ThingsDBError] = {}
        self._refuse = _Countdown()
        self._drop = _Countdown()
        self._close = _Countdown()
        self._frozen = False
        self.delay = 0.0
        self.lag: float | Callable[[], float] = 0.0
        self.refuse_connections = False
        self.omit_scope = False
        self.deaf = False

    @property
    def frozen(self) -> bool:
        return self._frozen

    def freeze(self) -> None:
        """As a process that got SIGSTOP: sockets stay and are accepted, nothing is read or sent."""
        self._frozen = True
        for connection in self._node.clients:
            connection.pause()

    def thaw(self) -> None:
        """Go on; what was held back is sent now."""
        self._frozen = False
        for connection in self._node.clients:
            connection.resume()

    def refuse(self, kind: Kind, count: int | None = None, error: errors.ThingsDBError | None = None) -> None:
        """Answer requests of this kind with `error` (-51 by default) and do not execute them.

        Raises:
            ValueError: no error can answer this kind (PING).
        """
        if kind is Kind.PING:
            raise ValueError("a PING has no answer but PONG; use drop_answers")
        self._refusals[kind] = error or errors.NodeError("node is temporary unable to handle the request")
        self._refuse.arm(kind, count)

    def drop_answers(self, kind: Kind, count: int | None = 1) -> None:
        """Execute requests of this kind but never answer them."""
        self._drop.arm(kind, count)

    def close_on(self, kind: Kind, count: int | None = 1) -> None:
        """Execute requests of this kind, then close the connection instead of answering."""
        self._close.arm(kind, count)

    def close_connections(self) -> None:
        """Cut all connections now; the node goes on."""
        for connection in self._node.clients:
            connection.abort()

    def send_raw(self, data: bytes) -> None:
        """Send any bytes to every client."""
        for connection in self._node.clients:
            connection.send(data)

    def clear(self) -> None:
        """Behave again, from now on."""
        for countdown in (self._refuse, self._drop, self._close):
            countdown.clear()
        self.delay = self.lag = 0.0
        self.refuse_connections = self.omit_scope = self.deaf = False
        self.thaw()

    def refusal(self, kind: Kind) -> errors.ThingsDBError | None:
        """The error that this request gets instead of being executed, if any."""
        return self._refusals[kind] if self._refuse.strikes(kind) else None

    def closes(self, kind: Kind) -> bool:
        """Whether the answer to this request is replaced by closing the connection."""
        return self._close.strikes(kind)

    def drops(self, kind: Kind) -> bool:
        """Whether the answer to this request is not sent."""
        return self._drop.strikes(kind)
