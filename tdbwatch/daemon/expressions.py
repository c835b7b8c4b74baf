"""Expressions over an event, in CEL: compiled and checked when the configuration is read. Pure."""

import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Literal

from tdbwatch.daemon.expression_answers import Answers
from tdbwatch.daemon.expression_bounds import (
    Arenas,
    EvaluationError,
    loops_in,
    multiplies,
    refuse_long_work,
    refuse_much,
    refuse_multiplying,
    see_nul,
)
from tdbwatch.daemon.expression_paths import MOST, Lookup, variable, with_variables
from tdbwatch.daemon.expression_words import OTHER_TYPE, name_hint, syntax_hint
from tdbwatch.daemon.functions import Function, are_unknown
from tdbwatch.plugin import Event
from tdbwatch.plugin.event import format_time
from tdbwatch.plugin.jsonable import to_jsonable
from tdbwatch.printable import printable, shortened

Fields = Mapping[str, Any]
"""What routes set for an event, by name."""
Wanted = Literal["condition", "value"]
"""What an expression is for: true or false, or any value."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VALUES: Final[Mapping[str, Callable[[Event, Fields], Any]]] = {
    "event": lambda event, _: event.event,
    "room": lambda event, _: event.room,
    "scope": lambda event, _: event.scope,
    "kind": lambda event, _: str(event.kind),
    "id": lambda event, _: event.id,
    "time": lambda event, _: _EPOCH + timedelta(microseconds=event.received_us),
    "args": lambda event, _: event.args,
    "data": lambda event, _: event.data or {},
    "details": lambda event, _: event.details,
    "fields": lambda _, fields: dict(fields),
}
_COMPOUND: Final = frozenset({"args", "data", "details", "fields"})
NAMES: Final = tuple(_VALUES)
"""What an expression may name."""
_NEVER_TWICE: Final = frozenset({"id", "time"})
"""Names of what is another for each event."""
_PLACE: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED: Final = re.compile(r"undeclared reference to '(\w+)'")
_OVERLOAD: Final = re.compile(r"found no matching overload for '(\S+)' applied to '(.*)'")
_OPERATORS: Final = {
    "_==_": "==", "_!=_": "!=", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">=", "_+_": "+", "_-_": "-",
    "_*_": "*", "_/_": "/", "_%_": "%", "_&&_": "&&", "_||_": "||", "!_": "!", "-_": "-", "_[_]": "[ ]",
    "_?_:_": "? :", "@in": "in",
}  # fmt: skip
_TYPES: Final = {
    "STRING": "text",
    "INT": "a number",
    "UINT": "a number",
    "DOUBLE": "a number",
    "LIST": "a list",
    "MAP": "a mapping",
}
_PLAIN: Final = frozenset({"BOOL", "INT", "UINT", "STRING", "NULL"})
_INTERNAL: Final = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_SHOWN: Final = 200


class ExpressionError(ValueError):
    """An expression that is wrong.

    Attributes:
        line: where in it, from 1.
        column: likewise.
        hint: the remedy, if one is known.
        unknown: the name that there is not, if that is what is wrong.
    """

    def __init__(
        self, message: str, line: int = 1, column: int = 1, hint: str = "", unknown: str = ""
    ) -> None:
        super().__init__(message)
        self.unknown = unknown
        self.line = line
        self.column = column
        self.hint = hint


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
            self._compiled = (_environment() if plugins else _plain_environment()).compile(source)
        except RuntimeError as error:
            self._unknown = _unknown_function(str(error), source)
            if not self._unknown:
                raise _told(str(error), source) from None
            self._compiled = _environment().compile("dyn(null)")
        kind = self._compiled.return_type().name()
        if wanted == "condition" and kind not in {"BOOL", "DYN"}:
            raise ExpressionError(
                f"this is {_type(kind)}, not true or false", hint="compare it with something"
            )
        self.needs = _named_in(source)
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
            raise EvaluationError(_said(_INTERNAL.sub("", str(error)))) from None
        if kind == "ERROR":  # such a value counts as true
            raise EvaluationError(_said(str(value).partition(": ")[2]))
        if self._wanted == "condition":
            raise EvaluationError(f"it is {_type(kind)} for this event, not true or false")
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

    __slots__ = ("_answers", "_evaluate", "_lookups", "_names")

    def __init__(
        self,
        evaluate: Callable[..., Any],
        names: Iterable[str],
        lookups: Sequence[Lookup],
        answers: Answers | None,
    ) -> None:
        self._evaluate = evaluate
        self._names = tuple(names)
        self._lookups = lookups
        self._answers = answers

    @classmethod
    def of(cls, source: str) -> "_Short | None":
        """None: it must see all of them."""
        found = with_variables(source)
        if found is None:
            return None
        shorter, lookups = found
        needs = _named_in(shorter)
        if not needs.isdisjoint(_COMPOUND):
            return None
        try:
            compiled = _environment().compile(shorter)
        except RuntimeError:  # such as has(args[0].x)
            return None
        recurs = needs.isdisjoint(_NEVER_TWICE) and not _calls_plugins(source)
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
        for name in self._names:
            seen[name] = names.value(name)
        answers = self._answers
        if answers is not None and (known := answers.of(seen)) is not None:
            return known
        found = self._evaluate(None, seen, None, _arenas().of(event))
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
            value = self._values[name] = _VALUES[name](self.event, self._fields)
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
                return evaluate(None, values, None, _arenas().of(self.event))
            self._kept = _environment().Activation(values, None, _arenas().of(self.event))
        return evaluate(self._kept)


def _named_in(source: str) -> frozenset[str]:
    """The names that an expression may ask for."""
    return frozenset(name for name in NAMES if re.search(rf"\b{name}\b", source))


class _Local(threading.local):
    """The library finds an arena, where a plugin's function is called, in the thread that made it only."""

    def __init__(self) -> None:
        from cel_expr_python import cel

        self.arenas = Arenas(cel.Arena)


@cache
def _local() -> _Local:
    return _Local()


def _arenas() -> Arenas:
    return _local().arenas


def declare(functions: Iterable[Function]) -> None:
    """Let expressions that are compiled from now on call these, and no others beside CEL's own."""
    new = {function.name: function for function in functions}
    if new or _functions:
        _functions.clear()
        _functions.update(new)
        _environment.cache_clear()


_functions: Final[dict[str, Function]] = {}


def _calls_plugins(source: str) -> bool:
    """Whether it may: what such a function says may be something else each time."""
    return any(name in source for name in _functions)


def is_taken(name: str) -> bool:
    """Whether a name means something in every expression."""
    return name in NAMES or any(_is_known(f"{name}({', '.join(['dyn(1)'] * count)})") for count in range(4))


def _is_known(call: str) -> bool:
    try:
        _plain_environment().compile(call)
    except RuntimeError as error:
        return _UNDECLARED.search(str(error)) is None
    return True


def _unknown_function(said: str, source: str) -> str:
    """What the compiler does not know, where that may be the function of a plugin that is not loaded."""
    found = _UNDECLARED.search(said)
    if not are_unknown() or found is None or not re.search(rf"\b{found[1]}\s*\(", source):
        return ""
    return found[1]


@cache
def _environment() -> Any:
    return _new_environment(tuple(_functions.values()))


@cache
def _plain_environment() -> Any:
    return _new_environment(())


def _new_environment(functions: Iterable[Function]) -> Any:
    from cel_expr_python import cel  # it takes its time to import, and few configurations need it
    from cel_expr_python.ext import ext_math, ext_strings

    kinds = cel.Type
    any_map = kinds.Map(kinds.STRING, kinds.DYN)
    types = dict.fromkeys(NAMES, kinds.STRING) | dict.fromkeys(("data", "details", "fields"), any_map)
    types |= {variable(index): kinds.DYN for index in range(MOST)}
    types |= {"time": kinds.TIMESTAMP, "args": kinds.List(kinds.DYN)}
    extensions = [ext_strings.ExtStrings(), ext_math.ExtMath()]
    declared = [function.declared(cel) for function in functions]
    return cel.NewEnv(variables=types, extensions=extensions, functions=declared)


def _told(text: str, source: str) -> ExpressionError:
    """What the compiler says, in one line and in our words, at the first place that it names."""
    match = _PLACE.search(text)
    if match is None:
        return ExpressionError(_said(text.partition(": ")[2] or text))
    line, column, message = int(match[1]), int(match[2]), match[3]
    hint = unknown = ""
    if undeclared := _UNDECLARED.search(message):
        unknown = undeclared[1]
        hint = name_hint(unknown, source, NAMES, _functions)
        message = f"there is no {unknown!r} here"
    elif overload := _OVERLOAD.search(message):
        operator = _OPERATORS.get(overload[1], overload[1])
        message, hint = f"{operator} does not work with {overload[2]}", OTHER_TYPE
    elif message.startswith(("Syntax error: ", "reserved identifier")):
        message = message.partition(" expecting ")[0].replace("'<EOF>'", "the end of the expression")
        hint = syntax_hint(source, line, column)
    return ExpressionError(_said(message), line, column, hint, unknown)


def _said(text: str) -> str:
    return printable(shortened(text.strip(), _SHOWN))


def _type(kind: str) -> str:
    """A type of CEL, as a message says it."""
    return _TYPES.get(kind.partition("<")[0], kind.lower())


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_time(round((value - _EPOCH) / timedelta(microseconds=1)))
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    if isinstance(value, dict):
        return to_jsonable({key: _as_json(inner) for key, inner in value.items()})
    if isinstance(value, bytes | bytearray):
        return to_jsonable(bytes(value))
    return to_jsonable(value) if value is None or isinstance(value, bool | int | float | str) else str(value)
