"""`tdbwatch spool doctor`: examine a spool, and repair it."""

import argparse
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.spool.place import Place, add_place, guarded, place_of
from tdbwatch.daemon.words import counted

if TYPE_CHECKING:
    from tdbwatch.daemon.spool.looking.doctor import Finding

_EPILOG: Final = """\
example:
  tdbwatch spool doctor --config prod.yaml

A damaged file is never deleted: it is moved aside, and a new one takes over all
that can be read of it. Only possible while no daemon runs; a running one does
the same by itself as soon as it comes upon the damage. A file that never was a
spool is refused and left as it is.

exit codes: 0 fine or repaired, 65 damaged and not repaired, 66 no spool there,
73 cannot write, 77 no permission, 78 bad configuration"""

_IN_USE: Final = """\
and repairs it by itself within seconds of coming upon the damage
    look again then; only if it is still damaged, stop it (which makes a gap) and run this again"""

_TWICE: Final = "what sinks had finished could not be read, so they may get events twice"


def add_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "doctor",
        help="examine the spool, and repair it",
        description="Examine the spool, repair what can be repaired, and tell what was lost.",
        epilog=_EPILOG,
    )
    add_place(parser)
    parser.add_argument("--dry-run", action="store_true", help="only examine")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=guarded(_doctor))


def _doctor(options: argparse.Namespace) -> int:
    from tdbwatch.cli.spool.text import say_json
    from tdbwatch.daemon.spool.looking.doctor import damaged, examine

    place = place_of(options)
    findings = examine(place.path)
    hurt = damaged(findings)
    told: dict[str, Any] = {"path": str(place.path), "damaged": hurt}
    if not options.json:
        for finding in findings:
            say(_line(finding))
    if hurt and not options.dry_run:
        told["repair"] = _repair(place)
        if not options.json:
            say(told["repair"]["text"])
    if options.json:
        say_json(told | {"findings": [_finding_json(finding) for finding in findings]})
    return exits.DAMAGED if hurt and options.dry_run else exits.OK


def _repair(place: Place) -> dict[str, Any]:
    from tdbwatch.daemon.spool.api import SpoolError
    from tdbwatch.daemon.spool.looking.doctor import lost, repair

    if place.user is not None:
        raise CommandError(exits.DAMAGED, f"process {place.user} uses the spool, {_IN_USE}")
    try:
        report = repair(place.path)
    except (SpoolError, OSError, sqlite3.Error) as error:
        raise CommandError(exits.CANNOT_WRITE, f"the spool cannot be repaired: {error}") from error
    events, letters = counted(report.rescued, "undelivered event"), counted(report.letters, "dead letter")
    saved = f"{events} and {letters} were saved"
    notes = [lost(place.path, report), _TWICE if report.progress_lost else ""]
    text = "; ".join([f"repaired: moved to {report.moved_to}", saved, *filter(None, notes)])
    return {
        "text": text,
        "moved_to": str(report.moved_to),
        "events": report.rescued,
        "letters": report.letters,
        "progress_lost": report.progress_lost,
    }


def _line(finding: "Finding") -> str:
    from tdbwatch.cli.terminal import paint

    colour = {"fine": "green", "note": "yellow", "damage": "red"}[finding.level]
    remedy = f"\n        {finding.remedy}" if finding.remedy else ""
    return f"{paint(finding.level.ljust(6), colour)}  {finding.text}{remedy}"


def _finding_json(finding: "Finding") -> dict[str, str]:
    return {"level": finding.level, "text": finding.text, "remedy": finding.remedy}
