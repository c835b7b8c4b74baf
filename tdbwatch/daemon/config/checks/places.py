"""Checks of the places that will be written to: the spool's, and those of sinks of the type `file`."""

import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path as FilePath
from typing import Final

from tdbwatch.daemon.config.models.config import SpoolConfig
from tdbwatch.daemon.config.models.routes import RouteConfig
from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.problems import Path
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.sinks.file.guarded import Guarded
from tdbwatch.sinks.file.names import PathTemplate
from tdbwatch.sinks.file.options import FileOptions

_SPOOL: Final[Path] = ("spool", "path")
_NO_FILES: Final = ("/dev/stdout", "/dev/stderr", "/dev/stdin", "/dev/fd/", "/proc/")
"""What they are depends on who looks, and the service sees others than a shell."""
_SAME_FOR_ALL: Final = frozenset({"date"})
"""Fields of templates that do not depend on which events a sink gets."""


def check_spool_place(tree: Tree, spool: SpoolConfig) -> None:
    """The spool is a file."""
    if _is_folder(spool.path):
        _complain_of_folder(tree, _SPOOL, spool.path, "spool.db")


def check_files(
    tree: Tree, sinks: Sequence[SinkConfig], routes: Sequence[RouteConfig], ours: Iterable[FilePath]
) -> None:
    """File sinks write to files that are not `ours`, and no two of them to one: it would be locked."""
    files = {sink.name: template for sink, template in _templates(sinks)}
    guarded = Guarded()
    guarded.protect(ours)
    for name, template in files.items():
        if not template.fields:
            _check_file(tree, ("sinks", name, "path"), template, guarded)
    for one, other in combinations(files, 2):
        same = FilePath(files[one].text) == FilePath(files[other].text)
        if same and _meet(one, other, files[one].fields, routes):
            first, second = ("sinks", one, "path"), ("sinks", other, "path")
            message = f"sink {one} writes to the same file ({tree.mention(first, second)})"
            tree.complain(second, message, "give each sink a path of its own")


def _check_file(tree: Tree, path: Path, template: PathTemplate, guarded: Guarded) -> None:
    file = FilePath(template.text.format())
    if _is_folder(file):
        _complain_of_folder(tree, path, FilePath(template.text), "{room}.jsonl")
    elif guarded.covers(str(file)):
        tree.complain(path, "tdbwatch itself lives on this file", "name a file that is for this sink only")
    elif str(file).startswith(_NO_FILES) or (file.exists() and not file.is_file()):
        hint = "name a regular file; for standard output or error use type: log, for a program a plugin"
        tree.complain(path, "this is a device, a pipe or a socket, not a file", hint)


def _templates(sinks: Sequence[SinkConfig]) -> Iterator[tuple[SinkConfig, PathTemplate]]:
    for sink in sinks:
        if isinstance(sink.options, FileOptions):
            yield sink, PathTemplate(sink.options.path)


def _meet(one: str, other: str, fields: frozenset[str], routes: Sequence[RouteConfig]) -> bool:
    """Whether two sinks of one template certainly come to write to one file.

    With `{room}` in it they may do so in peace, when the routes give each its own rooms.
    """
    if not routes or any({one, other} <= set(route.to) for route in routes):
        return True
    routed = {name for route in routes for name in route.to}
    return fields <= _SAME_FOR_ALL and {one, other} <= routed


def _is_folder(path: FilePath) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):  # not there yet, or nothing that we may look at
        return False


def _complain_of_folder(tree: Tree, path: Path, folder: FilePath, name: str) -> None:
    shown = "" if tree.is_tainted(path) else f", such as {folder / name}"
    tree.complain(path, "this is a folder, not a file", f"name a file in it{shown}")
