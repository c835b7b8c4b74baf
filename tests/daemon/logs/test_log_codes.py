"""Every line that daemon and sinks log has a code, and the documentation has exactly these."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs" / "operations.md"
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
CODE = re.compile(r"[a-z]+\.[a-z_]+")
PASSED_ON = {"health.py": "erred", "registry.py": "warn"}
"""Modules that log a code which they are given, and the method that takes it."""


def logged() -> Iterator[tuple[str, str, ast.expr]]:
    """(file, level, first argument) of every line that is logged."""
    for folder in ("daemon", "plugin", "sinks"):
        for path in (ROOT / "tdbwatch" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                if ast.unparse(node.func) == "say" and isinstance(node.args[0], ast.Attribute):
                    yield path.name, node.args[0].attr, node.args[1]  # the method of the log, and the code
                if not isinstance(node.func, ast.Attribute):
                    continue
                name, on = node.func.attr, ast.unparse(node.func.value)
                if name in LEVELS and ("log" in on.lower() and node.args):
                    yield path.name, name, node.args[0]
                elif name in PASSED_ON.values() and node.args and (on.endswith("health") or on == "registry"):
                    yield path.name, "warning", node.args[0]


def constants(expression: ast.expr) -> list[object]:
    """What an argument may be; a condition gives one of two."""
    if isinstance(expression, ast.IfExp):
        return [*constants(expression.body), *constants(expression.orelse)]
    return [expression.value] if isinstance(expression, ast.Constant) else []


def codes() -> dict[str, str]:
    """Level by code."""
    return {str(code): level for _, level, first in logged() for code in constants(first)}


def test_every_line_has_a_code_and_no_sentence() -> None:
    for file, _, first in logged():
        found = constants(first)
        assert found or file in PASSED_ON, f"{file}: {ast.unparse(first)}"
        assert all(isinstance(code, str) and CODE.fullmatch(code) for code in found), (file, found)
    assert len(codes()) > 40


@pytest.mark.parametrize("kind", ["codes", "levels"])
def test_the_documentation_has_every_code_with_its_level_and_no_other(kind: str) -> None:
    section = DOCS.read_text().partition("## Logs")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| (\w+) \|", section, re.MULTILINE))
    if kind == "codes":
        assert rows.keys() == codes().keys()
    else:
        assert rows == codes()
