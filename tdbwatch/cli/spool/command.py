"""`tdbwatch spool`: see, deliver again, delete, export and repair what is in the spool."""

from typing import Any, Final

from tdbwatch.cli.spool import backup, doctor, export, letters, listing, show, sinks, stats

_EXAMPLE: Final = """\
example:
  tdbwatch spool list --dead --sink oncall --config /etc/tdbwatch/prod.yaml
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "spool",
        help="see and repair what is in the spool",
        description="See what is in the spool, deliver again, repair: beside a daemon or without one.",
        epilog=_EXAMPLE,
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)
    stats.add_parser(actions)
    listing.add_parser(actions)
    show.add_parser(actions)
    letters.add_parsers(actions)
    sinks.add_parsers(actions)
    export.add_parser(actions)
    backup.add_parser(actions)
    doctor.add_parser(actions)
