"""Routes and absences about nothing, sinks that nothing reaches, rooms that nobody hears. Pure."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tdbwatch.daemon.config.models.config import Sections
from tdbwatch.daemon.config.models.fields import compile_globs, scope_glob
from tdbwatch.daemon.config.models.routes import PlaceConfig, RouteConfig
from tdbwatch.daemon.config.models.rules import Rule
from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.problems import Path, show_path, suggestion
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.words import counted
from tdbwatch.plugin import Kind
from tdbwatch.wire.scopes import short

Cell = tuple[Kind, str, str]
"""Kind, scope and room of records that there can be."""


_DROP: Final = "add a route; to drop them on purpose, one with `to: []` and `stop: true`"
_IDLE: Final = "name it in a route's `to`, or remove it"
_FEW: Final = 3
_LIMITS: Final = {
    Kind.NODE: "kind: node has neither room nor scope",
    Kind.SINK: "kind: sink has neither room nor scope",
    Kind.GROUP: "kind: group comes of a route with `group` only",
    Kind.ABSENCE: "kind: absence comes of `absences` only",
}
"""Kinds of which there may be fewer records than one might think."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A route, and what of all that there can be it is asked about and admits."""

    route: RouteConfig
    rule: Rule
    cells: frozenset[Cell]

    @property
    def takes(self) -> bool:
        """Whether it sends or drops anything itself."""
        return bool(self.cells) and (bool(self.route.to) or self.route.stop)

    def takes_all(self, cell: Cell, of: RouteConfig) -> bool:
        """Whether it admits all of this kind and room that the route `of` could match."""
        if self.rule.is_conditional or self.rule.default or cell not in self.cells:
            return False
        globs, others = self.route.match.event, of.match.event
        return globs is None or "*" in globs or (others is not None and set(others) <= set(globs))


def doubt_routes(tree: Tree, sections: Sections, sinks: Sequence[SinkConfig]) -> None:
    """Warn of what the routes leave out, and of routes that are asked in vain."""
    for _, path, glob in _globs(sections, tree):
        _doubt_glob(tree, path, glob)
    if not (sections.routes or sections.absences):
        return
    misspelt = set(_doubt_names(tree, sections))
    told = {name for absence in sections.absences for name in absence.to}
    _doubt_hooks(tree, sections, {sink.name: sink.hears for sink in sinks if sink.hears})
    _doubt_absences(tree, sections, misspelt)
    if not sections.routes:
        return
    asked = list(_asked(tree, sections.routes, (), frozenset(_cells(sections)), misspelt))
    reached = told.union(name for one in asked if one.takes for name in one.route.to)
    idle: dict[Path, str] = {
        ("sinks", sink.name): sink.name
        for sink in sinks
        if sink.name not in reached and not sink.hears - {Kind.EVENT}
    }
    _doubt_all(tree, idle, "nothing reaches {}: no route leads there", "sink", _IDLE)
    taken = {cell for one in asked if one.takes for cell in one.cells}
    unheard = dict(_unheard(sections, taken))
    shown = {path: show_path(path) if tree.is_tainted(path) else name for path, name in unheard.items()}
    _doubt_all(tree, shown, "no route takes the events of {}", "room", _DROP)


def _unheard(sections: Sections, taken: Container[Cell]) -> Iterator[tuple[Path, str]]:
    """The rooms whose events go nowhere: where they are, and their names."""
    awaiting = Rule.awaiting(sections.absences)
    for index, room in enumerate(sections.rooms):
        cell = (Kind.EVENT, short(room.scope), room.record_name)
        if cell not in taken and not any(rule.admits(*cell) for rule in awaiting):
            yield ("rooms", index), room.record_name


def _doubt_all(tree: Tree, found: Mapping[Path, str], message: str, noun: str, hint: str) -> None:
    """Warn of each of a few; of many, which mostly have one cause, once: where the first is, and how many."""
    if len(found) <= _FEW:
        for path in found:
            tree.warn(path, message.format(f"this {noun}"), hint)
        return
    first, *_ = found
    names = ", ".join(islice(found.values(), _FEW))
    said = f"{counted(len(found), noun)} ({names} and {len(found) - _FEW:,} more)"
    tree.warn(first, message.format(said), hint)


def _doubt_absences(tree: Tree, sections: Sections, misspelt: Container[Path]) -> None:
    routed = any(Kind.ABSENCE in route.match.kind for _, route in _every(sections.routes))
    cells = list(_cells(sections))
    for index, (absence, rule) in enumerate(
        zip(sections.absences, Rule.awaiting(sections.absences), strict=True)
    ):
        path: Path = ("absences", index)
        if not (absence.to or routed):
            hint = "add `to`, or a route with match: {kind: absence}"
            tree.warn(path, "nobody is told of this absence", hint)
        if path not in misspelt and not any(rule.admits(*cell) for cell in cells):
            hint = "see its kind, room and scope together"
            tree.warn((*path, "match"), "this absence waits for nothing that there can be", hint)


def _doubt_hooks(tree: Tree, sections: Sections, hears: Mapping[str, frozenset[str]]) -> None:
    """Warn of records that are sent to plugins without a hook for them."""
    sent = [
        (where, route.to, {Kind.GROUP} if route.group else set(route.match.kind))
        for where, route in _every(sections.routes)
    ]
    sent += [(("absences", n), one.to, {Kind.ABSENCE}) for n, one in enumerate(sections.absences)]
    for where, sinks, kinds in sent:
        for name in sinks:
            if name in hears and not hears[name] & kinds:
                what = " or ".join(sorted(kinds))
                hint = f"send them to a sink of another type; {name} hears {', '.join(sorted(hears[name]))}"
                tree.warn(
                    (*where, "to"), f"a plugin has no hook for records of kind {what}, and gets none", hint
                )


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


def _globs(sections: Sections, tree: Tree, *keys: str) -> Iterator[tuple[Path, Path, str]]:
    """The globs of all routes and absences: where each of these is, where the glob is, and the glob."""
    for where, match in _matches(sections):
        for key in keys or ("room", "event", "scope"):
            path: Path = (*where, "match", key)
            listed = isinstance(tree.get(path), list)
            for position, glob in enumerate(getattr(match, key) or ()):
                yield where, (*path, position) if listed else path, glob


def _matches(sections: Sections) -> Iterator[tuple[Path, PlaceConfig]]:
    for where, route in _every(sections.routes):
        yield where, route.match
    for index, absence in enumerate(sections.absences):
        yield ("absences", index), absence.match


def _every(routes: Sequence[RouteConfig], above: Path = ()) -> Iterator[tuple[Path, RouteConfig]]:
    """All routes, those within others too, each with its path."""
    for index, route in enumerate(routes):
        yield (*above, "routes", index), route
        yield from _every(route.routes, (*above, "routes", index))


def _doubt_names(tree: Tree, sections: Sections) -> Iterator[Path]:
    """Warn of globs that match no room, or no scope, of those that there are; the routes that have them."""
    rooms = [(room.record_name, ("rooms", index)) for index, room in enumerate(sections.rooms)]
    scopes = [(short(room.scope), ("rooms", index, "scope")) for index, room in enumerate(sections.rooms)]
    default = tree.is_tainted(("thingsdb", "scope"))
    for key, known, spelled, hidden in (("room", rooms, str, False), ("scope", scopes, scope_glob, default)):
        names = {name for name, _ in known}
        shown = [] if hidden else [name for name, path in known if not tree.is_tainted(path)]
        for where, path, glob in _globs(sections, tree, key):
            if not any(map(compile_globs([spelled(glob)]).match, names)):
                yield where
                word = "" if tree.is_tainted(path) else glob
                hint = suggestion(word, shown, f"the {key}s are") or f"see the {key}s under rooms"
                what = "name" if key == "room" else "scope"
                if "," not in glob and not glob.startswith("!"):  # else it was said already
                    tree.warn(path, f"no room that is watched has such a {what}", hint)


def _asked(
    tree: Tree, routes: Sequence[RouteConfig], above: Path, there: frozenset[Cell], misspelt: Container[Path]
) -> Iterator[_Asked]:
    """Each route with what it admits; warns of those that admit nothing, unless that was said already.

    Args:
        there: what there can be here.
    """
    before: list[_Asked] = []
    for index, route in enumerate(routes):
        path: Path = (*above, "routes", index)
        rule = Rule.of(route, "")
        admitted = {cell for cell in there if rule.admits(*cell)}
        enders = [one for one in before if one.route.stop or (route.default and one.takes)]
        left = {cell for cell in admitted if not any(one.takes_all(cell, route) for one in enders)}
        if not admitted and path not in misspelt:
            limits = [_LIMITS[kind] for kind in map(Kind, route.match.kind) if kind in _LIMITS]
            hint = "; ".join(["see its kind, room and scope together", *limits])
            tree.warn((*path, "match"), "this route matches nothing that there can be", hint)
        elif admitted and not left:
            what = "is taken by" if route.default else "stops at"
            hint = "put it before the route that takes all of it, or remove one of them"
            tree.warn(path, f"this route is never asked: what it matches {what} a route before", hint)
        found = _Asked(route, rule, frozenset(left))
        before.append(found)
        yield found
        if left:
            yield from _asked(tree, route.routes, path, found.cells, misspelt)


def _cells(sections: Sections) -> Iterator[Cell]:
    """The kind and place of all records that there can be."""
    there = set(Kind)
    if not any(route.group for _, route in _every(sections.routes)):
        there.discard(Kind.GROUP)
    if not sections.absences:
        there.discard(Kind.ABSENCE)
    for kind in there:
        if kind in {Kind.NODE, Kind.SINK, Kind.ABSENCE}:
            yield kind, "", ""
        if kind not in {Kind.NODE, Kind.SINK}:
            yield from ((kind, short(room.scope), room.record_name) for room in sections.rooms)
