"""Frames: an 8-byte header, little endian, then the body.

`u32 length` (of the body) · `u16 id` · `u8 type` · `u8 type ^ 0xff` (recordings `handshake`, `bad-frames`).
"""

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tdbwatch.exceptions import ProtocolError

HEADER_SIZE: Final = 8
DEFAULT_MAX_BODY: Final = 128 * 1024 * 1024
"""Bytes; above what a server sends in one piece by default, far below what would exhaust a host."""

MAX_BEFORE_LOGIN: Final = 1024 * 1024
"""Bytes of a body, or of all that comes unasked, from a peer that has not logged in or taken the login."""

_HEADER: Final = struct.Struct("<IHBB")
_PEEK: Final = struct.Struct("<II")  # length; id, type and check byte as one number, the header's `tail`


def tail_of(frame_id: int, kind: int) -> int:
    """The last four bytes of a good header, read as one number."""
    return frame_id | kind << 16 | (kind ^ 0xFF) << 24


_KIND_OF: Final = {tail_of(0, kind) >> 16: kind for kind in range(256)}
"""The header's last two bytes, read as one number, -> the type; anything else is a broken header."""

Take = Callable[["Frame"], bool | None]
"""Takes a frame; True when nothing after it matters any more."""
UNDECODABLE: Final = (ValueError, RecursionError, OverflowError)
"""All that decoding raises for a body that cannot be decoded."""


class Frame(NamedTuple):
    """One frame as it came: its id, its type and its undecoded body."""

    id: int
    kind: int
    body: bytes


def encode_frame(frame_id: int, kind: int, body: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return _HEADER.pack(len(body), frame_id, kind, kind ^ 0xFF) + body


class Lane(NamedTuple):
    """A fast lane: frames whose header ends in `tail` are decoded on the spot and never become a `Frame`.

    For the one message that comes by the hundred thousand. A body that does not decode takes the slow lane.
    """

    tail: int
    decode: Callable[[bytes], Any]


_NO_LANE: Final = Lane(-1, bytes)


class FrameDecoder:
    """Cuts a stream of bytes into frames, whatever the chunks it arrives in.

    Feeding never raises for what the peer did. The first header that is broken, or that announces more
    than `max_body` bytes, sets `error`; frames before it are still returned, everything after is ignored,
    since a stream without boundaries cannot be trusted again.

    Args:
        max_body: bytes.
        lane: which frames `sort` need not make a `Frame` of.
    """

    def __init__(self, max_body: int = DEFAULT_MAX_BODY, lane: Lane = _NO_LANE) -> None:
        self.max_body = max_body
        self._lane = lane
        self.error: ProtocolError | None = None
        self._parts: list[bytes] = []
        self._have = 0
        self._need = HEADER_SIZE

    @property
    def buffered(self) -> int:
        """Bytes of an unfinished frame that wait for their rest."""
        return self._have

    def completes(self, size: int) -> bool:
        """Whether so many more bytes end the frame, or the header, that has begun."""
        return self._have + size >= self._need

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the stream, return the frames that they complete."""
        frames: list[Frame] = []
        self.sort(data, frames.append, frames.append)
        return frames

    def sort(self, data: bytes, take: Take, append: Callable[[Any], None]) -> None:
        """As `feed`, but what completes is given away at once, in order.

        Args:
            data: the next bytes of the stream.
            take: gets the frames.
            append: gets what the fast lane decoded.
        """
        if self.error is not None:
            return
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:  # a large body in small chunks is joined once, not at each chunk
                return
            data = b"".join(self._parts)
            self._parts.clear()
        self._have = len(data) - self._split(data, take, append)
        if self._have:
            self._parts.append(data[-self._have :])

    def _split(self, data: bytes, take: Take, append: Callable[[Any], None]) -> int:
        """Deal with all whole frames of `data`; the offset at which the unfinished one starts."""
        peek, size, start = _PEEK.unpack_from, len(data), HEADER_SIZE
        fast_tail = self._lane.tail if size <= self.max_body else -1  # so no frame in it is over the limit
        decode = self._lane.decode
        while start <= size:
            length, tail = peek(data, start - HEADER_SIZE)
            end = start + length
            if tail == fast_tail and end <= size:
                try:
                    append(decode(data[start:end]))
                except UNDECODABLE:
                    if take(Frame(tail & 0xFFFF, _KIND_OF[tail >> 16], data[start:end])):
                        return size
            else:
                kind = _KIND_OF.get(tail >> 16)
                if kind is None or length > self.max_body:
                    self.error = self._broken(data[start - HEADER_SIZE : start], kind, length)
                    return size
                if end > size:
                    self._need = HEADER_SIZE + length
                    return start - HEADER_SIZE
                if take(Frame(tail & 0xFFFF, kind, data[start:end])):
                    return size
            start = end + HEADER_SIZE
        self._need = HEADER_SIZE
        return start - HEADER_SIZE

    def _broken(self, header: bytes, kind: int | None, length: int) -> ProtocolError:
        if kind is None:
            return ProtocolError(f"broken frame header {header.hex(' ')}: type and check byte do not match")
        return ProtocolError(f"a frame of {length} bytes exceeds the limit of {self.max_body}")
