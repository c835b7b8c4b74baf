"""MessagePack values as JSON, without losing any: the rules of the record.

bytes become `{"base64": "..."}`, extension types `{"ext": code, "base64": "..."}`, NaN and infinities the
strings "NaN", "Infinity" and "-Infinity". Integers are never rounded, keys become strings, lone surrogates
become `\\uNNNN`. A map whose keys would become one is `{"pairs": [[key, value], ...]}`.
"""

import base64
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgpack
import msgspec
from msgspec.msgpack import Ext

from tdbwatch.wire.codec import Pairs

_encode: Final = msgspec.json.Encoder().encode
_encode_lines: Final = msgspec.json.Encoder().encode_lines
_NESTING: Final = 4
"""Levels of lists and maps that are dealt with the short way; deeper ones take the general way."""
_TEXT: Final = {str}
_TIMESTAMP: Final = -1
"""The only extension type that MessagePack itself defines."""
_EXTENSIONS: Final = (Ext, msgpack.Timestamp, datetime)
"""As which msgspec and msgpack decode them."""
_SIMPLE: Final = frozenset({str, int, bool, type(None)})


def _plain_array() -> Any:
    """An array of what JSON has too: not bytes, not extensions, no keys that are no text."""
    kind: Any = bool | int | float | str | None
    for _ in range(_NESTING):
        kind = bool | int | float | str | list[kind] | dict[str, kind] | None
    return list[kind]


_decode_plain: Final = msgspec.msgpack.Decoder(_plain_array()).decode
_decode_plain_arrays: Final = msgspec.msgpack.Decoder(list[_plain_array()]).decode  # type: ignore[misc]


def args_as_json(packed: bytes) -> bytes | None:
    """An array of arguments as JSON, if it is certain that nothing in it needs care; None: it may.

    The check costs nothing: msgspec decodes into the types that JSON has as fast as into any, and refuses
    others. What it lets pass are NaN and infinities, which it renders as null.
    """
    try:
        text = _encode(_decode_plain(packed))
    except (ValueError, RecursionError, OverflowError):
        return None
    return None if b"null" in text else text


def decode_plain(packed: bytes) -> list[Any] | None:
    """An array of arguments, if it holds only what JSON has, whose keys are text; None: it may hold more."""
    try:
        decoded: list[Any] = _decode_plain(packed)
    except (ValueError, RecursionError, OverflowError):
        return None
    return decoded


def each_as_json(packed: Sequence[bytes | msgspec.Raw]) -> list[str | None]:
    """`args_as_json` of many arrays at less cost, as text; all None if one of them needs care.

    Args:
        packed: less than 65,536, each exactly one MessagePack value.
    """
    whole = b"".join((b"\xdc", len(packed).to_bytes(2, "big"), *packed))  # an array of them
    try:
        text = _encode_lines(_decode_plain_arrays(whole)).decode()
    except (ValueError, RecursionError, OverflowError):
        return [None] * len(packed)
    lines: list[str | None] = list(text.split("\n")[:-1])  # what is in a line has no newline: it is escaped
    return [None if line and "null" in line else line for line in lines] if "null" in text else lines


def is_jsonable(values: Iterable[Any]) -> bool:
    """Whether decoded values hold only what JSON has. A False may be wrong."""
    for value in values:
        kind = type(value)
        if kind in _SIMPLE or (kind is float and math.isfinite(value)):
            continue
        if kind is list and is_jsonable(value):
            continue
        if not (kind is dict and set(map(type, value)) <= _TEXT and is_jsonable(value.values())):
            return False
    return True


def to_jsonable(value: Any) -> Any:
    """A copy of `value` made of what JSON has: see the module's rules."""
    if isinstance(value, dict):
        made = {_key(key): to_jsonable(item) for key, item in value.items()}
        return made if len(made) == len(value) else _pairs(value.items())
    if isinstance(value, Pairs):
        return _pairs(value)
    if isinstance(value, _EXTENSIONS):
        return _extension(value)
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, int | float):
        return value
    return str(value)


def _extension(value: Any) -> dict[str, Any]:
    """An extension type of MessagePack, of which only whoever sent it knows what it means."""
    if isinstance(value, datetime):
        value = msgpack.Timestamp.from_datetime(value)
    if isinstance(value, msgpack.Timestamp):
        value = Ext(_TIMESTAMP, value.to_bytes())
    return {"ext": value.code, "base64": base64.b64encode(value.data).decode()}


def _pairs(items: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """A map whose keys would become one: none of its values is lost."""
    return {"pairs": [[to_jsonable(key), to_jsonable(item)] for key, item in items]}


def to_json(value: Any) -> bytes:
    """The JSON text of a value that holds only what JSON has (`to_jsonable` makes it so)."""
    return _encode(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(to_jsonable(key))
    if isinstance(key, bytes):
        return base64.b64encode(key).decode()
    return to_json(to_jsonable(key)).decode()
