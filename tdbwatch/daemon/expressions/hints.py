"""What people write who know other languages, and what CEL has instead. Pure."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from tdbwatch.printable import printable

_WIDTH: Final = 72
"""Characters of an expression that are shown around a mistake."""
_AT: Final = tuple(
    (re.compile(pattern), advice)
    for pattern, advice in (
        (r"=~", "for a pattern write event.matches('^disk-')"),
        (r"=", "write == to compare"),
        (r"and\b", "write && for and"),
        (r"or\b", "write || for or"),
        (r"not\s+in\b", "write !(event in ['a', 'b'])"),
        (r"not\b", "write ! for not"),
        (r"is\b", "write == to compare"),
        (r"&", "write && for and"),
        (r"\|", "write || for or"),
        (r"(?<=<)>", "write != for unequal"),
        (r"(?<=-)>", "write a dot before a key: args[0].host"),
        (r"['\"]", "close the quote"),
        ("[\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb]", "write straight quotes, \" or '"),
        (r"\{\{|\}", "write it without {{ }}: those are for templates"),
        (r"if\b|then\b|else\b", "write CONDITION ? THIS : THAT"),
        (r";", "remove it: an expression is one value"),
        (r"\.\.", "write one dot before a key: args[0].host"),
    )
)
"""What stands at the place of a syntax error."""
_INSTEAD: Final = {
    "not": "write ! for not",
    "True": "write true",
    "False": "write false",
    "TRUE": "write true",
    "FALSE": "write false",
    "None": "write null",
    "nil": "write null",
    "NULL": "write null",
    "len": "write size(args)",
    "length": "write size(args)",
    "count": "write size(args)",
    "str": "write string(args[0])",
    "float": "write double(args[0])",
    "lower": "write event.lowerAscii()",
    "toLowerCase": "write event.lowerAscii()",
    "upper": "write event.upperAscii()",
    "includes": "write event.contains('disk')",
    "like": "write event.matches('^disk-')",
    "now": "an expression sees no clock, only `time`: when the event was received",
}
_FUNCTIONS: Final = (
    "all", "bool", "bytes", "charAt", "contains", "double", "duration", "endsWith", "exists", "exists_one",
    "filter", "getDate", "getDayOfWeek", "getFullYear", "getHours", "getMinutes", "getMonth", "getSeconds",
    "has", "indexOf", "int", "join", "lastIndexOf", "lowerAscii", "map", "matches", "replace", "size",
    "split", "startsWith", "string", "substring", "timestamp", "trim", "type", "uint", "upperAscii",
)  # fmt: skip
_OPEN: Final = {"(": ")", "[": "]", "{": "}"}


def syntax_hint(source: str, line: int, column: int) -> str:
    """Where in the expression it is, and what may be meant."""
    text = (source.splitlines() or [""])[min(line, len(source.splitlines()) or 1) - 1]
    at = column - 1
    advice = next((said for pattern, said in _AT if pattern.match(text, at)), "")
    if not advice and at >= len(text):
        advice = _at_end(source)
    if not text:
        return advice
    start = max(0, at - _WIDTH + 8)
    shown = printable(text[start : start + _WIDTH])
    mark = " " * len(printable(text[start:at])) + "^"
    return f"{shown}\n{mark} {advice or 'CEL has nothing like this here; docs/routes.md shows what it has'}"


def _at_end(source: str) -> str:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", source)
    missing = [end for begin, end in _OPEN.items() if bare.count(begin) > bare.count(end)]
    if missing:
        return f"close the bracket: {' and '.join(missing)}"
    return (
        "write what is to hold, such as args[0].severity >= 5"
        if not source.strip()
        else "something is missing here"
    )


def name_hint(name: str, source: str, names: Iterable[str], functions: Iterable[str]) -> str:
    """What may be meant by a name that nobody knows."""
    if name in _INSTEAD:
        return _INSTEAD[name]
    called = re.search(rf"\b{re.escape(name)}\s*\(", source) is not None
    known = [*_FUNCTIONS, *functions] if called else list(names)
    close = get_close_matches(name, known, 1) or [one for one in known if one.lower() == name.lower()]
    if close:
        return f"did you mean {close[0]}?"
    return "docs/routes.md names functions" if called else f"there are {', '.join(names)}"


OTHER_TYPE: Final = "both sides must be of one type; string(x), int(x) and double(x) make another"
"""The remedy for a comparison of what cannot be compared."""
