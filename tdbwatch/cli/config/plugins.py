"""`tdbwatch plugins`: what is installed, and what does not load."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tdbwatch.cli import exits
from tdbwatch.cli.config import plugins_new
from tdbwatch.cli.output import say

_EXAMPLE = """\
example:
  tdbwatch plugins --config /etc/tdbwatch/prod.yaml
  tdbwatch plugins new tickets

exit codes: 0 all of them load, 64 wrong usage, 78 one does not"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "plugins",
        help="list plugins and their sink types",
        description="List every plugin, where it comes from and which sink types it offers.\n"
        "Without --config: those that are built in or installed.",
        epilog=_EXAMPLE,
    )
    parser.add_argument(
        "--config", "-c", type=Path, metavar="FILE", help="also load this configuration's plugins"
    )
    parser.set_defaults(run=run)
    plugins_new.add_parser(parser.add_subparsers(title="commands", metavar="[COMMAND]", dest="action"))


def run(options: argparse.Namespace) -> int:
    """Print the list; returns 78 if a plugin does not load."""
    from tdbwatch.cli.daemon.loading import quietly
    from tdbwatch.daemon.config import ConfigError, read
    from tdbwatch.daemon.plugins import load_plugins

    try:
        section = read(options.config).plugins() if options.config else None
    except ConfigError as error:
        print(error, file=sys.stderr)
        return exits.BAD_CONFIG
    with quietly():
        registry = load_plugins(section.paths, section.disable) if section else load_plugins()
    for plugin in registry.plugins:
        say(f"{plugin.name:<20} {plugin.origin}")
        if plugin.name in registry.sink_types.plugin_options:
            say(f"    options plugins.options.{plugin.name}")
        for what, names in registry.lent_by(plugin.name).items():
            say(f"    {what} {', '.join(names)}")
        for name in plugin.sinks:
            say(f"    sink {name:<15} {registry.sink_types[name].summary}".rstrip())
    for warning in registry.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for problem in registry.problems:
        print(f"{problem}", file=sys.stderr)
    return exits.BAD_CONFIG if registry.problems else exits.OK
