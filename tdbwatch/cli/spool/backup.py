"""`tdbwatch spool backup`: a whole copy of the spool, beside a running daemon or without one."""

import argparse
from pathlib import Path
from typing import Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.spool.owner import as_who_called
from tdbwatch.cli.spool.place import command, place_of
from tdbwatch.daemon.words import counted

_EXAMPLE: Final = """/var/backups/spool.db --config prod.yaml

The copy is of one moment, whole and checked, in a file that only its owner can
read. The daemon goes on meanwhile. A file that is there is never overwritten.
docs/operations.md says how to restore it."""


def add_parser(actions: Any) -> None:
    parser = command(actions, "backup", _backup, "make a whole copy of the spool", _EXAMPLE)
    parser.add_argument("file", type=Path, metavar="FILE", help="a new file")


def _backup(options: argparse.Namespace) -> int:
    from tdbwatch.daemon.spool.looking.backup import backup
    from tdbwatch.daemon.spool.looking.look import opened

    place = place_of(options)
    try:
        with opened(place.path) as look, as_who_called():
            found = backup(look, options.file)
    except FileExistsError as error:
        message = f"{error.filename} is there already; name a new file, or move it away"
        raise CommandError(exits.CANNOT_WRITE, message) from error
    except OSError as error:
        if error.filename == str(place.path):
            raise
        message = f"{options.file}: {error.strerror or error}"
        raise CommandError(exits.CANNOT_WRITE, message) from error
    letters = sum(sink.dead_letters for sink in found.sinks)
    what = f"{counted(found.count, 'entry', 'entries')} and {counted(letters, 'dead letter')}"
    say(f"{options.file}: {what}, whole and sound")
    return exits.OK
