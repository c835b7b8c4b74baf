"""Fields that are asked for where no route has set them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tdbwatch.daemon.config.models.config import Sections
from tdbwatch.daemon.config.models.routes import RouteConfig
from tdbwatch.daemon.config.problems import Path, suggestion
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.expressions.paths import fields_in
from tdbwatch.plugin import Kind

_WRITE_IT: Final = "write what it stands for"
_BEFORE: Final = f"{_WRITE_IT}, or set it in a route before this one"
_HOLDS: Final = ("throttle", "dedupe", "group")


def doubt_fields(tree: Tree, sections: Sections) -> None:
    """Warn of fields that can never be there where they are asked for."""
    every = frozenset(_set_in(sections.routes))
    made: set[str] = set()
    for path, name, own in _missing(sections.routes, (), made, every):
        if not _may_be_told(tree, path, name):
            continue
        if name in own:
            message = f"fields.{name} is not there yet: this route's `set` makes it only afterwards"
            tree.warn(path, message, _BEFORE)
        else:
            message = f"fields.{name} is never there: no route before this one sets it"
            tree.warn(path, message, suggestion(name, every, "routes set") or _BEFORE)
    for index, absence in enumerate(sections.absences):
        path = ("absences", index, "where")
        known = every if Kind.GROUP in absence.match.kind else frozenset()
        for name in sorted(_asked(absence.where) - known):
            if _may_be_told(tree, path, name):
                message = f"fields.{name} is never there: an absence sees nothing that routes set"
                tree.warn(path, message, _WRITE_IT)


def _missing(
    routes: Sequence[RouteConfig], above: Path, made: set[str], every: frozenset[str]
) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """Each field that is missing: where it is asked for, its name, and what the same route sets.

    Args:
        made: what routes before may have set; grows in the order in which the daemon asks and sets.
        every: what any route sets: the records of groups bring it with them.
    """
    for index, route in enumerate(routes):
        path = (*above, "routes", index)
        known = every if Kind.GROUP in route.match.kind else made
        for where, names in _uses(route, path, made):
            yield from ((where, name, route.set) for name in sorted(names - known))
        yield from _missing(route.routes, path, made, every)


def _uses(route: RouteConfig, path: Path, made: set[str]) -> Iterator[tuple[Path, frozenset[str]]]:
    """The fields that a route asks for, in its order."""
    yield from (((*path, "match", "fields", name), frozenset([name])) for name in route.match.fields)
    yield (*path, "where"), _asked(route.where)
    for name, expression in route.set.items():
        yield (*path, "set", name), _asked(expression)
        made.add(name)
    for form in _HOLDS:
        if (hold := getattr(route, form)) is not None:
            yield (*path, form, "key"), _asked(hold.key)


def _set_in(routes: Sequence[RouteConfig]) -> Iterator[str]:
    for route in routes:
        yield from route.set
        yield from _set_in(route.routes)


def _asked(expression: Any) -> frozenset[str]:
    return frozenset() if expression is None else fields_in(expression.source)


def _may_be_told(tree: Tree, path: Path, name: str) -> bool:
    return path[-2] == "fields" or not tree.is_tainted(path) or tree.is_written(path, name)
