"""Expressions over an event, in CEL: compiled and checked when the configuration is read. Pure."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from tdbwatch.daemon.expressions.answers import Answers
from tdbwatch.daemon.expressions.bounds import (
    EvaluationError,
    loops_in,
    multiplies,
    refuse_long_work,
    refuse_much,
    refuse_multiplying,
    see_nul,
)
from tdbwatch.daemon.expressions.library import arenas, calls_plugins, environment, plain_environment
from tdbwatch.daemon.expressions.messages import ExpressionError, said, told, type_words, unknown_function
from tdbwatch.daemon.expressions.names import COMPOUND, EPOCH, NEVER_TWICE, OF_EVENT, Fields, named_in
from tdbwatch.daemon.expressions.paths import Lookup, with_variables
from tdbwatch.plugin import Event
from tdbwatch.plugin.event import format_time
from tdbwatch.plugin.jsonable import to_jsonable

Wanted = Literal["condition", "value"]
"""What an expression is for: true or false, or any value."""

_PLAIN: Final = frozenset({"BOOL", "INT", "UINT", "STRING", "NULL"})
_INTERNAL: Final = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")


class Expression:
    """A CEL expression, compiled.

    Args:
        source: over `NAMES`.
        wanted: what it is for.
        plugins: whether it may call the functions of plugins.

    Raises:
        ExpressionError: it is wrong, or of another type than is wanted.
    """

    def __init__(self, source: str, wanted: Wanted = "value", *, plugins: bool = True) -> None:
        self.source = source
        self._wanted = wanted
        self._unknown = ""
        try:
            self._compiled = (environment() if plugins else plain_environment()).compile(source)
        except RuntimeError as error:
            self._unknown = unknown_function(str(error), source)
            if not self._unknown:
                raise told(str(error), source) from None
            self._compiled = environment().compile("dyn(null)")
        kind = self._compiled.return_type().name()
        if wanted == "condition" and kind not in {"BOOL", "DYN"}:
            raise ExpressionError(
                f"this is {type_words(kind)}, not true or false", hint="compare it with something"
            )
        self.needs = named_in(source)
        """The names that it may ask for."""
        self._loops = loops_in(source)
        self._multiplies = multiplies(source)
        self._needs_care = bool(self._unknown or self._loops or self._multiplies)
        self._short = None if self._unknown else _Short.of(source)

    @property
    def loops(self) -> int:
        """How many loops it has; each may take as long as an event is large."""
        return self._loops

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and (other.source, other._wanted) == (self.source, self._wanted)

    def __hash__(self) -> int:
        return hash((self.source, self._wanted))

    def __repr__(self) -> str:
        return "<Expression>"  # there may be a secret in it

    def value_in(self, names: "Names") -> Any:
        """Its value for an event, made of what JSON has.

        Raises:
            EvaluationError: it has none.
        """
        if self._needs_care:
            self._take_care(names.event)
        try:
            found = None if self._short is None else self._short.ask(names)
            if isinstance(found, bool):
                return found
            if found is None or found.type().name() == "ERROR":  # which the library tells in its own words
                found = names.ask(self._compiled.eval, self.needs)
            value = found.plain_value()
            if type(value) is bool:
                return value
            kind = found.type().name()
            plain = value if self._wanted == "condition" or kind in _PLAIN else _as_json(value)
        except EvaluationError:
            raise
        except Exception as error:  # noqa: BLE001 - an event must not end what asks, whatever it holds
            raise EvaluationError(said(_INTERNAL.sub("", str(error)))) from None
        if kind == "ERROR":  # such a value counts as true
            raise EvaluationError(said(str(value).partition(": ")[2]))
        if self._wanted == "condition":
            raise EvaluationError(f"it is {type_words(kind)} for this event, not true or false")
        refuse_much(plain)
        return plain

    def _take_care(self, event: Event) -> None:
        if self._unknown:
            raise EvaluationError(f"{self._unknown} is a plugin's function, and no plugin is loaded here")
        if self._loops:
            refuse_long_work(event, self._loops)
        if self._multiplies:
            refuse_multiplying(event)


class _Short:
    """An expression that need not see all of an event's arguments, but what its paths lead to.

    Args:
        answers: keeps what it says; None: nothing is kept.
    """

    __slots__ = ("_answers", "_evaluate", "_lookups", "_others")

    def __init__(
        self,
        evaluate: Callable[..., Any],
        names: Iterable[str],
        lookups: Sequence[Lookup],
        answers: Answers | None,
    ) -> None:
        self._evaluate = evaluate
        self._others = tuple((name, OF_EVENT[name]) for name in names)
        self._lookups = lookups
        self._answers = answers

    @classmethod
    def of(cls, source: str) -> "_Short | None":
        """None: it must see all of them."""
        found = with_variables(source)
        if found is None:
            return None
        shorter, lookups = found
        needs = named_in(shorter)
        if not needs.isdisjoint(COMPOUND):
            return None
        try:
            compiled = environment().compile(shorter)
        except RuntimeError:  # such as has(args[0].x)
            return None
        recurs = needs.isdisjoint(NEVER_TWICE) and not calls_plugins(source)
        return cls(compiled.eval, needs, lookups, Answers() if recurs else None)

    def ask(self, names: "Names") -> Any:
        """True or false, or what else the library says; None: it must see all."""
        event, seen = names.event, {}
        if "\0" in event.event:
            return None
        try:
            for one in self._lookups:
                seen[one.variable] = one.found_in(names.value(one.root))
        except LookupError:
            return None
        for name, value_of in self._others:
            seen[name] = value_of(event)
        answers = self._answers
        if answers is not None and (known := answers.of(seen)) is not None:
            return known
        found = self._evaluate(None, seen, None, arenas().of(event))
        if type(truth := found.plain_value()) is not bool:
            return found
        if answers is not None and not answers.keep(seen, truth):
            self._answers = None
        return truth


class Names:
    """What expressions see of one event; those that are asked about it share it.

    Args:
        fields: what routes have set.
        several: whether more than a few expressions are asked: then the library keeps what it has read.
    """

    __slots__ = ("_fields", "_kept", "_several", "_values", "event")

    def __init__(self, event: Event, fields: Fields, several: Collection[str] = ()) -> None:
        self.event = event
        self._fields = fields
        self._several = several
        self._values: dict[str, Any] = {}
        self._kept: Any = None

    def value(self, name: str) -> Any:
        """What a name stands for."""
        value = self._values.get(name)  # none of them is null
        if value is None:
            made = dict(self._fields) if name == "fields" else OF_EVENT[name](self.event)
            value = self._values[name] = made
        return value

    def ask(self, evaluate: Callable[..., Any], needed: Iterable[str]) -> Any:
        """What the library says of an expression that may name these.

        Raises:
            EvaluationError: the event holds what CEL cannot see, such as text with a NUL character.
        """
        if self._kept is None:
            values = {name: self.value(name) for name in self._several or needed}
            see_nul(self.event, values)
            if not self._several:
                return evaluate(None, values, None, arenas().of(self.event))
            self._kept = environment().Activation(values, None, arenas().of(self.event))
        return evaluate(self._kept)


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_time(round((value - EPOCH) / timedelta(microseconds=1)))
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    if isinstance(value, dict):
        return to_jsonable({key: _as_json(inner) for key, inner in value.items()})
    if isinstance(value, bytes | bytearray):
        return to_jsonable(bytes(value))
    return to_jsonable(value) if value is None or isinstance(value, bool | int | float | str) else str(value)
