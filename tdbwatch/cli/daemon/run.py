"""`tdbwatch run`: the daemon."""

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from tdbwatch.cli import exits

_DESCRIPTION = """\
Run the daemon until SIGTERM or Ctrl-C tells it to stop. A second one ends it at
once; nothing that is in the spool is lost by that. SIGHUP, or tdbwatch reload,
has it read its configuration again."""
_EXAMPLE = """\
example:
  tdbwatch run --config /etc/tdbwatch/prod.yaml

exit codes: 0 it was told to stop, 64 wrong usage, 69 nothing to connect to,
70 a mistake of ours, 73 the spool cannot be used, 74 the disk does not take it,
78 bad configuration or login"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "run",
        help="run the daemon",
        description=_DESCRIPTION,
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
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # waits until there is something to reload
    from tdbwatch.daemon import logs
    from tdbwatch.daemon.system import process

    process.open_standard_files()  # before anything is opened that could take their place
    from tdbwatch.cli.daemon.loading import load_or_explain, reader_of
    from tdbwatch.daemon.service import serve

    if (loaded := load_or_explain(options.config)) is not None:
        config, registry = loaded
        logs.configure(config.logging.level, config.logging.format, sys.stderr)
        read = reader_of(options.config, registry)
        serve(config, registry, read, exit_when_unreachable=options.exit_when_unreachable)
    return exits.BAD_CONFIG
