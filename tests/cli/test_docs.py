"""docs/commands.md has every command, and no other."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdbwatch.cli.app import build_parser

PACKAGE = Path(__file__).parents[2] / "tdbwatch"
PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """What can be run, as it is typed. A command that needs another word is none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                if below.get_default("run") is not None:
                    yield below.prog
                yield from commands(below)


def test_every_command_is_documented_and_no_other() -> None:
    told = re.findall(r"^\| `(tdbwatch [a-z ]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(told) == sorted(commands(build_parser()))


def test_every_command_says_what_it_is_for() -> None:
    def silent(parser: argparse.ArgumentParser) -> Iterator[str]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                told = {each.dest for each in action._choices_actions if each.help}
                yield from (below.prog for name, below in action.choices.items() if name not in told)
                for below in action.choices.values():
                    yield from silent(below)

    assert list(silent(build_parser())) == []


def texts(file: Path) -> Iterator[str]:
    """What a module says, with an x for what is put in."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.replace("{}", "x")


def advised() -> Iterator[str]:
    """The commands in what the daemon says; one that is named without an option is no advice."""
    for file in sorted((PACKAGE / "daemon").rglob("*.py")):
        for text in texts(file):
            yield from (
                words for words in re.findall("`tdbwatch ([^`]+)`", text) if not words.startswith("x")
            )


def test_every_command_that_the_daemon_advises_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    names = {name.removeprefix("tdbwatch ") for name in commands(build_parser())}
    found = sorted(set(advised()) - names)
    assert "reload --config FILE" in found
    for words in found:
        try:
            build_parser().parse_args(words.split())
        except SystemExit:
            pytest.fail(f"tdbwatch {words}: {capsys.readouterr().err}")
