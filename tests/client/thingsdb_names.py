"""The public names of python-thingsdb, with their parameters: read from the package, or as recorded.

Run as a program, with the package installed, it prints the recording anew.
"""

import enum
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

RECORDED: Final = Path(__file__).with_name("thingsdb_names.txt")
VERSION: Final = "1.4.1"


def recorded() -> dict[str, str]:
    """Each name, and what it is."""
    lines = RECORDED.read_text("utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def installed() -> dict[str, str]:
    """The same, of the package that is installed.

    Raises:
        ImportError: there is none.
    """
    package = importlib.import_module("thingsdb")
    modules = [module.name for module in pkgutil.walk_packages(package.__path__, "thingsdb.")]
    return dict(entry for module in sorted(modules) for entry in _of_module(module))


def what(thing: Any) -> str:
    """What a name stands for: its kind, and its parameters where it can be called."""
    if isinstance(thing, property):
        return "property"
    if isinstance(thing, type) and issubclass(thing, enum.Enum):
        return "enum " + " ".join(f"{each.name}={each.value}" for each in thing)
    if isinstance(thing, type) and issubclass(thing, dict):
        return "dict " + " ".join(thing.__annotations__)
    if isinstance(thing, type) and issubclass(thing, BaseException):
        return f"error {' '.join(_builtin_bases(thing))} {parameters(thing)}"
    if callable(thing) or isinstance(thing, staticmethod):
        return parameters(thing)
    return f"value {thing!r}" if isinstance(thing, int | str) else f"value of {type(thing).__name__}"


def parameters(thing: Any) -> str:
    """The parameters without their types, and without `self`."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return "()"
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(inspect.Signature([each for each in plain if each.name != "self"]))


def _builtin_bases(error: type[BaseException]) -> list[str]:
    """The names of what a program may catch it as, besides its own name and `Exception`."""
    return [
        base.__name__
        for base in error.__mro__
        if base.__module__ in {"builtins", "asyncio.exceptions"} and base not in Exception.__mro__
    ]


def _of_module(name: str) -> Iterator[tuple[str, str]]:
    module = importlib.import_module(name)
    for attribute, thing in sorted(vars(module).items()):
        if attribute.startswith("_") or not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        if not thing.__module__.startswith("thingsdb"):
            continue
        is_passed_on = hasattr(module, "__path__")  # a package passes on what programs are to import
        if thing.__module__ == name or is_passed_on:
            yield f"{name}.{attribute}", what(thing)
        if is_passed_on and isinstance(thing, type) and not issubclass(thing, enum.Enum):
            yield from _members(f"{name}.{attribute}", thing)


def _members(name: str, thing: type) -> Iterator[tuple[str, str]]:
    """The public members of a class that it or another class of the package defines."""
    for member in sorted(dir(thing)):
        owner = next(base for base in thing.__mro__ if member in vars(base))
        if not member.startswith("_") and owner.__module__.startswith("thingsdb"):
            yield f"{name}.{member}", what(inspect.getattr_static(thing, member))


if __name__ == "__main__":
    print("\n".join(f"{name} {kind}" for name, kind in installed().items()))
