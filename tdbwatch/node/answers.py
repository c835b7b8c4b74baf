"""Registered answers: what the embedded node says to queries and procedures. It interprets no code."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tdbwatch import exceptions as errors

QueryFunction = Callable[[str, str, dict[str, Any]], Any]
"""`(scope, code, vars) -> value`, or an awaitable of it."""


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """What one query is answered.

    Attributes:
        value: the answer, or a `QueryFunction` that gives it.
        change: whether the user needs the privilege CHANGE.
        warning: text of a WARN pushed to the asking client before the answer (recording `warning`).
    """

    value: Any
    change: bool = False
    warning: str | None = None

    def give(self, scope: str, code: str, variables: dict[str, Any]) -> Any:
        """The answer, or an awaitable of it."""
        return self.value(scope, code, variables) if callable(self.value) else self.value


class Answers:
    """All that was registered: exact code first, then patterns in the order of registration."""

    def __init__(self) -> None:
        self._exact: dict[str, QueryAnswer] = {}
        self._patterns: list[tuple[re.Pattern[str], QueryAnswer]] = []
        self._procedures: dict[str, Callable[..., Any]] = {}

    def add_query(self, code: str | re.Pattern[str], answer: QueryAnswer) -> None:
        if isinstance(code, str):
            self._exact[code.strip()] = answer
        else:
            self._patterns.append((code, answer))

    def add_procedure(self, name: str, function: Callable[..., Any]) -> None:
        self._procedures[name] = function

    def query(self, code: str) -> QueryAnswer:
        """The answer for `code`; a pattern must match all of it.

        Raises:
            SyntaxError: (-52) nothing is registered for this code.
        """
        stripped = code.strip()
        if (exact := self._exact.get(stripped)) is not None:
            return exact
        for pattern, answer in self._patterns:
            if pattern.fullmatch(stripped):
                return answer
        shown = stripped if len(stripped) <= 80 else f"{stripped[:77]}..."
        raise errors.SyntaxError(
            f"this is tdbwatch's embedded node, not a database: it has no answer registered for `{shown}`; "
            "register one with on_query() (docs/connector.md, Without ThingsDB)"
        )

    def run(self, name: str, arguments: Any) -> Any:
        """Call the procedure `name`; its value, or an awaitable of it.

        Raises:
            LookupError: (-54) no such procedure.
            BadDataError: (-53) `arguments` is neither a list, a map nor nil (recording `run`).
            NumArgumentsError: (-62) the procedure does not take these arguments.
        """
        function = self._procedures.get(name)
        if function is None:
            raise errors.LookupError(f"procedure `{name}` not found")
        positional, named = _arguments(arguments)
        try:
            inspect.signature(function).bind(*positional, **named)
        except TypeError as error:
            raise errors.NumArgumentsError(f"procedure `{name}`: {error}") from error
        return function(*positional, **named)


def _arguments(arguments: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    if arguments is None:
        return (), {}
    if isinstance(arguments, list):
        return arguments, {}
    if isinstance(arguments, dict) and all(isinstance(key, str) for key in arguments):
        return (), arguments
    raise errors.BadDataError(
        "run expects arguments to be of type map or array; "
        "no arguments (or nil) is also accepted as a valid request"
    )
