"""Programs of exec sinks that are not there: each event would wait for them."""

import os
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath

from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.problems import Path, Place
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.sinks.exec.options import ExecOptions


def doubt_programs(tree: Tree, sinks: Sequence[SinkConfig]) -> None:
    """Warn of programs, and of folders to run in, that are not there or are something else."""
    told: set[Place] = set()
    for sink in sinks:
        if not isinstance(sink.options, ExecOptions):
            continue
        for key, (what, remedy) in _doubts(sink.options):
            path: Path = ("sinks", sink.name, *key)
            if (place := tree.place(path)) not in told:  # a default that several sinks have
                told.add(place)
                tree.warn(path, what, remedy)


def _doubts(options: ExecOptions) -> list[tuple[Path, tuple[str, str]]]:
    if _is_absent(options.cwd, lambda mode: not stat.S_ISDIR(mode)):
        return [(("cwd",), ("there is no such folder", "make it, or name another"))]
    program = options.command[0].source
    if os.sep not in program:
        search = options.env["PATH"].get_secret_value() if "PATH" in options.env else None
        absent = shutil.which(program, path=search) is None
        remedy = "write its whole path, unless the service has another PATH than you"
    else:
        absent = _is_absent(options.cwd / program, lambda mode: not (stat.S_ISREG(mode) and mode & 0o111))
        remedy = "write the path of a file that can be run; a relative one starts at cwd"
    return [(("command", 0), ("there is no such program", remedy))] if absent else []


def _is_absent(file: FilePath, is_other: Callable[[int], bool]) -> bool:
    """Whether it is not there, or is something else. Who may not look, as the service may, does not know."""
    try:
        return is_other(file.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
