"""`tdbwatch spool export`: records as they are documented, one a line."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import writing
from tdbwatch.cli.spool.listing import LIST_SINK, found
from tdbwatch.cli.spool.owner import as_who_called
from tdbwatch.cli.spool.place import Place, add_filters, command, place_for_sink, selection_of

if TYPE_CHECKING:
    from tdbwatch.daemon.spool.api import Entry

_EXAMPLE: Final = """--since 1d --output events.jsonl --config prod.yaml

What is in the log twice, by a replay or a requeue, is written once."""


def add_parser(actions: Any) -> None:
    parser = command(actions, "export", _export, "write records, one JSON object a line", _EXAMPLE)
    parser.add_argument("--dead", action="store_true", help="dead letters instead of events")
    add_filters(parser, sink=LIST_SINK)
    parser.add_argument("--output", type=Path, metavar="FILE", help="a new file; default: standard output")


def _export(options: argparse.Namespace) -> int:
    import json

    from tdbwatch.cli.spool.text import letter_json

    place, selection = place_for_sink(options), selection_of(options)
    with _output(options.output) as out:
        items = found(place, selection, options)
        records = map(letter_json, items) if options.dead else _records(place, items)
        for record in records:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
        out.flush()
    return exits.OK


def _records(place: Place, items: Iterable["Entry"]) -> Iterator[dict[str, Any]]:
    """Each event once, though the log has some of them again; only of those the ids are kept in memory.

    What comes in meanwhile is left out: a copy could be of an event that was written already.
    """
    from tdbwatch.daemon.spool.looking.look import opened

    with opened(place.path) as look:
        last = look.log.last_seq
        again = look.log.copied(last)
    written: set[str] = set()
    for entry in items:
        if entry.seq > last:
            return
        if entry.event.id not in written:
            yield entry.event.record()
        if entry.event.id in again:
            written.add(entry.event.id)


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a new file that is whole in the end, or not there.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        if path is None:
            with writing("standard output"):
                yield sys.stdout
            return
        with _new_file(path) as file:
            yield file
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise CommandError(exits.CANNOT_WRITE, f"{path} is there already; name a new file") from error
    except OSError as error:
        raise CommandError(exits.CANNOT_WRITE, f"{path}: {error.strerror or error}") from error


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file of whoever called, also where the spool is read as its owner. It is removed where we fail.

    By way of its folder, whatever takes the folder's place meanwhile.
    """
    with as_who_called():
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with as_who_called():  # what is in it is not for everyone, as with the file sink's
            file = os.open(
                path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640, dir_fd=folder
            )
        try:
            with os.fdopen(file, "w", encoding="utf-8") as out:
                yield out
        except BaseException:
            with as_who_called():
                os.unlink(path.name, dir_fd=folder)
            raise
    finally:
        os.close(folder)
