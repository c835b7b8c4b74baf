"""`tdbwatch spool wake`: what people may want of a sink as a whole."""

import argparse
from typing import Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.output import say
from tdbwatch.cli.spool_place import command, place_for_sink

_WAKE: Final = """oncall --config prod.yaml

What the sink waits for ends, also a pause, and so does what single rooms of it
wait for: a batch goes at once, and what that answers counts as ever. No event
comes twice by it. Without a daemon there is nothing to do: a start tries at
once."""


def add_parsers(actions: Any) -> None:
    """Add the commands."""
    parser = command(actions, "wake", _wake, "have a sink tried at once", _WAKE, writes=True)
    parser.add_argument("sink", metavar="SINK", help="a sink that waits or is paused")


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
