"""`tdbwatch check`: read a configuration as the daemon would, and say what is wrong with it."""

import argparse
import os
import sys
from typing import Any, Final

from structlog.testing import capture_logs

from tdbwatch.cli.formatting import HelpFormatter
from tdbwatch.daemon.config import Config, ConfigError, Document, read
from tdbwatch.daemon.plugins import Registry, load_plugins

_HELP: Final = "check a configuration file without starting anything"
_EPILOG: Final = """\
example:
  tdbwatch check --config /etc/tdbwatch/prod.yaml

exit codes:
  0   the file is fine
  78  it is not; every problem is shown with file, line, column and remedy

Plugins are imported. One that does not load is a problem here; the daemon would
start without it, and keep its sinks' events. Nothing is connected to.
"""
_WITHOUT: Final = """\
not every plugin loads; the daemon would start without them
    mend them; one that nobody needs is left out with plugins: {disable: [NAME]}"""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to the command line; its function is `run`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check",
        help=_HELP,
        description=f"{_HELP[0].upper()}{_HELP[1:]}.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--config", "-c", metavar="FILE", required=True, help="the configuration file")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check `args.config`; the exit code is 0 or EX_CONFIG (78)."""
    try:
        document = read(args.config)
        registry = _load(document, args.config)
        config = document.config(registry.sink_types)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    if registry.problems:
        print(f"{args.config}: {_WITHOUT}", file=sys.stderr)
        return os.EX_CONFIG
    print(f"{args.config}: fine: {summary(config)}")
    return os.EX_OK


def summary(config: Config) -> str:
    """What the configuration has, in one line."""
    counts = {
        "node": len(config.thingsdb.nodes),
        "room": len(config.rooms),
        "sink": len(config.sinks),
        "route": len(config.routes),
    }
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items())


def _load(document: Document, file: str) -> Registry:
    """The plugins, with what is wrong with them told."""
    plugins = document.plugins()
    places = {str(path): document.place("plugins", "paths", n) for n, path in enumerate(plugins.paths)}
    with capture_logs() as said:
        registry = load_plugins(plugins.paths, plugins.disable)
    for line in said:
        if line["log_level"] in {"warning", "error", "critical"}:
            where = line.get("where", "")
            place, more = places.get(where, file), f" ({where})" if where else ""
            print(f"{place}: {line['log_level']}: {line['event']}{more}", file=sys.stderr)
    return registry
