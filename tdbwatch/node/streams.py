"""What lies between a socket and the frames: nothing, or WebSocket messages. No I/O."""

from typing import Protocol

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from tdbwatch.wire.frames import DEFAULT_MAX_BODY, HEADER_SIZE, MAX_BEFORE_LOGIN

_DATA = frozenset({Opcode.BINARY, Opcode.CONT})


class Stream(Protocol):
    """Unwraps what was received and wraps what is to be sent."""

    @property
    def finished(self) -> bool:
        """Whether the socket must be closed once `reply` is sent."""
        ...

    def received(self, data: bytes) -> bytes:
        """The frames' bytes in what came from the socket."""
        ...

    def reply(self) -> bytes:
        """What the wrapping itself has to send now (a handshake, a pong)."""
        ...

    def wrap(self, frames: list[bytes]) -> bytes:
        """The bytes that carry these frames."""
        ...

    def trust(self) -> None:
        """The client has logged in: what it sends may be large."""
        ...


class PlainStream:
    """TCP and UNIX sockets: frames follow each other."""

    finished = False

    def received(self, data: bytes) -> bytes:
        return data

    def reply(self) -> bytes:
        return b""

    def wrap(self, frames: list[bytes]) -> bytes:
        return b"".join(frames)

    def trust(self) -> None:
        """Nothing: what is not complete waits elsewhere."""


class WebSocketStream:
    """WebSocket: one frame per binary message."""

    def __init__(self) -> None:
        self._protocol = ServerProtocol(max_size=MAX_BEFORE_LOGIN + HEADER_SIZE)

    @property
    def finished(self) -> bool:
        return self._protocol.close_expected() or self._protocol.handshake_exc is not None

    def received(self, data: bytes) -> bytes:
        self._protocol.receive_data(data)
        payloads: list[bytes] = []
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame):
                payloads.append(self._payload(event))
        return b"".join(payloads)

    def _payload(self, message: Frame) -> bytes:
        if message.opcode is Opcode.TEXT:
            self._protocol.fail(CloseCode.UNSUPPORTED_DATA, "binary messages only")
        return bytes(message.data) if message.opcode in _DATA else b""

    def reply(self) -> bytes:
        return b"".join(self._protocol.data_to_send())

    def wrap(self, frames: list[bytes]) -> bytes:
        if self._protocol.state is not State.OPEN:
            return b""
        for frame in frames:
            self._protocol.send_binary(frame)
        return self.reply()

    def trust(self) -> None:
        self._protocol.max_message_size = DEFAULT_MAX_BODY + HEADER_SIZE
