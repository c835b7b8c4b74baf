"""A sink's own small memory, which outlives restarts: a table in the spool."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from tdbwatch.exceptions import EncodeError
from tdbwatch.wire.codec import BodyError, decode, encode

MOST_KEYS: Final = 1_000
"""Keys of one sink."""
MOST_KEY: Final = 200
"""Characters of a key."""
MOST_VALUE: Final = 100_000
"""Bytes of one value, as MessagePack."""
MOST_BYTES: Final = 1_000_000
"""Bytes of all values of one sink."""
_TAKEN: Final = "a value is None, a bool, a number (integers of up to 64 bits), text, bytes, a list or a dict"

Save = Callable[[str, bytes | None], None]
"""Called with a key and its packed value, or None when it is deleted; from any thread, and never waits."""


class SinkStore:
    """Keys and values of one sink: text, and what JSON has, or bytes.

    All of it is in memory, so nothing here waits, and every thread may call. What is set or deleted during a
    delivery is durable no later than that the delivery is done: after a crash the event comes again, or its
    value is there, or both. Outside of a delivery it is durable within a tenth of a second, as long as the
    disk takes it. A clean stop writes all of it.

    Bounds: 1,000 keys of 200 characters, 100 kB for each value, 1 MB for all of them.
    """

    def __init__(self, values: Mapping[str, bytes] | None = None, save: Save = lambda *_: None) -> None:
        self._values = dict(values or {})
        self._bytes = sum(map(len, self._values.values()))
        self._save = save
        self._lock = threading.Lock()

    def get(self, key: str, default: Any = None) -> Any:
        """The value, a copy of your own; `default` where there is none."""
        with self._lock:
            packed = self._values.get(key)
        return default if packed is None else _unpacked(packed)

    def set(self, key: str, value: Any) -> None:
        """Keep the value.

        Raises:
            ValueError: the key or the value is too large, or there are too many. What was there stays.
            EncodeError: the value is nothing that JSON has, and no bytes. Likewise.
        """
        if type(key) is not str or not 0 < len(key) <= MOST_KEY or not _is_unicode(key):
            raise ValueError(f"a key is text of 1 to {MOST_KEY} characters, without lone surrogates")
        packed = _packed(key, value)
        with self._lock:
            known = self._values.get(key)
            if packed == known:
                return
            if known is None and len(self._values) >= MOST_KEYS:
                raise ValueError(f"there are {MOST_KEYS:,} keys already; delete some")
            size = self._bytes + len(packed) - len(known or b"")
            if size > MOST_BYTES:
                raise ValueError(f"all values may take {MOST_BYTES:,} bytes; with {key!r} it were {size:,}")
            self._values[key], self._bytes = packed, size
            self._save(key, packed)

    def delete(self, key: str) -> None:
        """Keep it no more; nothing happens where there is none."""
        with self._lock:
            if (known := self._values.pop(key, None)) is not None:
                self._bytes -= len(known)
                self._save(key, None)

    def items(self) -> list[tuple[str, Any]]:
        """All keys with their values, in order of the keys."""
        with self._lock:
            values = sorted(self._values.items())
        return [(key, _unpacked(packed)) for key, packed in values]

    def save_all(self) -> None:
        """Write everything once more: the file is another one."""
        with self._lock:
            for key, packed in self._values.items():
                self._save(key, packed)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _packed(key: str, value: Any) -> bytes:
    try:
        packed = encode(value)
        if len(packed) > MOST_VALUE:
            raise ValueError(f"a value may take {MOST_VALUE:,} bytes; that of {key!r} has {len(packed):,}")
        decode(packed)
    except (EncodeError, BodyError) as error:
        raise EncodeError(f"the value of {key!r} cannot be kept: {error.__cause__}; {_TAKEN}") from error
    return packed


def _unpacked(packed: bytes) -> Any:
    try:
        return decode(packed)
    except BodyError:  # of a spool that was damaged
        return None
