"""Functions that plugins add to expressions: what they take and give, as their annotations say. Pure."""

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from math import prod
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

_KINDS: Final[Mapping[Any, tuple[str, ...]]] = {
    bool: ("BOOL",),
    int: ("INT",),
    float: ("DOUBLE", "INT"),  # CEL takes none for the other by itself
    str: ("STRING",),
    bytes: ("BYTES",),
    list: ("LIST",),
    dict: ("MAP",),
    datetime: ("TIMESTAMP",),
    timedelta: ("DURATION",),
    types.NoneType: ("NULL",),
}
_ANY: Final = tuple(dict.fromkeys(kind for kinds in _KINDS.values() for kind in kinds))
_MOST_OVERLOADS: Final = 200
_WRITE: Final = "annotate with bool, int, float, str, bytes, list, dict, datetime, timedelta, None or Any"


@dataclass(frozen=True, slots=True)
class Function:
    """A function that expressions may call.

    Attributes:
        call: what calls it; raises `Exception` only, with words that may be shown.
        takes: the types of its arguments, as CEL calls them: each a way to call it.
        gives: the type of its value; `DYN`: it depends.
    """

    name: str
    call: Callable[..., Any]
    takes: tuple[tuple[str, ...], ...]
    gives: str

    @classmethod
    def of(cls, name: str, function: Callable[..., Any], call: Callable[..., Any]) -> "Function":
        """The one that `call` calls, as `function` is annotated.

        Raises:
            TypeError: its annotations do not say what it takes and gives; the message says how they should.
        """
        try:
            parameters, hints = inspect.signature(function).parameters, get_type_hints(function)
        except Exception as error:  # noqa: BLE001 - whatever an annotation does
            raise TypeError(f"the annotations of {name} cannot be read: {error}") from None
        kinds = []
        for parameter in parameters.values():
            if parameter.kind not in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}:
                raise TypeError(
                    f"{name} takes {parameter}; it must take arguments by position, without a star"
                )
            kinds.append(_kinds_of(hints.get(parameter.name), f"{parameter.name!r} of {name}"))
        needed = sum(parameter.default is parameter.empty for parameter in parameters.values())
        counts = range(needed, len(kinds) + 1)
        if sum(prod(map(len, kinds[:count])) for count in counts) > _MOST_OVERLOADS:
            raise TypeError(f"{name} can be called in too many ways; annotate its arguments more narrowly")
        takes = tuple(way for count in counts for way in product(*kinds[:count]))
        gives = _kinds_of(hints.get("return"), f"what {name} returns")
        return cls(name, call, takes, gives[0] if len(gives) == 1 else _given(gives))

    def declared(self, cel: Any) -> Any:
        """It, as the library `cel` wants it declared."""
        overloads = [
            cel.Overload(f"{self.name}_{number}", _type(cel, self.gives), types_, False, self.call)
            for number, types_ in enumerate([[_type(cel, kind) for kind in way] for way in self.takes])
        ]
        return cel.FunctionDecl(self.name, overloads)


def _given(kinds: tuple[str, ...]) -> str:
    return "DOUBLE" if kinds == _KINDS[float] else "DYN"


def _kinds_of(annotation: Any, what: str) -> tuple[str, ...]:
    if annotation is Any:
        return _ANY
    if get_origin(annotation) in {Union, types.UnionType}:
        found = [kind for part in get_args(annotation) for kind in _kinds_of(part, what)]
        return tuple(dict.fromkeys(found))
    kinds = _KINDS.get(get_origin(annotation) or annotation)
    if kinds is None:
        raise TypeError(f"nobody can tell the type of {what}; {_WRITE}")
    return kinds


def _type(cel: Any, kind: str) -> Any:
    if kind == "LIST":
        return cel.Type.List(cel.Type.DYN)
    return cel.Type.Map(cel.Type.DYN, cel.Type.DYN) if kind == "MAP" else getattr(cel.Type, kind)


_unknown: ContextVar[bool] = ContextVar("tdbwatch_functions_unknown", default=False)


@contextmanager
def unknown() -> Iterator[None]:
    """Within, no plugin is loaded: an expression may call what nobody knows, and has no value then."""
    token = _unknown.set(True)
    try:
        yield
    finally:
        _unknown.reset(token)


def are_unknown() -> bool:
    """Whether plugins, and so their functions, are not loaded."""
    return _unknown.get()
