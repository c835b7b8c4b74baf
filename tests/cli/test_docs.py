"""docs/commands.md has every command, and no other."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from tdbwatch.cli.app import build_parser

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
