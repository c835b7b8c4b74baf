"""`tdbwatch spool requeue` and `drop`: what to do with dead letters."""

import argparse
from typing import TYPE_CHECKING, Any

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.spool.place import add_filters, command, place_for_sink, selection_of
from tdbwatch.daemon.words import counted

if TYPE_CHECKING:
    from tdbwatch.cli.spool.place import Place
    from tdbwatch.daemon.spool.looking.look import Look
    from tdbwatch.daemon.spool.stored.orders import Selection


def add_parsers(actions: Any) -> None:
    """Add both commands."""
    example = "--sink oncall --config prod.yaml"
    text = "deliver dead letters again, with the ids that they have"
    _add_letters(command(actions, "requeue", _requeue, text, example, writes=True))
    example = "--sink oncall --event 'test-*' --yes --config prod.yaml"
    parser = command(actions, "drop", _drop, "delete dead letters for good", example, writes=True)
    _add_letters(parser)
    parser.add_argument("--yes", action="store_true", help="do it; without, only say how many there are")


def _add_letters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help=argparse.SUPPRESS)
    parser.description = f"{parser.description}\nID: an event's, or its beginning."
    add_filters(parser, sink="the dead letters of this sink")
    parser.usage = f"{parser.usage} [ID ...]"
    parser.add_argument("--all", action="store_true", help="all dead letters")


def _requeue(options: argparse.Namespace) -> int:
    from msgspec.structs import replace

    from tdbwatch.daemon.spool.looking.look import opened

    place, chosen = place_for_sink(options), _chosen(options)
    with opened(place.path, "rw") as look:
        selection = _whole(look, chosen)
        before = _requeued(look)
        asked = {
            sink: look.order("requeue", sink, replace(selection, sink=sink))
            for sink in look.letters.sinks(selection)
        }
    if not asked:
        return _none(options)
    for sink, count in asked.items():
        say(f"{sink}: {counted(count, 'dead letter')} will be delivered again {place.when_served(sink)}")
        if sink in before:
            say(f"{sink}: a requeue that was asked for earlier waits, too; no dead letter comes twice")
    return exits.OK


def _drop(options: argparse.Namespace) -> int:
    from tdbwatch.daemon.spool.looking.look import opened

    place, chosen = place_for_sink(options), _chosen(options)
    if _is_gone(place, options):
        return _forget(place, options)
    if not options.yes:
        with opened(place.path) as look:
            count = sum(1 for _ in look.letters.some(_whole(look, chosen)))
        if count:
            message = f"{counted(count, 'dead letter')} would be deleted for good; say --yes to do it"
            raise CommandError(exits.USAGE, message)
        return _none(options)
    with opened(place.path, "rw") as look:
        count = look.letters.discard(_whole(look, chosen))
        requeued = _requeued(look)
    if not count:
        return _none(options)
    say(f"{counted(count, 'dead letter')} deleted")
    for sink in sorted(requeued):
        say(f"{sink}: a requeue waits; it will not find them")
    return exits.OK


def _is_gone(place: "Place", options: argparse.Namespace) -> bool:
    """Whether it is about a whole sink that the configuration does not name."""
    part = (options.ids, options.room, options.event, options.since, options.until)
    return options.sink is not None and not any(part) and options.sink not in place.sinks({options.sink})


def _forget(place: "Place", options: argparse.Namespace) -> int:
    from tdbwatch.daemon.spool.looking.gone import forget, left_behind
    from tdbwatch.daemon.spool.looking.look import opened

    sink = options.sink
    with opened(place.path, "rw" if options.yes else "ro") as look:
        found = [str(one) for one in left_behind(look, place.sinks(set())) if one.sink == sink] or ["nothing"]
        what = f"{found[0]} of {sink}, which is not in the configuration,"
        if not options.yes:
            raise CommandError(exits.USAGE, f"{what} would be given up for good; say --yes to do it")
        forget(look, sink)
    say(f"{what} given up")
    return exits.OK


def _requeued(look: "Look") -> set[str]:
    """The sinks with a requeue that the daemon has not finished."""
    return {order.sink for order in look.orders() if order.kind == "requeue"}


def _chosen(options: argparse.Namespace) -> "Selection":
    chosen = (options.ids, options.sink, options.room, options.event, options.since, options.until)
    if not any(chosen) and not options.all:
        raise CommandError(exits.USAGE, "say which: IDs, --sink, --room, --event, --since, --until, or --all")
    return selection_of(options)


def _whole(look: "Look", selection: "Selection") -> "Selection":
    """The selection with whole ids: lists on a terminal show only how they begin.

    Raises:
        CommandError: dead letters of several events begin so.
    """
    from msgspec.structs import replace

    from tdbwatch.cli.spool.place import only_one

    if selection.ids is None:
        return selection
    return replace(
        selection,
        ids=tuple(only_one(look.ids_like(part, dead_only=True), part) or part for part in selection.ids),
    )


def _none(options: argparse.Namespace) -> int:
    if options.ids:
        raise CommandError(exits.NO_INPUT, "no dead letter matches; `tdbwatch spool list --dead` shows them")
    say("no dead letter matches")
    return exits.OK
