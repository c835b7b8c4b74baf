"""`tdbwatch replay`: deliver to a sink again what it, or another life of it, had before."""

import argparse
from pathlib import Path
from typing import Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.spool import dry_run
from tdbwatch.cli.spool.place import (
    add_filters,
    add_place,
    guarded,
    place_for_sink,
    require_sink,
    selection_of,
)
from tdbwatch.daemon.words import counted

_EPILOG: Final = """\
example:
  tdbwatch replay --sink audit --since 2h --room alerts --config prod.yaml
  tdbwatch replay --dry-run --config new.yaml --against prod.yaml

If no daemon runs, it is done when the next one starts.
exit codes: 0 fine, 64 usage, 66 no spool, 73 cannot write, 77 no permission"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "replay",
        help="deliver to a sink again",
        description="Deliver what routes send to a sink again, with the same ids.",
        epilog=_EPILOG,
    )
    add_place(parser)
    add_filters(parser, sink="the sink (required)")
    parser.add_argument("--dead", action="store_true", help="its dead letters: the same as spool requeue")
    parser.add_argument("--dry-run", action="store_true", help="only say what the routes would do")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare them with this configuration's")
    parser.set_defaults(run=guarded(_replay, writes=True))


def _replay(options: argparse.Namespace) -> int:
    from tdbwatch.daemon.spool.looking.look import opened

    if options.dry_run or options.against is not None:
        return dry_run.run(options)
    if options.sink is None:
        raise CommandError(exits.USAGE, "say which sink: --sink S")
    place, selection = place_for_sink(options), selection_of(options)
    if not options.dead:  # no route leads to a sink that is gone
        require_sink(options.sink, place.sinks({options.sink}))
    with opened(place.path, "rw") as look:
        count = look.order("requeue" if options.dead else "replay", options.sink, selection)
    if not count:
        say("nothing matches")
    elif options.dead:
        say(f"{counted(count, 'dead letter')} will be delivered again {place.when_served(options.sink)}")
    else:
        what = f"of {counted(count, 'record')}, those that the routes send there"
        say(f"{what} will be delivered again {place.when_served(options.sink)}")
    return exits.OK
