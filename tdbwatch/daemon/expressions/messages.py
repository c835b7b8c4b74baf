"""What the library says of an expression, in our words: one line, its place, and a remedy."""

import re
from typing import Final

from tdbwatch.daemon.expressions.functions import are_unknown
from tdbwatch.daemon.expressions.hints import OTHER_TYPE, name_hint, syntax_hint
from tdbwatch.daemon.expressions.library import FUNCTIONS, UNDECLARED
from tdbwatch.daemon.expressions.names import NAMES
from tdbwatch.printable import printable, shortened

_PLACE: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
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


def unknown_function(said: str, source: str) -> str:
    """What the compiler does not know, where that may be the function of a plugin that is not loaded."""
    found = UNDECLARED.search(said)
    if not are_unknown() or found is None or not re.search(rf"\b{found[1]}\s*\(", source):
        return ""
    return found[1]


def told(text: str, source: str) -> ExpressionError:
    """What the compiler says, in one line and in our words, at the first place that it names."""
    match = _PLACE.search(text)
    if match is None:
        return ExpressionError(said(text.partition(": ")[2] or text))
    line, column, message = int(match[1]), int(match[2]), match[3]
    hint = unknown = ""
    if undeclared := UNDECLARED.search(message):
        unknown = undeclared[1]
        hint = name_hint(unknown, source, NAMES, FUNCTIONS)
        message = f"there is no {unknown!r} here"
    elif overload := _OVERLOAD.search(message):
        operator = _OPERATORS.get(overload[1], overload[1])
        message, hint = f"{operator} does not work with {overload[2]}", OTHER_TYPE
    elif message.startswith(("Syntax error: ", "reserved identifier")):
        message = message.partition(" expecting ")[0].replace("'<EOF>'", "the end of the expression")
        hint = syntax_hint(source, line, column)
    return ExpressionError(said(message), line, column, hint, unknown)


def said(text: str) -> str:
    return printable(shortened(text.strip(), _SHOWN))


def type_words(kind: str) -> str:
    """A type of CEL, as a message says it."""
    return _TYPES.get(kind.partition("<")[0], kind.lower())
