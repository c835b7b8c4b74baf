"""`tdbwatch spool wake` and `move`: what people may want of a sink as a whole."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.spool.place import Place, command, place_for_sink, place_of, require_sink

_WAKE: Final = """oncall --config prod.yaml

What the sink waits for ends, also a pause, and so does what single rooms of it
wait for: a batch goes at once, and what that answers counts as ever. No event
comes twice by it. Without a daemon there is nothing to do: a start tries at
once."""
_MOVE: Final = """oncall pager --config prod.yaml

For a sink that was renamed. What OLD has not got is delivered to NEW, as far as
the routes send it there; its dead letters and what was asked for it become
NEW's. OLD must be gone from the configuration. NEW loses nothing that it has.
Where NEW has begun already, OLD's events come behind newer ones."""


def add_parsers(actions: Any) -> None:
    """Add both commands."""
    parser = command(actions, "wake", _wake, "have a sink tried at once", _WAKE, writes=True)
    parser.add_argument("sink", metavar="SINK", help="a sink that waits or is paused")
    parser = command(actions, "move", _move, "give to a sink what a renamed one left", _MOVE, writes=True)
    parser.add_argument("old", metavar="OLD", help="the sink that is gone")
    parser.add_argument("new", metavar="NEW", help="a sink of the configuration")


def _wake(options: argparse.Namespace) -> int:
    from tdbwatch.daemon.spool.looking.look import opened

    place = place_for_sink(options)
    if place.user is None:
        say(f"{options.sink}: no daemon runs; when it starts, it tries at once")
        return exits.OK
    with opened(place.path, "rw") as look:
        look.wake(options.sink)
    say(f"{options.sink}: will be tried {place.when_served(options.sink)}")
    return exits.OK


def _move(options: argparse.Namespace) -> int:
    from tdbwatch.daemon.spool.looking.gone import give, left_behind, rename
    from tdbwatch.daemon.spool.looking.look import opened

    place, old, new = place_of(options), options.old, options.new
    sinks = _configured(place)
    require_sink(new, sinks)
    if old in sinks:
        message = f"{old} is in the configuration, so it gets its events itself; take it out first"
        raise CommandError(exits.USAGE, message)
    with opened(place.path, "rw") as look, _nobody_else(place) as alone:
        known = look.sinks()
        require_sink(old, known - sinks)
        [left] = [str(one) for one in left_behind(look, sinks) if one.sink == old] or ["nothing"]
        at_once = alone and new not in known
        (rename if at_once else give)(look, old, new)
    say(f"{left} of {old}: " + (f"now {new}'s" if at_once else f"will be {new}'s {place.when_served(new)}"))
    return exits.OK


def _configured(place: Place) -> set[str]:
    if place.config is None:
        raise CommandError(exits.USAGE, "say --config FILE: only it says which sinks there are")
    return set(place.config.sinks)


@contextmanager
def _nobody_else(place: Place) -> Iterator[bool]:
    """Whether no daemon has the spool; none can take it meanwhile."""
    from tdbwatch.daemon.spool.file.lock import InUseError, SpoolLock

    lock = SpoolLock(place.path)
    try:
        lock.acquire()
    except InUseError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
