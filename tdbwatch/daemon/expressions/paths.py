"""What an expression asks of an event's arguments, where that is told by its text: `args[0].host`.

The library takes longer to read a list and a mapping than to evaluate most expressions. So what such a path
leads to is looked up here, and given to the library as a variable, if it is one number, text, truth or null.
Everything else, such as a key that is missing, is left to the library. Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_ROOTS: Final = ("args", "data", "details", "fields")
_TOKEN: Final = re.compile(
    r"""(?P<text>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
    rf"""|(?<![\w.])(?P<path>(?:{"|".join(_ROOTS)})(?:\.[A-Za-z_]\w*(?![\w(]|\s+\()|\[\d{{1,6}}\]|\['\w+'\]|\["\w+"\])+)"""
    r"""|(?P<other>\w+|\s+|.)""",
    re.DOTALL,
)
_PART: Final = re.compile(r"\.(\w+)|\[(\d+)\]|\[['\"](\w+)['\"]\]")
_UNCLEAR: Final = re.compile(
    r"//|'''|\"\"\"|\b[rRbB]+['\"]|\.\s*(?:all|exists|exists_one|map|filter)\s*\(|\.\s+\w|\w\s+[.\[]"
)
"""Comments, other texts, variables of loops, and space where hardly anybody writes any."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A variable, and the path that it stands for.

    Attributes:
        root: the name that it begins at.
        steps: the keys and positions from there on, each with the type of what has it.
    """

    variable: str
    root: str
    steps: tuple[tuple[type, Any], ...]

    def found_in(self, value: Any) -> Any:
        """What the path leads to.

        Raises:
            LookupError: to nothing, or to what only the library reads.
        """
        for kind, key in self.steps:
            if type(value) is not kind:
                raise LookupError
            value = value[key]  # type: ignore[index]  # as was just found
        found = type(value)
        if found is str:
            if "\0" in value:
                raise LookupError
        elif found not in _SCALARS:
            raise LookupError
        return value


_SCALARS: Final = frozenset({int, float, bool, type(None)})


def with_variables(source: str) -> tuple[str, tuple[Lookup, ...]] | None:
    """The expression with variables for its paths; None: there are none, or its text is not clear enough."""
    if _UNCLEAR.search(source):
        return None
    lookups: dict[str, Lookup] = {}

    def replaced(match: re.Match[str]) -> str:
        path = match["path"]
        if path is None:
            return match[0]
        if path not in lookups:
            root = re.match(r"\w+", path)[0]  # type: ignore[index]
            lookups[path] = Lookup(variable(len(lookups)), root, tuple(_steps(path)))
        return lookups[path].variable

    made = _TOKEN.sub(replaced, source)
    return (made, tuple(lookups.values())) if 0 < len(lookups) <= MOST else None


def fields_in(source: str) -> frozenset[str]:
    """The names of the fields that an expression asks for, as far as its text is clear enough to tell."""
    if _UNCLEAR.search(source):
        return frozenset()
    paths = (match["path"] for match in _TOKEN.finditer(source))
    return frozenset(str(next(_steps(path))[1]) for path in paths if path and path.startswith("fields"))


def _steps(path: str) -> Iterator[tuple[type, Any]]:
    for key, at, quoted in _PART.findall(path):
        yield (list, int(at)) if at else (dict, key or quoted)


MOST: Final = 8
"""Paths of one expression that are looked up; with more of them the library reads all at once."""


def variable(index: int) -> str:
    """The name of a variable; nothing else is called so."""
    return f"path_{index}_"
