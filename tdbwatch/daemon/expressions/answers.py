"""What an expression has said of the few values that it meets again and again, such as a status. Pure.

The library takes longer to say it than it takes to find it here.
"""

from collections.abc import Mapping
from typing import Any, Final

MOST: Final = 256
"""Answers that are kept."""
_MOST_TEXT: Final = 64
"""Characters of each text for which they are."""


class Answers:
    """The answers of one expression, all true or false."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], bool] = {}

    def of(self, values: Mapping[str, Any]) -> bool | None:
        """What was kept of these values of its variables, always in one order; None: nothing."""
        return self._known.get(_key(values))

    def keep(self, values: Mapping[str, Any], answer: bool) -> bool:
        """Keep this; False: there are too many different values, or large ones, to go on with keeping."""
        if len(self._known) >= MOST or not all(map(_may_recur, values.values())):
            return False
        self._known[_key(values)] = answer
        return True


def _key(values: Mapping[str, Any]) -> tuple[Any, ...]:
    each = values.values()
    return (*each, *map(type, each))  # 1 and true are equal, but not the same


def _may_recur(value: Any) -> bool:
    """Whether answers about it are kept; 0.0 and -0.0 are equal, but not the same."""
    return len(value) <= _MOST_TEXT if isinstance(value, str) else not isinstance(value, float)
