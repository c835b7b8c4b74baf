"""WebSocket: one frame per binary message, by the `websockets` library's sans-I/O protocol."""

import asyncio
import contextlib
import ssl as ssl_module
from dataclasses import replace
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tdbwatch.client.addresses import Address
from tdbwatch.client.transports.base import Receiver, Wire
from tdbwatch.client.transports.dialing import dial
from tdbwatch.client.words import words
from tdbwatch.wire.frames import DEFAULT_MAX_BODY, HEADER_SIZE, MAX_BEFORE_LOGIN

MAX_PONGS: Final = 1024 * 1024
"""Bytes of answers to a node's pings that it may leave unread."""


class WebSocketWire(Wire, asyncio.Protocol):
    """Feeds the messages of a WebSocket to the receiver, as if they were pieces of one stream."""

    def __init__(self, address: Address, receiver: Receiver) -> None:
        super().__init__(receiver)
        uri = parse_uri(str(replace(address, host=address.peer)))
        self._protocol = ClientProtocol(uri, max_size=MAX_BEFORE_LOGIN + HEADER_SIZE)
        self._pongs = 0
        self._lost: Exception | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._handshake_done()
            elif isinstance(event, Frame) and event.opcode in {Opcode.BINARY, Opcode.CONT}:
                self._receiver.data_received(bytes(event.data))
        self._answer()
        if self._protocol.close_expected() and self._transport is not None:
            self._transport.close()

    def _answer(self) -> None:
        """Send what the library has to say to what came, if the node reads it."""
        if self.backlog() == 0:
            self._pongs = 0
        self._pongs += self._flush()
        if self._pongs > MAX_PONGS:
            self._lost = ConnectionAbortedError("it pings, and does not read the answers")
            self.abort()

    def eof_received(self) -> bool:
        self._protocol.receive_eof()
        self._flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionResetError("closed during the WebSocket handshake"))
        self._receiver.connection_lost(self._lost or exc)

    def trust(self) -> None:
        self._protocol.max_message_size = DEFAULT_MAX_BODY + HEADER_SIZE

    def write(self, data: bytes) -> None:
        with contextlib.suppress(WebSocketException):  # closing already: the loss is told by connection_lost
            self._protocol.send_binary(data)
        self._flush()

    def close(self) -> None:
        with contextlib.suppress(WebSocketException):
            self._protocol.send_close(1000)
        self._flush()
        super().close()

    def _handshake_done(self) -> None:
        if self.opened.done():
            return
        error = self._protocol.handshake_exc
        if error is None:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(
                ConnectionRefusedError(f"the WebSocket handshake failed: {words(error)}")
            )

    def _flush(self) -> int:
        """Send what there is; returns how many bytes."""
        if self._transport is None or self._transport.is_closing():
            return 0
        sent = 0
        for data in self._protocol.data_to_send():
            sent += len(data)
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
        return sent


async def open_websocket(
    address: Address, receiver: Receiver, context: ssl_module.SSLContext | None, turn: int = 0
) -> Wire:
    """Connect and do the handshake; `wss` verifies certificates unless a context says otherwise.

    Raises:
        OSError: the node cannot be reached, or what listens there is no WebSocket.
    """
    tls = (context or ssl_module.create_default_context()) if address.scheme == "wss" else None
    wire = await dial(lambda: WebSocketWire(address, receiver), address, tls, turn)
    try:
        await wire.opened
    except BaseException:
        wire.opened.cancel()
        wire.abort()
        raise
    return wire
