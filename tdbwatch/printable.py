"""Text that others wrote, so that it steers no terminal, forges no line and hides nothing. Pure."""

import re
from typing import Final

_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What counts as printable and yet shows nothing: fillers, joiners, variation selectors."""


def is_printable(text: str) -> bool:
    """Whether the text is shown as it is: no control, format, bidirectional or invisible characters in it."""
    return text.isprintable() and (text.isascii() or _INVISIBLE.search(text) is None)


def printable(text: str) -> str:
    """`text` with what could break a line, steer a terminal or hide something as `\\xNN` or `\\uNNNN`."""
    if is_printable(text):
        return text
    return "".join(char if is_printable(char) else _escaped(char) for char in text)


def shortened(text: str, limit: int) -> str:
    """`text`, or its beginning and how long it is: at most `limit` characters."""
    if len(text) <= limit:
        return text
    rest = f" ... ({len(text):,} characters)"
    return text[: max(0, limit - len(rest))] + rest


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
