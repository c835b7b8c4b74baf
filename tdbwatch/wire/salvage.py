"""What can be kept of an emit that does not decode: its room, often its event, its arguments as bytes.

Only for the emit that fails: nothing here is fast. Nothing recurses either, and how far it looks is bounded.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgpack
import msgspec

from tdbwatch.wire.codec import BodyError, decode_leniently, encode
from tdbwatch.wire.messages import RawEmit, UnreadableEmit

MOST_VALUES: Final = 100_000
"""Values that are looked at to find where something ends."""
DEEP: Final = 600
"""Levels; what is nested deeper is kept as bytes. What decodes here is decoded again elsewhere, on a deeper
stack or by another Python: 3.11 follows 1,000 levels, those of its calls included, 3.13 follows 10,000."""
_OUTER: Final = b"\x91" * (1_024 - DEEP)
"""Lists around what is looked at. Of the levels that msgpack follows, on any stack, they leave `DEEP`."""
_NO_CONTAINERS: Final = bytes(b for b in range(256) if not (0x80 <= b <= 0x9F or 0xDC <= b <= 0xDF))
_FIXED: Final = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1,
                 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}  # fmt: skip
"""First byte -> bytes that follow it."""
_SIZED: Final = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
                 0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}  # fmt: skip
"""First byte -> bytes of the length that follows it, and bytes beside what the length counts."""
_COUNTED: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""First byte -> bytes of the count that follows it, and values for each that it counts."""


def salvage(body: bytes) -> RawEmit | None:
    """What an emit's body says as far as it can be read; None: not even its room.

    An event's name that is no UTF-8 keeps its odd bytes as `\\xNN`. Arguments that no reader could follow
    are one argument, the bytes. Without a name it is an `UnreadableEmit`, whose argument is the whole body.
    """
    found = dict(_entries(body))
    scope, room_id, event = (_value(found.get(key)) for key in (b"scope", b"id", b"event"))
    if type(room_id) is not int or not (scope is None or isinstance(scope, str)):
        return None
    if not isinstance(event, str) or b"args" not in found:
        return UnreadableEmit(room_id, "", msgspec.Raw(encode([body])), scope)
    return RawEmit(room_id, event, _kept(found[b"args"]), scope)


def readable(args: msgspec.Raw) -> msgspec.Raw:
    """The arguments; if they are nested deeper than `DEEP` levels, their bytes as one."""
    if len(args) <= DEEP:
        return args
    packed = bytes(args)
    if len(packed.translate(None, _NO_CONTAINERS)) <= DEEP:
        return args
    return _kept(packed)


def _kept(packed: bytes) -> msgspec.Raw:
    return msgspec.Raw(packed if _one_value(packed) else encode([packed]))


def _one_value(packed: bytes) -> bool:
    """Whether it is one whole value that nests no deeper than `DEEP`."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)  # no limit of its own
    unpacker.feed(_OUTER + packed)
    try:
        unpacker.skip()
    except (ValueError, msgpack.UnpackException):
        return False
    return bool(unpacker.tell() == len(_OUTER) + len(packed))


def _entries(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The entries of the map, as far as it goes: keys without their heads, values as MessagePack."""
    count, at = _map_head(body)
    for left in range(count, 0, -1):
        key_end = _end(body, at)
        if key_end is None:
            return
        end = _end(body, key_end) or (len(body) if left == 1 else None)  # of the last one it is the body's
        if end is None:
            return
        yield _text(body[at:key_end]), body[key_end:end]
        at = end


def _map_head(body: bytes) -> tuple[int, int]:
    """How many entries there are, and where they begin."""
    first = body[0] if body else 0
    if 0x80 <= first <= 0x8F:
        return first & 0xF, 1
    if first in {0xDE, 0xDF}:
        size = _COUNTED[first][0]
        return int.from_bytes(body[1 : 1 + size]), 1 + size
    return 0, 0


def _end(body: bytes, at: int) -> int | None:
    """Where the value ends that begins there; None: not within the body, or not within `MOST_VALUES`."""
    pending = 1
    for _ in range(MOST_VALUES):
        if at >= len(body):
            break
        more, size = _head(body[at], body[at + 1 : at + 5])
        pending += more - 1
        at += 1 + size
        if not pending and at <= len(body):
            return at
    return None


def _head(first: int, following: bytes) -> tuple[int, int]:
    """How many values a value holds, and how many bytes of its own follow its first."""
    if first <= 0x7F or first >= 0xE0:
        return 0, 0
    if first <= 0x8F:
        return 2 * (first & 0xF), 0
    if first <= 0x9F:
        return first & 0xF, 0
    if first <= 0xBF:
        return 0, first & 0x1F
    if first in _COUNTED:
        size, each = _COUNTED[first]
        return each * int.from_bytes(following[:size]), size
    if first in _SIZED:
        size, beside = _SIZED[first]
        return 0, size + beside + int.from_bytes(following[:size])
    return 0, _FIXED.get(first, 0)


def _text(packed: bytes) -> bytes:
    """What a short text holds; keys of an emit are no others."""
    return packed[1:] if packed[:1] and 0xA0 <= packed[0] <= 0xBF else packed


def _value(packed: bytes | None) -> Any:
    try:
        return None if packed is None else decode_leniently(packed)
    except BodyError:
        return None
