"""Routes that take nothing, sinks that nothing reaches, rooms that nobody hears. Pure."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from tdbwatch.daemon.config.fields import compile_globs, scope_glob
from tdbwatch.daemon.config.models import RouteConfig, Sections
from tdbwatch.daemon.config.problems import Path, suggestion
from tdbwatch.daemon.config.rules import Rule
from tdbwatch.daemon.config.sink_models import SinkConfig
from tdbwatch.daemon.config.tree import Tree
from tdbwatch.plugin import Kind
from tdbwatch.wire.scopes import short

Cell = tuple[Kind, str, str]
"""Kind, scope and room of records that there can be."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A route, and what of all that there can be it is asked about and takes."""

    rule: Rule
    takes: frozenset[Cell]


def doubt_routes(tree: Tree, sections: Sections, sinks: Sequence[SinkConfig]) -> None:
    """Warn of what the routes leave out, and of routes that are asked in vain."""
    for path, glob in _globs(tree, sections.routes):
        _doubt_glob(tree, path, glob)
    if not sections.routes:
        return
    misspelt = set(_doubt_names(tree, sections))
    asked = list(_asked(tree, sections, misspelt))
    reached = {name for route in asked if route.takes for name in route.rule.sinks}
    for sink in sinks:
        if sink.name not in reached and not sink.hears - {Kind.EVENT}:
            hint = "name it in a route's `to`, or remove it"
            tree.warn(("sinks", sink.name), "nothing reaches this sink: no route leads to it", hint)
    taken = {
        cell for route in asked if any(one.to or one.stop for one in route.rule.every) for cell in route.takes
    }
    for index, room in enumerate(sections.rooms):
        if (Kind.EVENT, short(room.scope), room.record_name) not in taken:
            hint = "add a route; to drop them on purpose, one with `to: []` and `stop: true`"
            tree.warn(("rooms", index), "no route takes the events of this room", hint)


def _doubt_glob(tree: Tree, path: Path, glob: str) -> None:
    if "," in glob:
        hint = "for several globs write a list: [a, b]; where the comma is meant, [,]"
        if not all(bracketed == "[,]" for bracketed in _around(glob)):
            tree.warn(path, "the comma is a part of this one glob", hint)
    elif glob.startswith("!"):
        hint = "drop what is not wanted with a route before: {match: ..., to: [], stop: true}"
        tree.warn(path, "a ! at the beginning of a glob does not negate it", hint)


def _around(glob: str) -> Iterator[str]:
    """Each comma with what is beside it."""
    padded = f" {glob} "
    return (padded[index - 1 : index + 2] for index, char in enumerate(padded) if char == ",")


def _globs(tree: Tree, routes: Sequence[RouteConfig], *keys: str) -> Iterator[tuple[Path, str]]:
    """The globs of all routes, and where they are."""
    for index, key in product(range(len(routes)), keys or ("room", "event", "scope")):
        path: Path = ("routes", index, "match", key)
        listed = isinstance(tree.get(path), list)
        for position, glob in enumerate(getattr(routes[index].match, key) or ()):
            yield (*path, position) if listed else path, glob


def _doubt_names(tree: Tree, sections: Sections) -> Iterator[Path]:
    """Warn of globs that match no room, or no scope, of those that there are; the routes that have them."""
    rooms = [(room.record_name, ("rooms", index)) for index, room in enumerate(sections.rooms)]
    scopes = [(short(room.scope), ("rooms", index, "scope")) for index, room in enumerate(sections.rooms)]
    default = tree.is_tainted(("thingsdb", "scope"))
    for key, known, spelled, hidden in (("room", rooms, str, False), ("scope", scopes, scope_glob, default)):
        names = {name for name, _ in known}
        shown = [] if hidden else [name for name, path in known if not tree.is_tainted(path)]
        for path, glob in _globs(tree, sections.routes, key):
            if not _matches_any(spelled(glob), names):
                yield path[:2]
                word = "" if tree.is_tainted(path) else glob
                hint = suggestion(word, shown, f"the {key}s are") or f"see the {key}s under rooms"
                what = "name" if key == "room" else "scope"
                if "," not in glob and not glob.startswith("!"):  # else it was said already
                    tree.warn(path, f"no room that is watched has such a {what}", hint)


def _matches_any(glob: str, names: Iterable[str]) -> bool:
    return any(map(compile_globs([glob]).match, names))


def _asked(tree: Tree, sections: Sections, misspelt: Container[Path]) -> Iterator[_Asked]:
    """Each route with what it takes; warns of those that take nothing, unless that was said already."""
    there = list(_cells(sections))
    before: list[tuple[RouteConfig, Rule]] = []
    for index, route in enumerate(sections.routes):
        path: Path = ("routes", index)
        rule = Rule.of(route, f"routes[{index}]")
        admitted = {cell for cell in there if rule.admits(*cell)}
        left = {cell for cell in admitted if not any(_takes_all(*one, cell, route) for one in before)}
        if not admitted and path not in misspelt:
            hint = "see its kind, room and scope together; kind: node has neither room nor scope"
            tree.warn((*path, "match"), "this route matches nothing that there can be", hint)
        elif admitted and not left:
            hint = "put it before the route that has `stop: true`, or remove one of them"
            tree.warn(path, "this route is never asked: what it matches stops at a route before", hint)
        yield _Asked(rule, frozenset(left))
        if rule.stop:
            before.append((route, rule))


def _cells(sections: Sections) -> Iterator[Cell]:
    """The kind and place of all records that there can be."""
    for kind in Kind:
        if kind is Kind.NODE:
            yield kind, "", ""
        else:
            yield from ((kind, short(room.scope), room.record_name) for room in sections.rooms)


def _takes_all(before: RouteConfig, rule: Rule, cell: Cell, route: RouteConfig) -> bool:
    """Whether nothing of this kind and room comes past the route `before`, that `route` could match."""
    if rule.is_conditional or rule.default or not rule.admits(*cell):
        return False
    globs = before.match.event
    return (
        globs is None
        or "*" in globs
        or (route.match.event is not None and set(route.match.event) <= set(globs))
    )
