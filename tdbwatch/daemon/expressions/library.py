"""The library of CEL: what expressions may name and call, and whose memory they use. Imported when needed."""

import re
import threading
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from tdbwatch.daemon.expressions.bounds import Arenas
from tdbwatch.daemon.expressions.functions import Function
from tdbwatch.daemon.expressions.names import NAMES
from tdbwatch.daemon.expressions.paths import MOST, variable

UNDECLARED: Final = re.compile(r"undeclared reference to '(\w+)'")
FUNCTIONS: Final[dict[str, Function]] = {}
"""Those of plugins, by name."""


_local: Final = threading.local()


def arenas() -> Arenas:
    """Those of this thread: where a plugin's function is called, the library finds no other thread's."""
    try:
        return _local.arenas  # type: ignore[no-any-return]
    except AttributeError:
        from cel_expr_python import cel

        _local.arenas = made = Arenas(cel.Arena)
        return made


def declare(functions: Iterable[Function]) -> None:
    """Let expressions that are compiled from now on call these, and no others beside CEL's own."""
    new = {function.name: function for function in functions}
    if new or FUNCTIONS:
        FUNCTIONS.clear()
        FUNCTIONS.update(new)
        environment.cache_clear()


def calls_plugins(source: str) -> bool:
    """Whether it may: what such a function says may be something else each time."""
    return any(name in source for name in FUNCTIONS)


def is_taken(name: str) -> bool:
    """Whether a name means something in every expression."""
    return name in NAMES or any(_is_known(f"{name}({', '.join(['dyn(1)'] * count)})") for count in range(4))


def _is_known(call: str) -> bool:
    try:
        plain_environment().compile(call)
    except RuntimeError as error:
        return UNDECLARED.search(str(error)) is None
    return True


@cache
def environment() -> Any:
    """With the functions of plugins."""
    return _new_environment(tuple(FUNCTIONS.values()))


@cache
def plain_environment() -> Any:
    """Without them."""
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
