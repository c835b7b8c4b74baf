"""The protocol, without I/O: bytes in, messages out, bytes to send.

`frames` cuts a byte stream into frames, `codec` turns bodies into values, `messages` gives them names, and
`session` keeps the state of one connection, for the client's and for the server's role alike. Nothing here
awaits, opens a socket or asks for the time.
"""

from tdbwatch.wire.codec import decode, encode
from tdbwatch.wire.frames import DEFAULT_MAX_BODY, MAX_BEFORE_LOGIN, Frame, FrameDecoder, encode_frame
from tdbwatch.wire.kinds import PUSH_ID, Kind
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
    RoomState,
    Skipped,
    Unknown,
    UnreadableEmit,
    Warn,
)
from tdbwatch.wire.session import ClientSession, ServerSession, encode_push

__all__ = [
    "DEFAULT_MAX_BODY",
    "MAX_BEFORE_LOGIN",
    "PUSH_ID",
    "ClientSession",
    "Emit",
    "Frame",
    "FrameDecoder",
    "Kind",
    "NodeStatus",
    "Push",
    "RawEmit",
    "Request",
    "Response",
    "RoomDelete",
    "RoomJoin",
    "RoomLeave",
    "RoomState",
    "ServerSession",
    "Skipped",
    "Unknown",
    "UnreadableEmit",
    "Warn",
    "decode",
    "encode",
    "encode_frame",
    "encode_push",
]
