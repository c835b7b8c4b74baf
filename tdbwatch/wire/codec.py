"""Bodies: MessagePack to Python values and back.

msgpack encodes, msgspec decodes: of msgpack, ormsgpack and msgspec the last decodes an event's body
fastest and straight into its class (`make bench`, docs/performance.md). Both agree on every value that
ThingsDB has, which a property test holds.
"""

from functools import partial
from typing import Any, Final

import msgpack
import msgspec

from tdbwatch.exceptions import EncodeError, ProtocolError, TextEncodeError
from tdbwatch.wire.frames import UNDECODABLE

_decode: Final = msgspec.msgpack.Decoder().decode
_unpack: Final = partial(
    msgpack.unpackb,
    strict_map_key=False,
    unicode_errors="backslashreplace",
    ext_hook=msgspec.msgpack.Ext,  # msgpack's own has no negative codes
)


class Pairs(list[tuple[Any, Any]]):
    """A map with keys that are one in Python, such as 1 and true."""


class BodyError(ProtocolError):
    """A body that is not what its frame's type says. The frame is skipped, the stream goes on."""

    body: bytes = b""


def encode(value: Any) -> bytes:
    """One value as MessagePack.

    Raises:
        EncodeError: ThingsDB has no such type, or an integer does not fit in 64 bits.
    """
    try:
        packed: bytes = msgpack.packb(value)
    except UnicodeEncodeError as error:
        raise TextEncodeError(*error.args) from error
    except (TypeError, OverflowError, ValueError) as error:
        raise EncodeError(f"ThingsDB cannot take this value: {error}") from error
    return packed


def decode(body: bytes) -> Any:
    """The value of a body.

    Raises:
        BodyError: truncated, trailing bytes, text that is not UTF-8, nested too deep.
    """
    try:
        return _decode(body)
    except UNDECODABLE as error:
        raise BodyError(f"a body of {len(body)} bytes is not valid MessagePack: {error}") from error


def decode_leniently(body: bytes) -> Any:
    """As `decode`, but text that is not UTF-8 keeps its odd bytes as `\\xNN` escapes instead of failing."""
    try:
        return _decode(body)
    except UNDECODABLE:
        pass
    try:
        return _unpack(body)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise BodyError(f"a body of {len(body)} bytes is not valid MessagePack: {error}") from error


def decode_keeping_keys(body: bytes) -> Any:
    """As `decode_leniently`, but a map whose keys would become one in Python is `Pairs`."""
    try:
        return _unpack(body, object_pairs_hook=_distinct)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise BodyError(f"a body of {len(body)} bytes is not valid MessagePack: {error}") from error


def _distinct(pairs: list[tuple[Any, Any]]) -> dict[Any, Any] | Pairs:
    try:
        made = dict(pairs)
    except TypeError:  # a list or a map as a key
        return Pairs(pairs)
    return made if len(made) == len(pairs) else Pairs(pairs)
