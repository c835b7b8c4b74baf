"""Whether a plugin's hooks can be called as they are written; found out before one of them is called."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

import pluggy

from tdbwatch.plugin.hooks import PROJECT, HookSpecs

KNOWN: Final = {
    name: [argument for argument in inspect.signature(spec).parameters if argument != "self"]
    for name, spec in sorted(vars(HookSpecs).items())
    if not name.startswith("_")
}
"""The arguments of each hook."""
_manager: Final = pluggy.PluginManager(PROJECT)


def faults_of(plugin: object) -> Iterator[tuple[str, str]]:
    """What is wrong with each of its hooks, and where. Some plugins have none."""
    for name, arguments in KNOWN.items():
        function = getattr(plugin, name, None)
        if inspect.isroutine(function) and (fault := _fault(plugin, name, function, arguments)):
            yield f"{name} {fault}", place_of_code(function)


def place_of_code(function: Callable[..., Any]) -> str:
    """`file:line` where it is written; empty: nobody knows."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def _fault(plugin: object, name: str, function: Callable[..., Any], arguments: list[str]) -> str:
    options = _manager.parse_hookimpl_opts(plugin, name)
    if options is None:
        return "is not marked; write @hookimpl above it, or rename it"
    if options["wrapper"] or options["hookwrapper"]:
        return "is a wrapper, and there is nothing that it could wrap; write @hookimpl without arguments"
    plain = inspect.unwrap(function)
    is_read = name == "tdbwatch_sinks"  # whatever it gives is gone through
    if (inspect.isgeneratorfunction(plain) and not is_read) or inspect.isasyncgenfunction(plain):
        return "is a generator (there is a yield in it), so nothing of it would run"
    if "context" not in arguments and inspect.iscoroutinefunction(plain):  # the others hear what comes
        return f"is async, and nothing awaits it; write def {name}({', '.join(arguments)})"
    return next(filter(None, (_unfit(one, arguments) for one in _parameters(function))), "")


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    starred = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return [one for one in inspect.signature(function).parameters.values() if one.kind not in starred]


def _unfit(parameter: inspect.Parameter, arguments: list[str]) -> str:
    """Why pluggy does not fill this argument, by its name and its place."""
    name, has_default = parameter.name, parameter.default is not parameter.empty
    if name in arguments and has_default:
        return f"has a default for {name}, so it would never get another; remove the default"
    if has_default:
        return ""
    if name not in arguments:
        takes = f"it may take {' and '.join(arguments)}" if arguments else "it takes none"
        return f"has an argument {name}, which this hook does not give; {takes}"
    return f"takes {name} by name only; remove the star" if parameter.kind is parameter.KEYWORD_ONLY else ""
