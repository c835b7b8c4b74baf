"""`tdbwatch check --explain`: where one event goes, and why."""

import os
from typing import TYPE_CHECKING

from tdbwatch.cli.output import say

if TYPE_CHECKING:
    from tdbwatch.daemon.config import Checked


def explain(words: list[str], checked: "Checked") -> int:
    """Say which routes match an event, and which sinks get it."""
    from tdbwatch.cli.made_event import made_event
    from tdbwatch.daemon.routes import Router
    from tdbwatch.plugin.jsonable import to_json

    room, event, *args = [*words, ""] if len(words) == 1 else words
    heard = made_event(room, event, args, checked.sections)
    router = Router.of_names(checked.sections.routes, checked.sinks)
    decision, matched = router.explain(heard)
    say(f"routes  {', '.join(matched) or ('none match' if checked.sections.routes else 'there are none')}")
    for sink, fields in decision.items():
        say(f"sink    {sink}" + (f"  with fields {to_json(dict(fields)).decode()}" if fields else ""))
    if not decision:
        say("sink    none: the event is dropped" if matched else "sink    none: no route takes it")
    for path, failure in router.failures.items():
        say(f"failed  {path}: {failure.reason}")
    return os.EX_OK
