"""`tdbwatch check`: read a configuration as the daemon would, and say what is wrong with it."""

import argparse
import os
import sys
from typing import Any, Final

from structlog.testing import capture_logs

from tdbwatch.daemon.config import Config, ConfigError, read
from tdbwatch.daemon.plugins import load_plugins

_HELP: Final = "check a configuration file without starting anything"
_EPILOG: Final = """\
example:
  tdbwatch check --config /etc/tdbwatch/prod.yaml

exit codes:
  0   the file is fine
  78  it is not; every problem is shown with file, line, column and remedy

Plugins are loaded, since sinks may be of their types. Nothing is connected to.
"""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to the command line; its function is `run`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check",
        help=_HELP,
        description=f"{_HELP[0].upper()}{_HELP[1:]}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", "-c", metavar="FILE", required=True, help="the configuration file")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check `args.config`; the exit code is 0 or EX_CONFIG (78)."""
    try:
        config = _read(args.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
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


def _read(path: str) -> Config:
    """The configuration. Stricter than the daemon, which starts without a sink whose plugin is broken."""
    document = read(path)
    plugins = document.plugins()
    with capture_logs() as said:
        registry = load_plugins(plugins.paths, plugins.disable)
    for line in said:  # what is wrong with a plugin that no sink needs stops nothing
        if line["log_level"] in {"warning", "error", "critical"}:
            print(f"{path}: {line['log_level']}: {line['event']}", file=sys.stderr)
    return document.config(registry.sink_types)
