"""MessagePack values as JSON, without losing any: the rules of the record.

bytes become `{"base64": "..."}`, NaN and infinities become the strings "NaN", "Infinity" and "-Infinity",
integers are never rounded, keys become strings, lone surrogates become `\\uNNNN`.
"""

import base64
import math
from collections.abc import Iterable
from typing import Any, Final

import msgspec

_encode: Final = msgspec.json.Encoder().encode
_SUSPECT: Final = bytes((*range(0xC4, 0xCA), *range(0xD4, 0xD9), 0x7F, 0xFF))
"""Bytes without which MessagePack holds no bin, no ext, and no float that is infinite or NaN."""
_SIMPLE: Final = frozenset({str, int, bool, type(None)})


def is_plain(packed: bytes) -> bool:
    """Whether `packed` certainly holds nothing that JSON has no word for. A False may be wrong."""
    return len(packed.translate(None, _SUSPECT)) == len(packed)


def is_jsonable(values: Iterable[Any]) -> bool:
    """Whether decoded values hold only what JSON has. A False may be wrong."""
    for value in values:
        kind = type(value)
        if kind in _SIMPLE or (kind is float and math.isfinite(value)):
            continue
        if kind is list and is_jsonable(value):
            continue
        if not (kind is dict and is_jsonable(value) and is_jsonable(value.values())):
            return False
    return True


def to_jsonable(value: Any) -> Any:
    """A copy of `value` made of what JSON has: see the module's rules."""
    if isinstance(value, dict):
        return {_key(key): to_jsonable(item) for key, item in value.items()}
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


def to_json(value: Any) -> bytes:
    """The JSON text of a value that holds only what JSON has (`to_jsonable` makes it so)."""
    return _encode(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(to_jsonable(key))
    if isinstance(key, bytes):
        return base64.b64encode(key).decode()
    return to_json(to_jsonable(key)).decode()
