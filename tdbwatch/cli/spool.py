"""`tdbwatch spool`: see, deliver again, delete, export and repair what is in the spool."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from tdbwatch.cli import exits, spool_doctor, spool_show
from tdbwatch.cli.spool_place import (
    CommandError,
    Place,
    Work,
    add_filters,
    add_place,
    guarded,
    place_for_sink,
    place_of,
    selection_of,
)

if TYPE_CHECKING:
    from sqlite3 import Connection

    from tdbwatch.daemon.spool.selection import Selection

_CODES: Final = """
exit codes: 0 fine, 64 wrong usage, 65 damaged, 66 no such spool or event,
73 cannot write, 77 no permission, 78 bad configuration"""
_STATS: Final = """

entries       all that the log holds, delivered or not: events, other records,
              and what was put there to be delivered again
behind        of these, what the sink has not finished, and what comes after it
              and is not for that sink: see spool list --sink
dead letters  what the sink will not get any more, unless they are requeued"""
_LIST_SINK: Final = "what this sink is still to get; with --dead its dead letters"
_EXAMPLE: Final = """\
example:
  tdbwatch spool list --dead --sink oncall --config /etc/tdbwatch/prod.yaml
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "spool",
        help="see and repair what is in the spool",
        description="See what is in the spool, deliver dead letters again, export, repair; beside a\n"
        "running daemon or without one.",
        epilog=_EXAMPLE + _CODES,
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)
    _add_stats(actions)
    _add_list(actions)
    spool_show.add_parser(actions)
    _add_requeue(actions)
    _add_drop(actions)
    _add_export(actions)
    spool_doctor.add_parser(actions)


def _command(
    actions: Any, name: str, work: Work, text: str, example: str, *, writes: bool = False
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example:\n  tdbwatch spool {name} {example}",
    )
    add_place(parser)
    parser.set_defaults(run=guarded(f"tdbwatch spool {name}", work, writes=writes))
    return parser


def _add_stats(actions: Any) -> None:
    example = "--config prod.yaml" + _STATS
    parser = _command(actions, "stats", _stats, "the spool and its sinks in numbers", example)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _add_list(actions: Any) -> None:
    example = "--dead --sink oncall --since 2h --config prod.yaml"
    parser = _command(actions, "list", _list, "list events, or dead letters", example)
    parser.add_argument("--dead", action="store_true", help="dead letters instead of events")
    add_filters(parser, sink=_LIST_SINK)
    parser.add_argument("--limit", type=_count, default=50, metavar="N", help="the newest N (50); 0: all")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_requeue(actions: Any) -> None:
    example = "--sink oncall --config prod.yaml"
    text = "deliver dead letters again, with the ids that they have"
    parser = _command(actions, "requeue", _requeue, text, example, writes=True)
    _add_letters(parser)


def _add_drop(actions: Any) -> None:
    example = "--sink oncall --event 'test-*' --yes --config prod.yaml"
    parser = _command(actions, "drop", _drop, "delete dead letters for good", example, writes=True)
    _add_letters(parser)
    parser.add_argument("--yes", action="store_true", help="do it; without, only say how many there are")


def _add_export(actions: Any) -> None:
    example = "--since 1d --output events.jsonl --config prod.yaml"
    parser = _command(actions, "export", _export, "write records, one JSON object a line", example)
    parser.add_argument("--dead", action="store_true", help="dead letters instead of events")
    add_filters(parser, sink=_LIST_SINK)
    parser.add_argument("--output", type=Path, metavar="FILE", help="a new file; default: standard output")


def _add_letters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="the dead letters of this event")
    add_filters(parser, sink="the dead letters of this sink")
    parser.add_argument("--all", action="store_true", help="all dead letters")


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def _stats(options: argparse.Namespace) -> int:
    from tdbwatch.cli.spool_text import counted, paint, print_json, size_of, stats_json, table, time_of
    from tdbwatch.daemon.spool.browse import opened, stats

    place = place_of(options)
    with opened(place.path) as connection:
        found = stats(connection, place.path)
    if options.json:
        print_json(stats_json(found, str(place.path), place.user))
        return exits.OK
    user = "no daemon uses it" if place.user is None else f"process {place.user} uses it"
    print(f"{place.path}: {size_of(found.size)}, {user}")
    times = f", received {time_of(found.oldest_us)} to {time_of(found.newest_us)}" if found.count else ""
    print(f"{counted(found.count, 'entry', 'entries')}{times}\n")
    known = place.sinks({sink.sink for sink in found.sinks})
    rows = [
        (s.sink + ("" if s.sink in known else " (not configured)"), f"{s.behind:,}", f"{s.dead_letters:,}")
        for s in found.sinks
    ]
    head, *lines = table(("sink", "behind", "dead letters"), rows)
    print("\n".join([paint(head, "bold"), *lines]))
    for request in found.requests:
        print(f"{request.kind} for {request.sink}: waits or is under way")
    for tally in found.drops:
        print(f"{counted(tally.count, 'undelivered event')} dropped: {tally.reason}; a gap record will tell")
    return exits.OK


def _list(options: argparse.Namespace) -> int:
    from tdbwatch.cli import spool_text as text

    line: Callable[[Any], str] = text.letter_line if options.dead else text.entry_line
    as_json: Callable[[Any], dict[str, Any]] = text.letter_json if options.dead else text.entry_json
    for item in _found(place_for_sink(options), selection_of(options), options, options.limit or -1):
        if options.json:
            text.print_json(as_json(item))
        else:
            print(line(item))
    return exits.OK


def _found(place: Place, selection: "Selection", options: argparse.Namespace, last: int = -1) -> Any:
    from dataclasses import replace

    from tdbwatch.daemon.spool.browse import entries, letters, opened, unfinished

    with opened(place.path) as connection:
        if options.dead:
            yield from letters(connection, selection, last=last)
        elif options.sink is None:
            yield from entries(connection, selection, last=last)
        else:
            events, wants = replace(selection, sink=None), place.wants(options.sink)
            yield from unfinished(connection, events, options.sink, wants, last=last)


def _export(options: argparse.Namespace) -> int:
    import json

    from tdbwatch.cli.spool_text import letter_json

    place, selection = place_for_sink(options), selection_of(options)
    with _output(options.output) as out:
        for item in _found(place, selection, options):
            record = letter_json(item) if options.dead else item.event.record()
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
        out.flush()
    return exits.OK


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a new file that is whole in the end, or not there.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        if path is None:
            yield sys.stdout
            return
        with open(path, "x", encoding="utf-8", opener=_for_owner_and_group) as file:
            try:
                yield file
                file.flush()
            except BaseException:
                path.unlink()
                raise
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise CommandError(exits.CANNOT_WRITE, f"{path} is there already; name a new file") from error
    except OSError as error:
        why = error.strerror or error
        raise CommandError(exits.CANNOT_WRITE, f"{path or 'standard output'}: {why}") from error


def _for_owner_and_group(path: str, flags: int) -> int:
    """As the file sink opens its files: what they hold is not for everyone."""
    return os.open(path, flags, 0o640)


def _requeue(options: argparse.Namespace) -> int:
    from tdbwatch.cli.spool_text import counted
    from tdbwatch.daemon.spool.browse import opened
    from tdbwatch.daemon.spool.requests import ask, sinks_with_letters

    place, selection = place_for_sink(options), _chosen(options)
    with opened(place.path, "rw") as connection:
        before = _requeued(connection)
        asked = {
            sink: ask(connection, "requeue", sink, selection, time.time_ns() // 1000)
            for sink in sinks_with_letters(connection, selection)
        }
    if not asked:
        return _none(options)
    for sink, count in asked.items():
        print(f"{sink}: {counted(count, 'dead letter')} will be delivered again {place.when_served(sink)}")
        if sink in before:
            print(f"{sink}: a requeue that was asked for earlier waits, too; no dead letter comes twice")
    return exits.OK


def _drop(options: argparse.Namespace) -> int:
    from tdbwatch.cli.spool_text import counted
    from tdbwatch.daemon.spool.browse import letters, opened
    from tdbwatch.daemon.spool.requests import discard

    place, selection = place_for_sink(options), _chosen(options)
    if not options.yes:
        with opened(place.path) as connection:
            count = sum(1 for _ in letters(connection, selection))
        if count:
            message = f"{counted(count, 'dead letter')} would be deleted for good; say --yes to do it"
            raise CommandError(exits.USAGE, message)
        return _none(options)
    with opened(place.path, "rw") as connection:
        count = discard(connection, selection)
        requeued = _requeued(connection)
    if not count:
        return _none(options)
    print(f"{counted(count, 'dead letter')} deleted")
    for sink in sorted(requeued):
        print(f"{sink}: a requeue waits; it will not find them")
    return exits.OK


def _requeued(connection: "Connection") -> set[str]:
    """The sinks with a requeue that the daemon has not finished."""
    from tdbwatch.daemon.spool.requests import waiting

    return {request.sink for request in waiting(connection) if request.kind == "requeue"}


def _chosen(options: argparse.Namespace) -> Any:
    chosen = (options.ids, options.sink, options.room, options.event, options.since)
    if not any(chosen) and not options.all:
        raise CommandError(exits.USAGE, "say which: IDs, --sink, --room, --event, --since, or --all")
    return selection_of(options)


def _none(options: argparse.Namespace) -> int:
    if options.ids:
        raise CommandError(exits.NO_INPUT, "no dead letter matches; `tdbwatch spool list --dead` shows them")
    print("no dead letter matches")
    return exits.OK
