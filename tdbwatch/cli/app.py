"""Reads the command line and calls the command."""

import argparse
import io
import re
import shlex
import sys
from collections.abc import Container, Sequence
from typing import NoReturn

from tdbwatch import __version__
from tdbwatch.cli import completions, exits, output
from tdbwatch.cli.config import check, init, plugins, schema, test
from tdbwatch.cli.daemon import demo, node, reload, run, send
from tdbwatch.cli.formatting import HelpFormatter
from tdbwatch.cli.rooms import emit, tail
from tdbwatch.cli.rooms import listing as rooms
from tdbwatch.cli.spool import command as spool
from tdbwatch.cli.spool import replay
from tdbwatch.cli.top import command as top
from tdbwatch.redaction import presentable

COMMANDS = (
    *(run, init, check, test, reload, top, rooms, tail, emit, send, plugins, schema, spool, replay),
    *(node, demo, completions),
)

_ABOUT = "React to ThingsDB events, from rooms through a spool to plugins; commands"
_OPTION = re.compile(r"-[^\d.]")  # and no negative number
_REMEDY = "\n    "  # how a message of ours goes on; what others wrote cannot begin a line
_EXAMPLE = "example: tdbwatch --config /etc/tdbwatch/prod.yaml   (COMMAND --help tells more)"


class Parser(argparse.ArgumentParser):
    """Ends with sysexits' 64 where argparse would say 2, and shows examples as they are written."""

    commands: Container[str] = ()
    """The words of which one comes first."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def parse_known_args(  # type: ignore[override]  # argparse has overloads, for namespaces of other types
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse here what a command does not know: argparse would do so with the usage of the top level.

        A list of arguments goes on behind an option: argparse ends it there.
        """
        known, rest = super().parse_known_args(args, namespace)
        lists = [one.dest for one in self._actions if one.nargs == "*" and not one.option_strings]
        if lists and not any(map(_OPTION.match, rest)):
            setattr(known, lists[0], [*getattr(known, lists[0]), *rest])
        elif rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return known, []

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(exits.USAGE, f"{self.prog}: {message}\n")


def build_parser() -> Parser:
    """The parser of the whole command line."""
    usage, version = "tdbwatch [-h] [--version] COMMAND ...", f"tdbwatch {__version__}"
    parser = Parser(prog="tdbwatch", usage=usage, epilog=_EXAMPLE, add_help=False)
    hidden = argparse.SUPPRESS  # the usage says it, and the commands need the space
    parser.add_argument("-h", "--help", action="help", help=hidden)
    parser.add_argument("--version", action="version", version=version, help=hidden)
    subparsers = parser.add_subparsers(prog="tdbwatch", title=_ABOUT, metavar="COMMAND", dest="command")
    for command in COMMANDS:
        command.add_parser(subparsers)
    parser.commands = subparsers.choices
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    _speak_utf8()
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    options = parser.parse_args(_with_command(arguments, parser))
    if options.command is None:
        parser.print_help(sys.stderr)
        return exits.USAGE
    return _run(options)


def _with_command(arguments: list[str], parser: Parser) -> list[str]:
    """`tdbwatch --config FILE` runs the daemon; who means another command is told where it belongs."""
    if not arguments or arguments[0].split("=")[0] not in {"--config", "-c"}:
        return arguments
    place = arguments[: 1 if "=" in arguments[0] else 2]
    words = arguments[len(place) :]
    if words and words[0] in parser.commands:
        parser.error(f"the command comes first: tdbwatch {shlex.join([*words, *place])}")
    return ["run", *arguments]


def _speak_utf8() -> None:
    """Whatever the locale: names of rooms and events are anything that UTF-8 can say, and more."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # none where it was closed
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _run(options: argparse.Namespace) -> int:
    """Run the command, and see that what it said was written."""
    try:
        result: int = options.run(options)
        output.finish()
    except KeyboardInterrupt:
        output.drop()
        return 130
    except BrokenPipeError:
        output.give_up()
        return 141
    except exits.CommandError as error:
        output.give_up()
        if str(error):
            name = ("tdbwatch", options.command, getattr(options, "action", None))
            said = _REMEDY.join(map(presentable, str(error).split(_REMEDY)))
            print(f"{' '.join(filter(None, name))}: {said}", file=sys.stderr)
        return error.code
    return result
