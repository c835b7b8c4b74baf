"""`tdbwatch spool`: see, deliver again, delete, export and repair what is in the spool."""

from typing import Any, Final

from tdbwatch.cli import (
    spool_backup,
    spool_doctor,
    spool_export,
    spool_letters,
    spool_list,
    spool_show,
    spool_sinks,
    spool_stats,
)

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
    spool_stats.add_parser(actions)
    spool_list.add_parser(actions)
    spool_show.add_parser(actions)
    spool_letters.add_parsers(actions)
    spool_sinks.add_parsers(actions)
    spool_export.add_parser(actions)
    spool_backup.add_parser(actions)
    spool_doctor.add_parser(actions)
