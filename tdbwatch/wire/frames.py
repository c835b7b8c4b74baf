"""Frames: an 8-byte header, little endian, then the body.

`u32 length` (of the body) · `u16 id` · `u8 type` · `u8 type ^ 0xff` (recordings `handshake`, `bad-frames`).
"""

import struct
from typing import Final, NamedTuple

from tdbwatch.exceptions import ProtocolError

HEADER_SIZE: Final = 8
DEFAULT_MAX_BODY: Final = 128 * 1024 * 1024
"""Bytes; above what a server sends in one piece by default, far below what would exhaust a host."""

_HEADER: Final = struct.Struct("<IHBB")
_PEEK: Final = struct.Struct("<IHH")


def _check_of(kind: int) -> int:
    return kind | (kind ^ 0xFF) << 8


_KIND_OF: Final = {_check_of(kind): kind for kind in range(256)}
"""The header's last two bytes, read as one number, -> the type; anything else is a broken header."""


class Frame(NamedTuple):
    """One frame as it came: its id, its type and its undecoded body."""

    id: int
    kind: int
    body: bytes


def encode_frame(frame_id: int, kind: int, body: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return _HEADER.pack(len(body), frame_id, kind, kind ^ 0xFF) + body


class FrameDecoder:
    """Cuts a stream of bytes into frames, whatever the chunks it arrives in.

    Feeding never raises for what the peer did. The first header that is broken, or that announces more
    than `max_body` bytes, sets `error`; frames before it are still returned, everything after is ignored,
    since a stream without boundaries cannot be trusted again.
    """

    def __init__(self, max_body: int = DEFAULT_MAX_BODY) -> None:
        self.max_body = max_body
        self.error: ProtocolError | None = None
        self._parts: list[bytes] = []
        self._have = 0
        self._need = HEADER_SIZE

    @property
    def buffered(self) -> int:
        """Bytes of an unfinished frame that wait for their rest."""
        return self._have

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the stream, return the frames that they complete."""
        if self.error is not None:
            return []
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:  # a large body in small chunks is joined once, not at each chunk
                return []
            data = b"".join(self._parts)
            self._parts.clear()
        frames, rest = self._split(data)
        self._have = len(data) - rest
        if self._have:
            self._parts.append(data[rest:])
        return frames

    def _split(self, data: bytes) -> tuple[list[Frame], int]:
        """All whole frames of `data`, and the offset at which the unfinished one starts."""
        frames: list[Frame] = []
        append, peek, kind_of, frame = frames.append, _PEEK.unpack_from, _KIND_OF, tuple.__new__
        offset, size = 0, len(data)
        while size - offset >= HEADER_SIZE:
            length, frame_id, check = peek(data, offset)
            kind = kind_of.get(check)
            if kind is None or length > self.max_body:
                self.error = self._broken(data[offset : offset + HEADER_SIZE], kind, length)
                return frames, size
            end = offset + HEADER_SIZE + length
            if end > size:
                self._need = HEADER_SIZE + length
                return frames, offset
            append(frame(Frame, (frame_id, kind, data[offset + HEADER_SIZE : end])))
            offset = end
        self._need = HEADER_SIZE
        return frames, offset

    def _broken(self, header: bytes, kind: int | None, length: int) -> ProtocolError:
        if kind is None:
            return ProtocolError(f"broken frame header {header.hex(' ')}: type and check byte do not match")
        return ProtocolError(f"a frame of {length} bytes exceeds the limit of {self.max_body}")
