"""`tdbwatch completions`: what a shell needs to complete the command line, made from the commands."""

import argparse
from collections.abc import Iterator
from typing import Any, Final

# ruff: noqa: SLF001 - argparse has no other way to its actions
from tdbwatch.cli import exits
from tdbwatch.cli.output import say

SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = {"FILE", "PATH", "DIR"}
_EXAMPLE: Final = """\
example:
  eval "$(tdbwatch completions bash)"      # in ~/.bashrc
  tdbwatch completions fish > ~/.config/fish/completions/tdbwatch.fish
in zsh, into a folder of $fpath:
  tdbwatch completions zsh > ~/.zfunc/_tdbwatch"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "completions",
        help="print completions for your shell",
        description="Print what a shell needs to complete tdbwatch's commands and options.\n"
        "It needs the extra: pip install 'tdbwatch[completions]'. Debian's package brings\n"
        "all of it along.",
        epilog=_EXAMPLE,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print them; returns the exit code."""
    from tdbwatch.cli.app import build_parser

    say(completions(build_parser(), options.shell))
    return exits.OK


def completions(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completions of a command line.

    Raises:
        CommandError: what makes them is not installed.
    """
    try:
        import shtab
    except ImportError:
        remedy = "install it where tdbwatch is: pip install shtab"
        raise exits.CommandError(exits.UNAVAILABLE, f"shtab is not installed\n    {remedy}") from None
    for action in _actions(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
    made: str = shtab.complete(parser, shell)
    return made.rstrip("\n")


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
