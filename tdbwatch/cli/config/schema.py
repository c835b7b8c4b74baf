"""`tdbwatch schema`: what editors need to complete and check a configuration."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.output import say

_DESCRIPTION: Final = """\
Print a JSON Schema (draft 7) of the configuration, with the options of all sink
types: those that are built in or installed, and with --config its plugins'."""
_EXAMPLE: Final = """\
example:
  tdbwatch schema > tdbwatch.schema.json
and in a configuration's first line, for editors with a YAML language server:
  # yaml-language-server: $schema=tdbwatch.schema.json"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "schema", help="print a JSON Schema, for editors", description=_DESCRIPTION, epilog=_EXAMPLE
    )
    parser.add_argument("--config", "-c", type=Path, metavar="FILE", help="with this configuration's plugins")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print it; returns the exit code."""
    from tdbwatch.cli.daemon.loading import quietly
    from tdbwatch.daemon.config import ConfigError, read
    from tdbwatch.daemon.config.schema import schema
    from tdbwatch.daemon.plugins import load_plugins

    try:
        section = None if options.config is None else read(options.config).plugins()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return exits.BAD_CONFIG
    with quietly():
        registry = load_plugins(section.paths, section.disable) if section else load_plugins()
    for problem in registry.problems:
        print(problem, file=sys.stderr)
    say(json.dumps(schema(registry.sink_types), indent=2))
    return exits.BAD_CONFIG if registry.problems else exits.OK
