"""The state of one connection, without the connection: what is outstanding, what may be said next.

Both roles share the framing, the limits and the table `ANSWERS`. Receiving never raises for what the peer
did: a frame that cannot be used is reported as `Skipped` or `Unknown`; a stream that cannot be used any more
sets `error`, and the connection must be closed. Saying something that breaks the protocol raises
`LocalProtocolError` and changes nothing.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tdbwatch.exceptions import LocalProtocolError, ProtocolError
from tdbwatch.wire.codec import BodyError, decode, encode
from tdbwatch.wire.frames import (
    DEFAULT_MAX_BODY,
    UNDECODABLE,
    Frame,
    FrameDecoder,
    Lane,
    Take,
    encode_frame,
    tail_of,
)
from tdbwatch.wire.kinds import ANSWERS, BODILESS, PUSH_ID, PUSHES, REQUESTS, RESPONSES, Kind
from tdbwatch.wire.messages import (
    Emit,
    NodeStatus,
    Push,
    RawEmit,
    Request,
    Response,
    RoomDelete,
    RoomJoin,
    RoomLeave,
    Skipped,
    Unknown,
    Warn,
)
from tdbwatch.wire.salvage import salvage

Heard = Push | Response | Skipped | Unknown
"""What a client can hear."""

_PUSH_DECODERS: Final = {
    kind: msgspec.msgpack.Decoder(push_type).decode
    for kind, push_type in {
        Kind.NODE_STATUS: NodeStatus,
        Kind.WARN: Warn,
        Kind.ROOM_JOIN: RoomJoin,
        Kind.ROOM_LEAVE: RoomLeave,
        Kind.ROOM_DELETE: RoomDelete,
    }.items()
}
_EMIT_TAIL: Final = tail_of(PUSH_ID, Kind.ROOM_EMIT)


class _Session:
    """What both roles share: the decoder, and the failure that ends the connection."""

    def __init__(self, frames: FrameDecoder) -> None:
        self._frames = frames
        self.error: ProtocolError | None = None

    @property
    def max_body(self) -> int:
        """Bytes that a body may have."""
        return self._frames.max_body

    @max_body.setter
    def max_body(self, size: int) -> None:
        self._frames.max_body = size

    def completes(self, size: int) -> bool:
        """Whether so many more bytes end the frame, or the header, that has begun."""
        return self._frames.completes(size)

    def _feed(self, data: bytes, take: Take, append: Callable[[Any], None]) -> None:
        if self.error is not None:
            return
        self._frames.sort(data, take, append)
        if self.error is None:  # what came behind the frames may have broken the stream
            self.error = self._frames.error

    def _say(self, frame_id: int, kind: Kind, body: Any) -> bytes:
        if self.error is not None:
            raise LocalProtocolError(f"{kind.name} cannot be sent: the stream has failed ({self.error})")
        return encode_frame(frame_id, kind, b"" if kind in BODILESS else encode(body))


class ClientSession(_Session):
    """The client's end: numbers the requests and matches their answers.

    With `raw_events`, events come as `RawEmit`, their arguments not decoded; of one that does not decode as
    much is kept as can be (`salvage`).
    """

    def __init__(self, *, max_body: int = DEFAULT_MAX_BODY, raw_events: bool = False) -> None:
        self._raw_events = raw_events
        self._emit_decode = msgspec.msgpack.Decoder(RawEmit if raw_events else Emit).decode
        super().__init__(FrameDecoder(max_body, Lane(_EMIT_TAIL, self._emit_decode)))
        self._outstanding: dict[int, Kind] = {}
        self._forgotten: set[int] = set()
        self._next_id = 0

    @property
    def outstanding(self) -> int:
        """How many requests have no answer yet, forgotten ones included."""
        return len(self._outstanding)

    def request(self, kind: Kind, body: Any = None) -> tuple[int, bytes]:
        """The id and the bytes of a new request.

        Raises:
            LocalProtocolError: not a request, the stream has failed, or all 65,535 ids are outstanding.
            EncodeError: `body` holds something that ThingsDB has no type for.
        """
        if kind not in REQUESTS:
            raise LocalProtocolError(f"{kind.name} is not a client's request")
        request_id = self._free_id()
        data = self._say(request_id, kind, body)
        self._outstanding[request_id] = kind
        self._next_id = request_id + 1
        return request_id, data

    def forget(self, request_id: int) -> None:
        """Nobody waits for this answer any more. Its id stays taken until the server has answered it."""
        if request_id in self._outstanding:
            self._forgotten.add(request_id)

    def receive(self, data: bytes) -> list[Heard]:
        """What the next bytes say, in order. Look at `error` afterwards."""
        heard: list[Heard] = []

        def take(frame: Frame) -> bool:
            other = self._other(frame)
            if other is not None:
                heard.append(other)
            return self.error is not None

        self._feed(data, take, heard.append)
        return heard

    def _free_id(self) -> int:
        outstanding, start = self._outstanding, self._next_id
        for offset in range(len(outstanding) + 1):
            request_id = (start + offset) % PUSH_ID  # PUSH_ID itself is left to the pushes
            if request_id not in outstanding and len(outstanding) < PUSH_ID:
                return request_id
        raise LocalProtocolError(f"{len(outstanding)} requests are outstanding: no id is free")

    def _other(self, frame: Frame) -> Heard | None:
        if frame.kind in PUSHES:
            return self._push(frame)
        if frame.kind in RESPONSES:
            return self._response(frame)
        if frame.kind in REQUESTS:
            self.error = ProtocolError(f"the server sent a {Kind(frame.kind).name}, which only clients send")
            return None
        return Unknown(frame.id, frame.kind)

    def _push(self, frame: Frame) -> Push | Skipped:
        decode_push = _PUSH_DECODERS.get(Kind(frame.kind), self._emit_decode)
        try:
            push: Push = decode_push(frame.body)
        except UNDECODABLE as error:
            kept = salvage(frame.body) if self._raw_events and frame.kind == Kind.ROOM_EMIT else None
            return kept or _skipped(frame, error)
        return push

    def _response(self, frame: Frame) -> Heard | None:
        asked = self._outstanding.get(frame.id)
        if asked is None:
            return Skipped(frame.id, frame.kind, f"answers request {frame.id}, which nobody sent")
        if frame.kind not in ANSWERS[asked]:
            self.error = ProtocolError(f"the server answered {Kind(frame.kind).name} to a {asked.name}")
            return None
        del self._outstanding[frame.id]
        if frame.id in self._forgotten:
            self._forgotten.remove(frame.id)
            return None
        if frame.kind in BODILESS:
            return Response(frame.id, frame.kind)
        try:
            return Response(frame.id, frame.kind, decode(frame.body))
        except BodyError as error:
            error.body = frame.body
            return Response(frame.id, frame.kind, error)


class ServerSession(_Session):
    """The server's end: takes requests, frames the answers and the pushes."""

    def __init__(self, *, max_body: int = DEFAULT_MAX_BODY) -> None:
        super().__init__(FrameDecoder(max_body))

    def receive(self, data: bytes) -> list[Request | Skipped | Unknown]:
        """The requests of the next bytes, in order. Look at `error` afterwards."""
        heard: list[Request | Skipped | Unknown] = []

        def take(frame: Frame) -> None:
            heard.append(self._request(frame))

        self._feed(data, take, heard.append)
        return heard

    def answer(self, request: Request, kind: Kind, value: Any = None) -> bytes:
        """The bytes that answer `request`.

        Raises:
            LocalProtocolError: `kind` cannot answer that request, or the stream has failed.
        """
        if kind not in ANSWERS[Kind(request.kind)]:
            raise LocalProtocolError(f"{kind.name} does not answer a {Kind(request.kind).name}")
        return self._say(request.id, kind, value)

    @staticmethod
    def _request(frame: Frame) -> Request | Skipped | Unknown:
        if frame.kind not in REQUESTS:
            return Unknown(frame.id, frame.kind)
        if not frame.body:
            return Request(frame.id, frame.kind)
        try:
            return Request(frame.id, frame.kind, decode(frame.body))
        except BodyError as error:
            return _skipped(frame, error)


def encode_push(kind: Kind, body: Any) -> bytes:
    """The bytes of a push: the same for every client that hears it.

    Raises:
        LocalProtocolError: `kind` is not a push.
    """
    if kind not in PUSHES:
        raise LocalProtocolError(f"{kind.name} is not a push")
    return encode_frame(PUSH_ID, kind, encode(body))


def _skipped(frame: Frame, error: Exception) -> Skipped:
    return Skipped(
        frame.id, frame.kind, f"its body of {len(frame.body)} bytes does not decode: {error}", frame.body
    )
