"""`tdbwatch init`: a configuration to begin with."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say

_DESCRIPTION: Final = """\
Write a configuration to begin with, with comments. On a terminal it asks for
what it needs; --defaults takes what the demo's node has."""
_EXAMPLE: Final = """\
example:
  tdbwatch init prod.yaml
  tdbwatch check --connect --config prod.yaml"""
_STARTER: Final = """\
# What each key means: docs/configuration.md. What is wrong here: tdbwatch check --config {name}
thingsdb:
  nodes: {nodes} # two or more, so that one may fail
  auth: {auth}
  scope: {scope} # the collection of rooms that name none

# By name; {{id: 123, as: legacy}} by id; {{name: deploys, scope: //ops}} in another collection.
rooms: {rooms}

# Where events go; docs/sinks.md has all options, and further types.
sinks:
{sinks}

# Without routes every sink gets every event and every gap. docs/routes.md: by name, by what an event holds,
# and how to test it. For instance:
# routes:
#   - {{to: [file]}}
#   - {{match: {{event: "disk-*"}}, where: "args[0].severity >= 4", to: [console]}}

# The log on disk between rooms and sinks: what is in it survives a crash.
spool: {{path: {spool}}}

# The status page, /readyz and /metrics. On loopback only this machine can ask.
http: {{listen: "127.0.0.1:9280"}}
"""
_FILE_SINK: Final = (
    '  file: {{type: file, path: "{folder}/{{room}}.jsonl", rotate: {{size: 100MB, keep: 10}}}}'
)
_PROGRAM_SINK: Final = (
    "  program: {{type: exec, command: {command}}} # it gets the record on its standard input"
)
_HOOK_SINK: Final = "  hook: {{type: webhook, url: {url}}} # a key to sign with: secret_file: PATH"

Ask = Callable[[str, str], str]
"""Asks a question, with the answer that an empty line means."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "init", help="write a configuration to begin with", description=_DESCRIPTION, epilog=_EXAMPLE
    )
    parser.add_argument("file", type=Path, nargs="?", default=Path("tdbwatch.yaml"), metavar="FILE",
                        help="the file to write (tdbwatch.yaml)")  # fmt: skip
    parser.add_argument("--defaults", action="store_true", help="ask nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the file; returns the exit code."""
    if not options.defaults and (sys.stdin is None or not sys.stdin.isatty()):
        raise CommandError(exits.USAGE, "it asks, and this is no terminal; give --defaults")
    if str(options.file) == "-":
        raise CommandError(exits.USAGE, "it writes a file, since paths start at its folder; name one")
    text = starter(options.file, (lambda _, usual: usual) if options.defaults else _asked)
    try:
        descriptor = os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        message = f"{options.file} is there already; remove it, or name another file"
        raise CommandError(exits.CANNOT_WRITE, message) from None
    except OSError as error:
        raise CommandError(exits.CANNOT_WRITE, f"{options.file}: {error.strerror}") from error
    say(
        f"{options.file} is written. Next: tdbwatch check --connect --config {shlex.quote(str(options.file))}"
    )
    return exits.OK


def starter(file: Path, ask: Ask) -> str:
    """The text of a configuration that will be at `file`."""
    folder = file.absolute().parent
    nodes = _several(ask("addresses of the nodes, with spaces between", "localhost:9200"))
    scope = ask("collection", "//stuff")
    rooms = _several(ask("rooms", "alerts"))
    token = ask("file with a token (empty: log in as a user)", "")
    if token:
        auth = f"{{token_file: {_quoted(token)}}}"
    else:
        user = _quoted(ask("user", "admin"))
        password = ask("file with the password (empty: $THINGSDB_PASSWORD)", "")
        secret = (
            f"password_file: {_quoted(password)}" if password else 'password: "${THINGSDB_PASSWORD:-pass}"'
        )
        auth = f"{{username: {user}, {secret}}}"
    url = ask("URL to send events to (empty: none)", "")
    sinks = ["  console: {type: log}", _FILE_SINK.format(folder=folder / "events")]
    sinks += [_HOOK_SINK.format(url=_quoted(url))] if url else []
    program = ask("program to run for each event, with its arguments (empty: none)", "")
    sinks += [_PROGRAM_SINK.format(command=_list(_words(program)))] if program else []
    return _STARTER.format(
        name=file.name, nodes=nodes, auth=auth, scope=_quoted(scope), rooms=rooms, sinks="\n".join(sinks),
        spool=_quoted(str(folder / "spool.db")),
    )  # fmt: skip


def _asked(question: str, usual: str) -> str:
    return input(f"{question} [{usual}]: " if usual else f"{question}: ").strip() or usual


def _several(text: str) -> str:
    return _list(text.replace(",", " ").split())


def _words(command: str) -> list[str]:
    """As a shell parts them, but for a quote that nothing closes."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _list(items: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, items))}]"


def _quoted(text: str) -> str:
    """As YAML has it, whatever is in it."""
    import json

    import yaml

    plain = text.replace("_", "").replace("-", "").isalnum() and yaml.safe_load(text) == text  # not FALSE
    return text if plain else json.dumps(text, ensure_ascii=False)
