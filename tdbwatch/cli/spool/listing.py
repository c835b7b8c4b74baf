"""`tdbwatch spool list`: events, or dead letters, oldest first."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.output import say
from tdbwatch.cli.spool.place import Place, add_filters, command, place_for_sink, selection_of
from tdbwatch.daemon.words import counted

if TYPE_CHECKING:
    from tdbwatch.daemon.spool.api import DeadLetter, Entry
    from tdbwatch.daemon.spool.stored.orders import Selection

LIST_SINK: Final = "what it is still to get; with --dead its dead letters"
_ENTRY: Final = ("received", "id", "room", "event", "contents")
_LETTER: Final = ("dead since", "id", "sink", "room", "event", "attempts", "reason")
_ID: Final = 18
"""As much of an id as tells it from all others of its process; `spool show` and the like take it."""


def add_parser(actions: Any) -> None:
    example = "--dead --sink oncall --since 2h --config prod.yaml"
    parser = command(actions, "list", _list, "list events, or dead letters", example)
    parser.add_argument("--dead", action="store_true", help="dead letters instead of events")
    parser.add_argument(
        "--unrouted", action="store_true", help="only events that no route takes (with --config)"
    )
    add_filters(parser, sink=LIST_SINK)
    parser.add_argument("--limit", type=_count, default=50, metavar="N", help="the newest N (50); 0: all")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return min(int(text), sys.maxsize)


def _list(options: argparse.Namespace) -> int:
    any_is_there = False
    if options.unrouted and (options.config is None or options.dead or options.sink is not None):
        raise exits.CommandError(
            exits.USAGE, "--unrouted asks the routes: it needs --config, and has no --dead or --sink"
        )
    items = found(place_for_sink(options), selection_of(options), options, options.limit or -1)
    for line in _lines(items, options):
        any_is_there = True
        say(line)
    if not any_is_there:
        print(f"no {'dead letter' if options.dead else 'event'} matches", file=sys.stderr)
    return exits.OK


def found(place: Place, selection: "Selection", options: argparse.Namespace, last: int = -1) -> Iterator[Any]:
    """The entries, or with `--dead` the dead letters, that the options select."""
    from msgspec.structs import replace

    from tdbwatch.daemon.spool.looking.look import opened

    with opened(place.path) as look:
        if options.dead:
            yield from look.letters.some(selection, last=last)
        elif options.sink is None:
            only = _unrouted(place) if getattr(options, "unrouted", False) else None
            yield from look.log.some(selection, only=only, last=last)
        else:
            events, wants = replace(selection, sink=None), place.wants(options.sink)
            yield from look.log.unfinished(events, options.sink, wants, last=last)


def _unrouted(place: Place) -> "Callable[[Entry], bool]":
    """Whether no route takes an entry; what was delivered again was somebody's."""

    def unrouted(entry: "Entry") -> bool:
        event = entry.event
        return entry.target is None and place.unrouted(event.kind, event.scope, event.room, event.event)

    return unrouted


def _lines(items: Iterable[Any], options: argparse.Namespace) -> Iterator[str]:
    """What to show of each: an object, columns for people, or the same with whole ids for programs."""
    import json

    from tdbwatch.cli.spool.text import entry_json, letter_json
    from tdbwatch.cli.terminal import columns, fitted, is_terminal

    if options.json:
        as_json = letter_json if options.dead else entry_json
        return (json.dumps(as_json(item), ensure_ascii=False) for item in items)
    short = is_terminal()
    cells = _letter if options.dead else _entry
    rows = (cells(item, short) for item in items)
    if short:
        return columns(_LETTER if options.dead else _ENTRY, rows)
    return (fitted("  ".join(row)) for row in rows)


def _entry(entry: "Entry", short: bool) -> tuple[str, ...]:
    from tdbwatch.cli.spool.text import contents, time_of

    event = entry.event
    again = f" (again, for {entry.target})" if entry.target is not None else ""
    what = (event.room or "-", event.event + again, contents(event))
    return time_of(event.received_us), event.id[:_ID] if short else event.id, *what


def _letter(letter: "DeadLetter", short: bool) -> tuple[str, ...]:
    from tdbwatch.cli.spool.text import time_of

    event, same = letter.entry.event, letter.last_error in {"", letter.reason}
    tried = f"{letter.attempts:,}" if short else counted(letter.attempts, "attempt")
    what = (letter.sink, event.room or "-", event.event, tried)
    why = letter.reason if same else f"{letter.reason}: {letter.last_error}"
    return time_of(letter.dead_us), event.id[:_ID] if short else event.id, *what, why
