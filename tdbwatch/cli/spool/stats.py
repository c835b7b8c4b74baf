"""`tdbwatch spool stats`: the spool and its sinks in numbers."""

import argparse
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.output import say
from tdbwatch.cli.spool.place import Place, command, place_of
from tdbwatch.daemon.words import counted

if TYPE_CHECKING:
    from tdbwatch.daemon.spool.looking.stats import Stats

_EXAMPLE: Final = """--config prod.yaml

entries       all that the log holds, delivered or not: events, other records,
              and what was put there to be delivered again
behind        of these, what the sink is still to get: as spool list --sink and
              the status page say; without --config, what it has not finished,
              whether the routes send it there or not
unrouted      events that no route takes, as long as the log holds them
dead letters  what the sink will not get any more, unless they are requeued"""
_A_COMMIT: Final = 1 << 20
"""Bytes that one commit may want: with less beside what is kept back, the disk may refuse it."""


def add_parser(actions: Any) -> None:
    parser = command(actions, "stats", _stats, "the spool and its sinks in numbers", _EXAMPLE)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _stats(options: argparse.Namespace) -> int:
    from tdbwatch.cli.spool.text import say_json, size_of, stats_json, time_of
    from tdbwatch.daemon.spool.looking.look import opened
    from tdbwatch.daemon.spool.looking.stats import stats

    place = place_of(options)
    with opened(place.path) as look:
        matchers = {sink: place.wants(sink) for sink in place.sinks(set())}
        found = stats(look, {sink: wants for sink, wants in matchers.items() if wants is not None})
        unrouted = None if place.config is None else look.log.count(place.unrouted, place.may_be_unrouted)
    fresh = sorted(place.sinks(set()) - {sink.sink for sink in found.sinks})
    if options.json:
        say_json(stats_json(found, str(place.path), place.user, fresh, unrouted))
        return exits.OK
    user = "no daemon uses it" if place.user is None else f"process {place.user} uses it"
    say(f"{place.path}: {size_of(found.size)}, {user}")
    times = f", received {time_of(found.oldest_us)} to {time_of(found.newest_us)}" if found.count else ""
    say(f"{counted(found.count, 'entry', 'entries')}{times}\n")
    _say_sinks(place, found, fresh)
    _say_disk(place)
    if unrouted:
        lost = f"{counted(unrouted, 'event')} that no route takes: no sink gets them"
        say(f"{lost}; `spool list --unrouted` shows them")
    for order in found.orders:
        missed = f"; {counted(order.missed, 'record')} went before it came to them" if order.missed else ""
        say(f"{order.kind} for {order.sink}: waits or is under way{missed}")
    for tally in found.drops:
        say(f"{counted(tally.count, 'undelivered event')} dropped: {tally.reason}; a gap record will tell")
    return exits.OK


def _say_disk(place: Place) -> None:
    from tdbwatch.cli.spool.text import size_of
    from tdbwatch.daemon.spool.file.disk import Space

    space = Space(place.path)
    if space.free is not None and space.free < 2 * space.reserve + _A_COMMIT:
        kept = f"{size_of(space.free)} are left, and the last {size_of(space.reserve)} are kept back"
        waits = "what does not fit waits in the daemon's memory, and no sink gets it"
        say(f"the disk is nearly full: {kept}; {waits}")


def _say_sinks(place: Place, found: "Stats", fresh: list[str]) -> None:
    from tdbwatch.cli.terminal import NONE, paint, table

    known = place.sinks({sink.sink for sink in found.sinks})
    rows = [
        (s.sink + ("" if s.sink in known else " (not configured)"), f"{s.behind:,}", f"{s.dead_letters:,}")
        for s in found.sinks
    ]
    rows += [(f"{sink} (not started yet)", NONE, "0") for sink in fresh]
    head, *lines = table(("sink", "behind", "dead letters"), sorted(rows))
    say(paint(head, "bold"), *lines)
