"""Plugins in files, and what becomes of them."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tdbwatch.daemon.plugins import PluginProblem, Registry, load_plugins
from tdbwatch.daemon.plugins.guard import Call

GOOD = """
from tdbwatch.plugin import sink

__version__ = "3"
heard = []

@sink("good")
def good(event):
    heard.append(event.event)
"""

HANGS = "from tests.daemon.plugins.kit import hang; hang()"
"""A line of a plugin at which it hangs."""
_hanging = set[threading.Thread]()

Write = Callable[..., Path]


def hang() -> None:
    _hanging.add(threading.current_thread())
    threading.Event().wait()


class SureCall(Call[Any]):
    """A call whose time begins once it has ended, or hangs for sure: however slow the machine is."""

    def __init__(self, work: Callable[[], Any], name: str) -> None:
        super().__init__(work, name)
        while self._thread.is_alive() and self._thread not in _hanging:
            self._thread.join(0.002)


def load(folder: Path, **more: float) -> Registry:
    return load_plugins(
        [folder], import_seconds=more.get("seconds", 10.0), hook_seconds=more.get("seconds", 10.0)
    )


def only_problem(registry: Registry) -> PluginProblem:
    assert len(registry.problems) == 1, registry.problems
    return registry.problems[0]


def line_of(file: Path, text: str) -> str:
    lines = file.read_text().splitlines()
    return f"{file}:{next(n for n, line in enumerate(lines, 1) if text in line)}"
