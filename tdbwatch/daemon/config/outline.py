"""The part of a configuration that the commands about a spool need: neither plugins nor secrets.

What is wrong elsewhere keeps nobody from the spool: it is then that people want to look into it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Final

from tdbwatch.daemon.config.checks.sections import REQUIRED, placed_spool, targets_elsewhere
from tdbwatch.daemon.config.checks.validate import validate
from tdbwatch.daemon.config.models.config import BESIDE_SECTIONS, Sections, SpoolConfig
from tdbwatch.daemon.config.models.routes import AbsenceConfig, RouteConfig
from tdbwatch.daemon.config.problems import ConfigError
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.expressions import functions
from tdbwatch.plugin import Options


class _Parts(Options):
    routes: tuple[RouteConfig, ...] = ()
    absences: tuple[AbsenceConfig, ...] = ()
    spool: SpoolConfig = SpoolConfig()


_OURS: Final = tuple(_Parts.model_fields)
_OTHERS: Final = frozenset({*Sections.model_fields, *BESIDE_SECTIONS} - set(_OURS))


@dataclass(frozen=True, slots=True)
class Outline:
    """Where the spool is, what the sinks are called, what is routed to them, and what is waited for.

    A plugin that is a sink by its event hook is among them only where the file names it.
    """

    spool: SpoolConfig
    routes: tuple[RouteConfig, ...]
    absences: tuple[AbsenceConfig, ...]
    sinks: tuple[str, ...]


def outline_of(tree: Tree, folder: FilePath, environ: Mapping[str, str]) -> Outline:
    """The outline of a parsed file; changes `tree`.

    Raises:
        ConfigError: with the problems of these sections only, and the top level's keys that nobody knows.
    """
    tree.keep_problems_of(_OURS)
    data = {key: value for key, value in tree.data.items() if key not in _OTHERS}
    with functions.unknown():
        parts = validate(tree, (), data, _Parts, folder, tuple(_OTHERS))
    sinks = tree.data.get("sinks", {})
    if not isinstance(sinks, dict):
        tree.complain(("sinks",), "must be a mapping of names to sinks", REQUIRED["sinks"])
    spool = None if parts is None else placed_spool(tree, environ, parts.spool)
    if parts is None or spool is None or tree.problems:
        raise ConfigError(tree.problems)
    names = tuple(dict.fromkeys([*sinks, *targets_elsewhere(tree, sinks)]))
    return Outline(spool, parts.routes, parts.absences, names)
