"""Which events somebody wants to see. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tdbwatch.daemon.config.models.fields import compile_globs
from tdbwatch.daemon.expressions import Expression, ExpressionError, Names
from tdbwatch.daemon.expressions.bounds import EvaluationError
from tdbwatch.daemon.status.tail.contents import contents, is_large
from tdbwatch.plugin import Event

KEYS: Final = ("room", "event", "text", "where")
_GROWING: Final = re.compile(r"\.\s*(?:replace|split|join|format)\s*\(")
"""What may make hundreds of megabytes of an event, in some such calls."""
_LONGEST: Final = 500
"""Characters of each."""


class FilterError(ValueError):
    """A filter that cannot be used; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What must hold for an event; empty: anything does.

    Attributes:
        room: a glob over its room's name.
        event: a glob over its own.
        text: what is in its names, or in what it carries; upper and lower case do not differ.
        where: a CEL expression.
        sees_contents: whether what events carry may be looked at and shown.
    """

    room: str = ""
    event: str = ""
    text: str = ""
    where: str = ""
    sees_contents: bool = False
    _room: re.Pattern[str] | None = field(init=False, default=None)
    _event: re.Pattern[str] | None = field(init=False, default=None)
    _where: Expression | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("room", "event"):
            if glob := getattr(self, name):
                put(self, f"_{name}", compile_globs([glob]))
        if self.where:
            put(self, "_where", _condition(self.where, sees_contents=self.sees_contents))

    @classmethod
    def of(cls, query: Mapping[str, str], *, sees_contents: bool) -> "Filter":
        """The filter of a URL's query.

        Raises:
            FilterError: it cannot be used.
        """
        found = asked(query)
        for key, value in found.items():
            if len(value) > _LONGEST:
                raise FilterError(f"{key} has more than {_LONGEST} characters")
        return cls(**found, sees_contents=sees_contents)

    @property
    def query(self) -> dict[str, str]:
        """The keys of a URL that make this filter."""
        return {key: value for key in KEYS if (value := getattr(self, key))}

    def wants_room(self, room: str) -> bool:
        return self._room is None or self._room.match(room) is not None

    def wants_event(self, name: str) -> bool:
        return self._event is None or self._event.match(name) is not None

    def wants(self, event: Event) -> bool:
        """Whether the rest holds, too, of one whose names are wanted."""
        return self._has_text(event) and self._holds(event)

    def _has_text(self, event: Event) -> bool:
        text = self.text.casefold()
        if text in f"{event.scope} {event.room} {event.event}".casefold():
            return True
        return self.sees_contents and text in contents(event).casefold()

    def _holds(self, event: Event) -> bool:
        if self._where is None:
            return True
        if is_large(event):
            return False
        try:
            return bool(self._where.value_in(Names(event, {})))
        except EvaluationError:
            return False


def asked(query: Mapping[str, str]) -> dict[str, str]:
    """What a URL's query says of a filter, right or wrong."""
    return {key: value for key in KEYS if (value := query.get(key, "").strip())}


def _condition(source: str, *, sees_contents: bool) -> Expression:
    """Without what may take long: nobody who only looks may take the event loop's time."""
    if not sees_contents:
        raise FilterError("where asks what events carry, and that is shown only if there is an http.token")
    try:
        expression = Expression(source, "condition", plugins=False)
    except ExpressionError as error:
        raise FilterError(f"where, column {error.column}: {error}. {error.hint}".rstrip(". ") + ".") from None
    if expression.loops:
        raise FilterError("where may have no loops here (all, exists, exists_one, map, filter)")
    if _GROWING.search(source):
        raise FilterError("where may not have replace, split, join or format here")
    return expression
