"""`tdbwatch check`: read a configuration as the daemon would, and say what is wrong with it."""

import argparse
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli.formatting import HelpFormatter
from tdbwatch.cli.output import say
from tdbwatch.daemon.words import counted

if TYPE_CHECKING:
    from tdbwatch.daemon.config import Checked, Document
    from tdbwatch.daemon.config.problems import Problem
    from tdbwatch.daemon.plugins import Registry

_HELP: Final = "check a configuration file without starting anything"
_EPILOG: Final = """\
example:
  tdbwatch check --config /etc/tdbwatch/prod.yaml
  tdbwatch check -c prod.yaml --explain alerts disk-full '{"severity": 5}'

exit codes:
  0   the file is fine; warnings say what is allowed, and hardly meant so
  69  with --connect: a node cannot be reached, or a room cannot be joined
  78  it is not; every problem is shown with file, line, column and remedy

A plugin that does not load is a problem here; the daemon starts without it.
"""
_WITHOUT: Final = """\
not every plugin loads; the daemon would start without them
    mend them; one that nobody needs is left out with plugins: {disable: [NAME]}"""

_WITHIN: Final = """\
    to have them checked too, run this as root beside the service, with
    CREDENTIALS_DIRECTORY=/run/credentials/tdbwatch.service in the environment"""
_NO_ROUTES: Final = "no routes, so every sink gets every event"


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to the command line; its function is `run`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check",
        help=_HELP,
        description=f"{_HELP[0].upper()}{_HELP[1:]}.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--config", "-c", metavar="FILE", required=True, help="the configuration file")
    parser.add_argument("--strict", action="store_true", help="end with 78 if there are warnings, too")
    parser.add_argument(
        "--connect", action="store_true", help="also log in at every node, and join every room once"
    )
    parser.add_argument(
        "--explain",
        nargs="+",
        metavar=("ROOM", "EVENT"),
        help="say where an event goes; its arguments may follow",
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check `args.config`; the exit code is 0 or EX_CONFIG (78), with `args.strict` for warnings as well."""
    from tdbwatch.daemon.config import ConfigError, read

    try:
        document = read(args.config)
        registry = _load(document, args.config)
        checked = document.check(registry.sink_types)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    if registry.problems:
        print(f"{args.config}: {_WITHOUT}", file=sys.stderr)
        return os.EX_CONFIG
    if warnings := (*checked.warnings, *_left_behind(args.config, checked)):
        print(*warnings, sep="\n", file=sys.stderr)
    if checked.notes:
        print(*checked.notes, _WITHIN, sep="\n", file=sys.stderr)
    if args.explain:
        from tdbwatch.cli.config.explain import explain

        return explain(args.explain, checked)
    if args.connect:
        from tdbwatch.cli.config.connect import connect

        if code := connect(checked.sections):
            return code
    if warnings and args.strict:
        return os.EX_CONFIG
    warned = f"; {counted(len(warnings), 'warning')}" if warnings else ""
    files = f"{counted(len(document.files), 'file')}, " if len(document.files) > 1 else ""
    say(f"{args.config}: fine: {files}{summary(checked)}{warned}")
    return os.EX_OK


def _left_behind(file: str, checked: "Checked") -> "list[Problem]":
    """What the spool has of sinks that are gone, if there is a spool that can be read."""
    import sqlite3

    from tdbwatch.daemon.config.problems import Problem
    from tdbwatch.daemon.spool.errors import SpoolError
    from tdbwatch.daemon.spool.looking.gone import left_in
    from tdbwatch.daemon.status.remedies import left_behind

    spool = checked.sections.spool.path
    try:
        found = left_in(spool, checked.sinks)
    except (OSError, SpoolError, sqlite3.Error):
        return []
    return [
        Problem(
            file,
            0,
            0,
            "sinks",
            f"there is no {one.sink}, and the spool {spool} has {one} of it",
            left_behind(one.sink),
            is_warning=True,
        )
        for one in found
    ]


def summary(checked: "Checked") -> str:
    """What the configuration has, in one line."""
    sections = checked.sections
    counts = (
        counted(len(sections.thingsdb.nodes), "node"),
        counted(len(sections.rooms), "room"),
        counted(len(checked.sinks), "sink"),
        counted(len(sections.routes), "route") if sections.routes else _NO_ROUTES,
        *([counted(len(sections.absences), "absence")] if sections.absences else []),
    )
    return ", ".join(counts)


def _load(document: "Document", file: str) -> "Registry":
    """The plugins, with what is wrong with them told."""
    from tdbwatch.cli.daemon.loading import quietly
    from tdbwatch.daemon.plugins import load_plugins

    plugins = document.plugins()
    places = {path: document.place("plugins", "paths", n) for n, path in enumerate(plugins.paths)}
    with quietly():
        registry = load_plugins(plugins.paths, plugins.disable)
    levels = (("warning", registry.warnings), ("error", registry.problems))
    for level, problem in ((level, one) for level, found in levels for one in found):
        folder = _folder_of(problem.where, problem.plugin, places)
        place = file if folder is None else places[folder]
        print(f"{place}: {level}: {problem}", file=sys.stderr)
    return registry


def _folder_of(where: str, plugin: str, folders: Collection[Path]) -> Path | None:
    """The folder of those configured that a problem is of, if it is of any.

    Args:
        where: a folder, or `file:line`: the plugin's own, or what it called.
    """
    place = Path(where)
    inside = [folder for folder in folders if place.is_relative_to(folder)]
    inside += [folder for folder in folders if not inside and (folder / f"{plugin}.py").exists()]
    return max(inside, key=lambda folder: len(folder.parts), default=None)
