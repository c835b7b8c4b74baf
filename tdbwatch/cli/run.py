"""`tdbwatch run`: the daemon."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tdbwatch.cli import exits

_EXAMPLE = "example:\n  tdbwatch run --config /etc/tdbwatch/prod.yaml"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "run",
        help="run the daemon",
        description="Run the daemon until it is told to stop. A second SIGTERM or Ctrl-C ends it at once.",
        epilog=_EXAMPLE,
    )
    parser.add_argument("--config", "-c", type=Path, required=True, metavar="FILE", help="the configuration")
    parser.add_argument(
        "--exit-when-unreachable",
        action="store_true",
        help="exit with 69 if no node can be reached at the start, rather than keep trying",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load the configuration and serve, which ends the process; returns 78 if it cannot be loaded."""
    from tdbwatch.cli.loading import load_or_explain
    from tdbwatch.daemon import logs
    from tdbwatch.daemon.service import serve

    if (loaded := load_or_explain(options.config)) is not None:
        config, registry = loaded
        logs.configure(config.logging.level, config.logging.format, sys.stderr)
        serve(config, registry, exit_when_unreachable=options.exit_when_unreachable)
    return exits.BAD_CONFIG
