"""What python-thingsdb has in public is here by the same name, or in the table of what is not."""

import importlib
import inspect
import pkgutil
import re
import typing
from pathlib import Path

import thingsdb

DOCUMENT = Path(__file__).parents[2] / "docs" / "connector.md"


def modules():
    """Every module of python-thingsdb, and the one of its name here, or None."""
    found = [thingsdb.__name__, *(m.name for m in pkgutil.walk_packages(thingsdb.__path__, "thingsdb."))]
    for name in found:
        yield importlib.import_module(name), counterpart(name.replace("thingsdb", "tdbwatch.compat", 1))


def counterpart(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def is_public(module, name, value):
    """Whether it is defined in the module, or is in a package for those who import from there."""
    if (
        name.startswith("_")
        or inspect.ismodule(value)
        or isinstance(value, typing.TypeVar | typing.ParamSpec)
    ):
        return False
    home = getattr(value, "__module__", None)
    if home is None:  # a constant
        return name not in vars(typing)
    return home == module.__name__ or (home.startswith("thingsdb") and hasattr(module, "__path__"))


def theirs_and_ours():
    """(dotted name, their thing, our thing or None) for all that is public."""
    for module, ours in modules():
        for name, value in vars(module).items():
            if is_public(module, name, value):
                yield f"{module.__name__}.{name}", value, getattr(ours, name, None)


def differences(dotted, theirs, ours):
    """The dotted names of what a program could tell apart."""
    if ours is None:
        yield dotted
    elif inspect.isclass(theirs):
        yield from class_differences(dotted, theirs, ours)
    elif callable(theirs):
        if not takes_the_same(theirs, ours):
            yield dotted
    elif not isinstance(theirs, str | re.Pattern) and theirs != ours:
        yield dotted


def class_differences(dotted, theirs, ours):
    if builtin_bases(theirs) != builtin_bases(ours):
        yield dotted
    if issubclass(theirs, dict):
        return
    for name in dir(theirs):
        if name.startswith("_") or name in dir(object) or name in dir(Exception) or name in dir(int):
            continue
        member = inspect.getattr_static(theirs, name)
        mine = inspect.getattr_static(ours, name, None)
        short = f"{theirs.__name__}.{name}"
        if mine is None or isinstance(member, property) is not isinstance(mine, property):
            yield short
        elif callable(getattr(theirs, name)) and not isinstance(member, property):
            if not takes_the_same(getattr(theirs, name), getattr(ours, name)):
                yield short
        elif not isinstance(member, property) and getattr(theirs, name) != getattr(ours, name):
            yield short


def builtin_bases(cls):
    return {base for base in cls.__mro__ if base.__module__ in {"builtins", "asyncio.exceptions"}}


def takes_the_same(theirs, ours):
    """Whether each call that theirs takes means the same here: more may be taken, after it or by name."""
    mine = list(inspect.signature(ours).parameters.values())
    other = list(inspect.signature(theirs).parameters.values())
    by_name = {_told_apart_by(parameter): parameter for parameter in mine}
    for place, parameter in enumerate(other):
        same = by_name.get(_told_apart_by(parameter))
        if (
            same is None
            or same.kind is not parameter.kind
            or (same.default or None) != (parameter.default or None)
        ):
            return False
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and mine[place] is not same:
            return False
    known = {_told_apart_by(parameter) for parameter in other}
    more = [parameter for parameter in mine if _told_apart_by(parameter) not in known]
    return all(p.default is not p.empty or p.kind in {p.VAR_KEYWORD, p.VAR_POSITIONAL} for p in more)


def _told_apart_by(parameter):
    """Its name, but nobody can pass anything by the name of `*args` or `**kwargs`."""
    is_many = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    return parameter.kind if is_many else parameter.name


def listed():
    """The names of the table `### Names`; a module stands for all that is in it."""
    section = DOCUMENT.read_text().split("### Names\n", 1)[1].split("\n## ")[0].split("\n### ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


FOUND = {
    difference: dotted
    for dotted, theirs, ours in theirs_and_ours()
    for difference in differences(dotted, theirs, ours)
}


if __name__ == "__main__":
    print(*sorted(FOUND), sep="\n")


def covers(row, name):
    return name == row or name.startswith(f"{row}.")


def test_every_difference_of_names_signatures_and_bases_is_in_the_table():
    rows = listed()
    assert {name for name in FOUND if not any(covers(row, name) for row in rows)} == set()


def test_every_row_of_the_table_is_a_difference():
    assert {row for row in listed() if not any(covers(row, name) for name in FOUND)} == set()
