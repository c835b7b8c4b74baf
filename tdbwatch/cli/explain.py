"""`tdbwatch check --explain`: where one event goes, and why."""

import os
from typing import TYPE_CHECKING, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say

if TYPE_CHECKING:
    from tdbwatch.daemon.config import Checked

_ROOMS: Final = "the rooms are"


def explain(words: list[str], checked: "Checked") -> int:
    """Say which routes match an event, and which sinks get it."""
    from tdbwatch.cli.emit import value_of
    from tdbwatch.daemon.config.expectations import GivenConfig, room_of
    from tdbwatch.daemon.config.problems import suggestion
    from tdbwatch.daemon.route_tests import event_of
    from tdbwatch.daemon.routes import Router
    from tdbwatch.plugin.jsonable import to_json

    room, event, *args = [*words, ""] if len(words) == 1 else words
    given = GivenConfig(room=room, event=event, args=tuple(map(value_of, args)))
    if room_of(given, checked.sections.rooms) is None:
        names = [one.record_name for one in checked.sections.rooms]
        raise CommandError(
            exits.USAGE, f"no room that is watched has this name; {suggestion(room, names, _ROOMS)}"
        )
    router, heard = Router.of_names(checked.sections.routes, checked.sinks), event_of(given, checked.sections)
    decision, matched = router.explain(heard)
    say(f"routes  {', '.join(matched) or ('none match' if checked.sections.routes else 'there are none')}")
    for sink, fields in decision.items():
        say(f"sink    {sink}" + (f"  with fields {to_json(dict(fields)).decode()}" if fields else ""))
    if not decision:
        say("sink    none: the event is dropped" if matched else "sink    none: no route takes it")
    for path, failure in router.failures.items():
        say(f"failed  {path}: {failure.reason}")
    return os.EX_OK
