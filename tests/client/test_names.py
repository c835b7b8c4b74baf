"""Every public name of python-thingsdb is here, with the same parameters, or the documentation lists it."""

import ast
import importlib
import inspect
import re
import textwrap
from importlib.metadata import version
from importlib.util import find_spec

import pytest

from tdbwatch.client.admin import Admin

from .behaviours.table import CONNECTOR, behaviours, switch
from .thingsdb_names import VERSION, installed, recorded, what

NAMES = recorded()


def counterpart(name):
    """What stands here for a name of python-thingsdb: in the module of that name, or else in its package."""
    module, members = _split(name)
    found = _module(switch(module))
    for member in members:
        found = inspect.getattr_static(found, member)
    return found


def _module(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return _module(name.rpartition(".")[0])


def _split(name):
    parts = name.split(".")
    size = next((n for n, part in enumerate(parts) if part[0].isupper()), len(parts) - 1)
    return ".".join(parts[:size]), parts[size:]


def differs(name):
    """Whether a program that uses the name as python-thingsdb has it would not get what it asks for."""
    theirs = NAMES[name]
    try:
        ours = counterpart(name)
    except AttributeError:
        return True
    if not theirs.startswith("("):
        return what(ours) != theirs
    expected = _parameters(theirs)
    offered = {n: p for n, p in inspect.signature(ours).parameters.items() if n != "self"}
    taken = [_bare(offered[n]) for n in offered if n in expected]
    needed = [p for n, p in offered.items() if n not in expected and p.default is p.empty and p.kind < 2]
    return taken != [_bare(p) for p in expected.values()] or needed != []


def _bare(parameter):
    """Without its type; `{}` as a default is None here, since that one would be shared by all calls."""
    default = None if parameter.default == {} else parameter.default
    return parameter.replace(annotation=inspect.Parameter.empty, default=default)


def _parameters(recorded):
    return inspect.signature(eval(f"lambda {recorded[1:-1]}: None")).parameters


def listed():
    """The names of the table *Names*: a module stands for all that is in it, `Class.member` for itself."""
    _, _, section = CONNECTOR.read_text("utf-8").partition("\n### Names\n")
    rows = [line.split("|")[1] for line in section.split("\n## ")[0].splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def stands_for(entry, name):
    return name == entry or name.startswith(f"{entry}.") or name.endswith(f".{entry}")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_as_there_or_listed(name):
    assert not differs(name) or any(stands_for(entry, name) for entry in listed())


@pytest.mark.parametrize("entry", sorted(listed()))
def test_what_is_listed_does_differ(entry):
    assert [name for name in NAMES if stands_for(entry, name) and differs(name)] != []


@pytest.mark.skipif(find_spec("thingsdb") is None, reason="python-thingsdb is not installed")
def test_the_recorded_names_are_the_packages():
    assert version("python-thingsdb") == VERSION
    assert installed() == NAMES


def test_the_table_of_behaviours_gives_every_short_name_every_argument():
    given = {}
    for entry in (entry for entry in behaviours() if entry.topic == "admin"):
        for call in ast.walk(ast.parse(f"async def main():\n{textwrap.indent(entry.program, '    ')}")):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                used = {*range(len(call.args)), *(keyword.arg for keyword in call.keywords)}
                given.setdefault(call.func.attr, set()).update(used)
    short = [name for name in vars(Admin) if not name.startswith("_") and name != "query"]
    wanted = {name: list(_parameters(NAMES[f"thingsdb.client.Client.{name}"])) for name in short}
    assert [
        (name, parameter)
        for name, parameters in wanted.items()
        for position, parameter in enumerate(parameters)
        if not given.get(name, set()) & {position, parameter}
    ] == []
    assert set(short) <= set(given)
