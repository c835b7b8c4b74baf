"""What went wrong, in words: every failure of a connection has some."""

from typing import Final

from tdbwatch.redaction import presentable

_WORDLESS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ConnectionResetError, "the other side closed the connection"),
    (ConnectionAbortedError, "the connection was given up"),
    (ConnectionRefusedError, "the connection was refused"),
    (BrokenPipeError, "the other side closed the connection"),
    (TimeoutError, "no answer in time"),
)
"""What is meant by errors that asyncio raises without a text."""


def words(error: BaseException) -> str:
    """What went wrong, as it may be shown, and without the number that Python puts before it."""
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    return presentable(text) if text.strip() else _meaning(error)


def beside(node: object, reason: str) -> str:
    """The reason, for a text that has just named the node: it is not named twice."""
    return reason.removeprefix(f"{node} ").removeprefix(f"{node}: ")


def _meaning(error: BaseException) -> str:
    known = (meaning for kind, meaning in _WORDLESS if isinstance(error, kind))
    return next(known, f"{type(error).__name__}, without a reason")
