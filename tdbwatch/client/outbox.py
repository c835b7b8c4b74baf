"""Where requests wait: for a connection, or to be tried again."""

import asyncio
from typing import Final

from tdbwatch.client.calls import Call
from tdbwatch.client.links.fleet import Fleet
from tdbwatch.client.links.link import Link
from tdbwatch.exceptions import NodeError, NotConnectedError
from tdbwatch.loggers import get_logger

log = get_logger("tdbwatch.client")

MAX_WAITING: Final = 10_000
"""Calls that may wait for a connection, and as many for a node to be ready; further ones fail at once."""
NODE_RETRY_WAIT: Final = 0.25
"""Seconds before a request that a node was not ready for (-51) is tried again; each later wait is longer."""
MAX_NODE_RETRY_WAIT: Final = 2.0
MOVE_EVERY: Final = 8
"""Attempts, from the second on, after which the next node is connected to: the other may be ready by now."""


class Outbox:
    """Sends calls by the fleet's link, and keeps those that cannot be sent now.

    Args:
        patient: there will be a link again, so calls may wait for it.
    """

    def __init__(self, fleet: Fleet, *, patient: bool) -> None:
        self._fleet = fleet
        self._patient = patient
        self.closed = True
        self._waiting: dict[Call, None] = {}
        self._repeated: dict[Call, asyncio.TimerHandle] = {}
        self._refused_by: Link | None = None

    def open(self) -> None:
        """Connections are being made: calls may wait."""
        self.closed = False

    def close(self) -> None:
        """Fail whatever waits: it was not executed."""
        self.closed = True
        waiting = [*self._waiting, *self._repeated]
        for call in waiting:
            self._drop(call)
            call.on_error = None
            call.failed(NotConnectedError("the client was closed before the request was sent"))

    def flush(self) -> None:
        """Send what waits."""
        waiting, self._waiting = list(self._waiting), {}
        for call in waiting:
            call.holder = None
            self.send(call)

    def send(self, call: Call) -> None:
        """Send a call now, or as soon as there is a link; if that cannot be, its future fails."""
        if call.future.done():
            return
        link = self._fleet.link(other_than=self._refused_by if call.attempts else None)
        if link is not None:
            self._send_by(link, call)
        elif self.closed or not self._patient:
            call.failed(
                NotConnectedError(
                    "not connected; the request was not sent (call connect_pool() or reconnect())"
                )
            )
        elif len(self._waiting) >= MAX_WAITING:
            call.failed(NotConnectedError(f"{MAX_WAITING} requests wait for a connection already"))
        else:
            self._waiting[call] = None
            call.holder, call.waits_for = self._drop, "a connection"

    def try_again(self, call: Call, error: Exception) -> bool:
        """A node that is not ready (-51) did not execute the request: try again, elsewhere if possible.

        Returns whether it took the call over: it is tried until its deadline, without one as long as the
        client is open, as it would wait for a connection. A node that joins its cluster takes some 12 s.
        """
        if self.closed or not self._patient or not isinstance(error, NodeError):
            return False
        if len(self._repeated) >= MAX_WAITING:
            return False
        self._complain(call, error)
        self._refused_by = self._fleet.link()
        if call.attempts % MOVE_EVERY == 2 and not self._fleet.is_alone():
            self._fleet.move()
        wait = min(MAX_NODE_RETRY_WAIT, NODE_RETRY_WAIT * call.attempts)
        self._repeated[call] = asyncio.get_running_loop().call_later(wait, self._repeat, call)
        call.holder, call.waits_for = self._drop, "a node that is ready"
        return True

    def _complain(self, call: Call, error: NodeError) -> None:
        """Once for all that are refused together, after about 2, 7, 22, ... s: it may go on for long."""
        if not self._repeated and call.attempts >= 4 and call.attempts.bit_count() == 1:
            log.warning("a request was refused %d times, and will be tried again: %s", call.attempts, error)

    def _repeat(self, call: Call) -> None:
        self._drop(call)
        call.holder = None
        self.send(call)

    def _send_by(self, link: Link, call: Call) -> None:
        try:
            link.send(call)
        except Exception as error:  # noqa: BLE001 - the caller's future is where errors go
            call.on_error = None
            call.failed(error)

    def _drop(self, call: Call) -> None:
        self._waiting.pop(call, None)
        timer = self._repeated.pop(call, None)
        if timer is not None:
            timer.cancel()
