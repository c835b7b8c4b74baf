"""`tdbwatch test`: the tests that a configuration has of its routes."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.daemon.words import counted
from tdbwatch.printable import printable

if TYPE_CHECKING:
    from tdbwatch.daemon.routing.route_tests import Result

_DESCRIPTION: Final = """\
Run the tests of a configuration: given these events, these sinks get these
records. Nothing is started, and nothing is sent."""
_EXAMPLE: Final = """\
example:
  tests:
    - name: severe disks page
      given: [{room: alerts, event: disk-full, args: [{severity: 5}]}]
      expect: {oncall: [{event: disk-full}], audit: 1}

exit codes: 0 all pass, 1 one fails, 66 there are no tests, 73 the report cannot
be written, 78 bad configuration"""
FAILED: Final = 1


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "test", help="run a configuration's own tests", description=_DESCRIPTION, epilog=_EXAMPLE
    )
    parser.add_argument("--config", "-c", type=Path, required=True, metavar="FILE", help="the configuration")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="also write a report in JUnit's format")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the tests; returns the exit code."""
    from tdbwatch.cli.daemon.loading import quietly
    from tdbwatch.daemon.config import ConfigError, read
    from tdbwatch.daemon.plugins import load_plugins
    from tdbwatch.daemon.routing.route_tests import run_tests

    try:
        document = read(options.config)
        plugins = document.plugins()
        with quietly():
            registry = load_plugins(plugins.paths, plugins.disable)
            checked = document.check(registry.sink_types)
            registry.configure(checked.plugin_options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return exits.BAD_CONFIG
    if not checked.sections.tests:
        raise CommandError(
            exits.NO_INPUT, f"there are no tests in {options.config}; docs/routes.md shows some"
        )
    results = list(run_tests(checked.sections, checked.sinks))
    for result in results:
        _say(result)
    failed = sum(bool(result.faults) for result in results)
    say(f"{counted(len(results), 'test')}: {len(results) - failed} passed, {failed} failed")
    if options.junit is not None:
        _write(options.junit, str(options.config), results)
    return FAILED if failed else exits.OK


def _say(result: "Result") -> None:
    from tdbwatch.cli.terminal import paint

    word = paint("FAILED", "red") if result.faults else paint("PASSED", "green")
    say(f"{word}  {printable(result.name)}")
    for line in (*result.faults, *result.notes):
        say(f"        {printable(line)}")


def _write(path: Path, name: str, results: list["Result"]) -> None:
    failed = sum(bool(result.faults) for result in results)
    suite = ET.Element("testsuite", name=printable(name), tests=str(len(results)), failures=str(failed))
    for result in results:
        case = ET.SubElement(suite, "testcase", classname=printable(name), name=printable(result.name))
        if result.faults:
            lines = [
                printable(line) for line in result.faults + result.notes
            ]  # XML has no control characters
            ET.SubElement(case, "failure", message=lines[0]).text = "\n".join(lines)
    try:
        ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise CommandError(exits.CANNOT_WRITE, f"{path}: {error.strerror}") from error
