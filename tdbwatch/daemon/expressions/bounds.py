"""What expressions must not be given or begin: what takes long, makes much, or is read wrongly. Pure."""

import re
from collections.abc import Callable
from typing import Any, Final

from tdbwatch.daemon.delivery.bounds import measure
from tdbwatch.plugin import Event
from tdbwatch.plugin.jsonable import decode_plain, to_json

MOST_MADE: Final = 4_000_000
"""Characters of what an expression makes, as of a template's text."""
_MOST_TURNS: Final = 10_000
"""Turns that all loops of one evaluation take, by CEL's own bound."""
_MOST_LOOKED_AT: Final = 400_000_000
"""Values or bytes that loops may look at in all their turns: some seconds, in the worst case."""
_MOST_MULTIPLIED: Final = 16 * MOST_MADE
"""Characters that one call may make, in the worst case: it cannot be stopped once it has begun."""
_LOOP: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(")
_SHORT: Final = r"""\s*(?:'[^'\\]{0,16}'|"[^"\\]{0,16}"|'\\[nrt\\]'|"\\[nrt\\]")\s*"""
_HARMLESS: Final = re.compile(
    rf"\.\s*(?:replace\s*\([^(),]*,{_SHORT}(?:,\s*\d+\s*)?\)|join\s*\((?:{_SHORT}|\s*)\))"
)
"""Calls that put something short in each place."""
_MULTIPLIES: Final = re.compile(r"\.\s*(?:replace|join)\s*\(")


class EvaluationError(Exception):
    """An expression has no value for an event, such as where a key is missing."""


def loops_in(source: str) -> int:
    """How many loops an expression has; each may take as long as an event is large."""
    return len(_LOOP.findall(source))


def multiplies(source: str) -> bool:
    """Whether what an event says is put into many places of what it says: 20 kB could become 400 MB."""
    return _MULTIPLIES.search(_HARMLESS.sub("", source)) is not None


def refuse_multiplying(event: Event) -> None:
    """Refuse what could make far more than was heard.

    Raises:
        EvaluationError: it could.
    """
    size = len(event.payload)
    if size * size // 4 > _MOST_MULTIPLIED:  # half of it in each place of the other half
        what = "replace() or join() with what it says itself"
        raise EvaluationError(f"an event of {size:,} bytes is too large for {what}")


def refuse_long_work(event: Event, loops: int) -> None:
    """Refuse what would take minutes: looking, in each turn of a loop, for something in much else.

    Raises:
        EvaluationError: it could.
    """
    size = len(event.payload)
    if size * _MOST_TURNS <= _MOST_LOOKED_AT:
        return
    values, longest = measure(event.payload, _MOST_LOOKED_AT // _MOST_TURNS)
    if min(values**loops, _MOST_TURNS) * max(values, longest) > _MOST_LOOKED_AT:
        raise EvaluationError(f"an event of {size:,} bytes is too large for loops (all, exists, map, filter)")


def refuse_much(value: Any) -> None:
    """Refuse a value that makes too much text.

    Raises:
        EvaluationError: it does.
    """
    if isinstance(value, str | list | dict) and (made := _characters(value)) > MOST_MADE:
        raise EvaluationError(f"it makes {made:,} characters of this event; {MOST_MADE:,} are allowed")


def _characters(value: Any) -> int:
    return len(value) if isinstance(value, str) else len(to_json(value))


def see_nul(event: Event, values: dict[str, Any]) -> None:
    """See that the library reads no text or bytes up to a NUL only: it would take one for another.

    Raises:
        EvaluationError: there is text with a NUL, and it would whatever is done.
    """
    if (b"\0" in event.payload and _may_hold_nul(event)) or "\0" in event.event or values.get("fields"):
        _replace_nul(values)


def _may_hold_nul(event: Event) -> bool:
    """Whether text or bytes may: most bytes that are 0 are of numbers and lengths. A True may be wrong."""
    plain = decode_plain(event.payload)
    try:
        return plain is None or b"\\u0000" in to_json(plain)
    except (ValueError, RecursionError):
        return True


def _replace_nul(values: Any) -> None:
    left = [values]
    while left:
        within = left.pop()
        for key, value in within.items() if isinstance(within, dict) else enumerate(within):
            if any(isinstance(one, str) and "\0" in one for one in (key, value)):
                raise EvaluationError("it holds text with a NUL character")
            if isinstance(value, bytes) and not isinstance(within, tuple):
                within[key] = bytearray(value)  # which it reads whole
            elif isinstance(value, dict | list | tuple):
                left.append(value)


class Arenas:
    """Memory that evaluations make their values in. Many share one, which is given back after some of them.

    Args:
        make: makes one; it has no type that could be named.
    """

    _MOST_SHARED: Final = 64
    _MOST_BYTES: Final = 16_384
    """Of an event whose evaluation shares."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._shared = make()
        self._left = self._MOST_SHARED

    def of(self, event: Event) -> Any:
        """One for an evaluation over this event."""
        if len(event.payload) > self._MOST_BYTES:
            return self._make()
        if not self._left:
            self._shared, self._left = self._make(), self._MOST_SHARED
        self._left -= 1
        return self._shared
