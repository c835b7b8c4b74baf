"""`tdbwatch replay`: deliver to a sink again what it, or another life of it, had before."""

import argparse
import time
from typing import Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.spool_place import (
    CommandError,
    Place,
    add_filters,
    add_place,
    guarded,
    place_of,
    selection_of,
)

_EPILOG: Final = """\
example:
  tdbwatch replay --sink audit --since 2h --room alerts --config /etc/tdbwatch/prod.yaml

Events that are still in the spool and that the routes send to the sink are delivered to it again, with the
ids that they have, behind what it has not finished. Other sinks see nothing of it. Works while the daemon
runs and while it does not: then it is done at its next start.

exit codes: 0 fine, 64 wrong usage, 66 no such spool, 73 cannot write, 78 bad configuration"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "replay",
        help="deliver to a sink again",
        description="Deliver events that are in the spool to one sink again.",
        epilog=_EPILOG,
    )
    add_place(parser)
    add_filters(parser, sink="the sink (required)")
    parser.add_argument("--dead", action="store_true", help="its dead letters: the same as spool requeue")
    parser.set_defaults(run=guarded("tdbwatch replay", _replay, writes=True))


def _replay(options: argparse.Namespace) -> int:
    from tdbwatch.cli.spool_text import counted
    from tdbwatch.daemon.spool.browse import opened, stats
    from tdbwatch.daemon.spool.requests import ask

    if options.sink is None:
        raise CommandError(exits.USAGE, "say which sink: --sink S")
    place, selection = place_of(options), selection_of(options)
    with opened(place.path, "rw") as connection:
        _require(place, options.sink, {state.sink for state in stats(connection, place.path).sinks})
        kind: Any = "requeue" if options.dead else "replay"
        count = ask(connection, kind, options.sink, selection, time.time_ns() // 1000)
    if not count:
        print("nothing matches")
    elif options.dead:
        print(f"{counted(count, 'dead letter')} will be delivered again {place.when_served}")
    else:
        what = f"of {counted(count, 'record')}, those that the routes send there"
        print(f"{what} will be delivered again {place.when_served}")
    return exits.OK


def _require(place: Place, sink: str, known: set[str]) -> None:
    there = place.sinks(known)
    if sink not in there:
        raise CommandError(exits.USAGE, f"there is no sink {sink!r}; there are: {', '.join(sorted(there))}")
