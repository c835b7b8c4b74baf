"""What comes back over a connection, where aiohttp makes nothing of it: the status line decides."""

import asyncio
import re
from contextvars import ContextVar
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

MOST_AGE: Final = 300.0
"""Seconds that a connection is used for; then the name is asked for again, and may lead elsewhere."""

_MOST_HEAD: Final = 4096
"""Bytes in which the status line must be."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})(?:[ \r\n])")
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")

CARRIER: Final[ContextVar["list[Receiver] | None"]] = ContextVar("CARRIER", default=None)
"""Where a request notes which connection it went over."""


class Receiver(ResponseHandler):
    """One connection. Remembers how the answer begins, and how old it is itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._began = loop.time()
        self._now = loop.time
        self._head = b""

    def data_received(self, data: bytes) -> None:
        if len(self._head) < _MOST_HEAD:
            self._head += data[: _MOST_HEAD - len(self._head)]
        super().data_received(data)

    def forget(self) -> None:
        """Another request goes out: what came before is not its answer."""
        self._head = b""

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return self._now() - self._began

    @property
    def status(self) -> int | None:
        """What the answer's status line says, past interim answers (1xx); None: there is none."""
        at = 0
        while (line := _STATUS_LINE.match(self._head, at)) is not None:
            status = int(line[1])
            if status >= 200:
                return status
            end = _END_OF_HEAD.search(self._head, line.end())
            if end is None:
                return None
            at = end.end()
        return None


class Connector(aiohttp.TCPConnector):
    """Makes such connections."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self._factory = lambda: Receiver(self._loop)  # type: ignore[assignment]


class Request(aiohttp.ClientRequest):
    """Uses no connection on which the receiver spoke unasked, and none that is too old.

    What it said is no answer to this request (RFC 9112, 9.2).
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        receiver, carrier = conn.protocol, CARRIER.get()
        if isinstance(receiver, Receiver):
            if receiver.should_close or receiver.age > MOST_AGE:
                raise aiohttp.ServerDisconnectedError("the connection is not used any more")
            receiver.forget()
            if carrier is not None:
                carrier.append(receiver)
        return await super().send(conn)
