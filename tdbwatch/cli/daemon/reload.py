"""`tdbwatch reload`: has the running daemon take up its changed configuration, and says what came of it."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.daemon.status_port import SilentError, add_status_port, status_port
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.printable import printable

_DESCRIPTION: Final = """\
Have the running daemon read its configuration again and take up what has
changed, while events flow. Waits, and says what came of it. It is asked where
http.listen says, on this machine."""
_EXAMPLE: Final = """\
example:
  tdbwatch reload --config /etc/tdbwatch/tdbwatch.yaml

exit codes: 0 it is in use, 64 wrong usage, 69 no daemon answers, 78 the
configuration was refused, and nothing was changed"""
_NOBODY: Final = "where http.listen itself was changed, send it SIGHUP, and see its log"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "reload",
        help="have the daemon take up its changed configuration",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
    )
    parser.usage = f"{parser.prog} [-h] (--config FILE | --url URL) [...]"
    add_status_port(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask, and say what came of it; returns the exit code."""
    try:
        verdict = status_port(options).reload()
    except SilentError as error:
        raise CommandError(exits.UNAVAILABLE, f"{error}\n    {_NOBODY}") from error
    for warning in verdict["warnings"]:
        print(_problem(warning, "warning: "), file=sys.stderr)
    if verdict["verdict"] == "refused":
        print(*map(_problem, verdict["problems"]), sep="\n", file=sys.stderr)
        print("refused: nothing was changed, what was in use is still", file=sys.stderr)
        return exits.BAD_CONFIG
    say(*_said(verdict))
    return exits.OK


def _problem(problem: Mapping[str, str], kind: str = "") -> str:
    """As `tdbwatch check` shows one."""
    where = "".join(f"{problem[name]}: " for name in ("place", "key") if problem[name])
    remedy = f"\n    {printable(problem['remedy'])}" if problem["remedy"] else ""
    return printable(f"{where}{kind}{problem['reason']}") + remedy


def _said(verdict: Mapping[str, Any]) -> Iterator[str]:
    yield from map(printable, verdict["changes"])
    if verdict["restart"]:
        yield f"waits for a restart: {', '.join(verdict['restart'])}"
    yield "unchanged" if verdict["verdict"] == "unchanged" else "reloaded"
