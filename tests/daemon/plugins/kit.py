"""Plugins in files, and what becomes of them."""

from collections.abc import Callable
from pathlib import Path

from tdbwatch.daemon.plugins import PluginProblem, Registry, load_plugins

GOOD = """
from tdbwatch.plugin import sink

__version__ = "3"
heard = []

@sink("good")
def good(event):
    heard.append(event.event)
"""

Write = Callable[..., Path]


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
