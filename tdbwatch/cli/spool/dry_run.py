"""`tdbwatch replay --dry-run`: what other routes would do with the events that the log holds."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.spool.place import place_of, selection_of
from tdbwatch.daemon.words import counted

if TYPE_CHECKING:
    from tdbwatch.cli.spool.place import Place
    from tdbwatch.daemon.routing.dry_run import Outcome

_EVERY: Final = 50_000
"""Events between two words about how far it is."""


def run(options: argparse.Namespace) -> int:
    """Ask the routes, and say what they would do; returns the exit code."""
    from tdbwatch.daemon.routing.dry_run import dry_run
    from tdbwatch.daemon.spool.looking.look import opened

    if options.config is None:
        raise CommandError(exits.USAGE, "it tries the routes of a configuration: --config FILE")
    if options.sink is not None or options.dead:
        raise CommandError(exits.USAGE, "it is about all sinks: leave out --sink and --dead")
    place, selection = place_of(options), selection_of(options)
    against = None if options.against is None else _place(options.against)
    given = (options.room, options.event, options.since, options.until)
    wanted = selection.matches if any(part is not None for part in given) else None
    assert place.router is not None, "there is a configuration"
    with opened((against or place).path) as look:
        progress = _Progress(look.log.size)
        other = None if against is None else against.router
        outcome = dry_run(look.log.blocks(selection), wanted, place.router, other, progress)
    progress.end()
    _say(outcome, place, against)
    return exits.OK


def _place(config: Path) -> "Place":
    return place_of(argparse.Namespace(config=config, spool=None))


class _Progress:
    """Tells people at a terminal how far it is."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._next = _EVERY if sys.stderr is not None and sys.stderr.isatty() else sys.maxsize
        self._told = False

    def __call__(self, done: int) -> None:
        if done >= self._next:
            self._next, self._told = done + _EVERY, True
            print(f"\r{done:,} of {self._total:,} ...", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Make place for what was found."""
        if self._told:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _say(outcome: "Outcome", place: "Place", against: "Place | None") -> None:
    more = f", and {outcome.made:,} that routes would make of them" if outcome.made else ""
    say(f"{counted(outcome.events, 'record')} in the log{more}; nothing was delivered\n")
    sinks = sorted({*outcome.sinks, *place.sinks(set()), *outcome.fewer})
    head, rows = ["sink", "would get"], [[sink, f"{outcome.sinks[sink]:,}"] for sink in sinks]
    if against is not None:
        head += ["more", "fewer", "for example"]
        for row in rows:
            row += [
                f"{outcome.more[row[0]]:,}",
                f"{outcome.fewer[row[0]]:,}",
                outcome.example.get(row[0], "-"),
            ]
    _say_table(head, rows)
    if outcome.routes:
        say("")
        _say_table(
            ["route", "matches"], [[path, f"{count:,}"] for path, count in sorted(outcome.routes.items())]
        )
    if outcome.nowhere:
        say(f"\n{counted(outcome.nowhere, 'record')} would go to no sink")
    assert place.router is not None, "there is a configuration"
    for path, failure in sorted(place.router.counts.failures.items()):
        count = counted(failure.count, "event")
        say(f"{path}: no value for {count}, the last one {failure.event_id}: {failure.reason}")


def _say_table(head: list[str], rows: list[list[str]]) -> None:
    from tdbwatch.cli.terminal import paint, table

    first, *lines = table(head, rows)
    say(paint(first, "bold"), *lines)
