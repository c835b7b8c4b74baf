"""`tdbwatch check --explain`: where one event goes, and why."""

import os
from typing import TYPE_CHECKING

from tdbwatch.cli.output import say

if TYPE_CHECKING:
    from tdbwatch.daemon.config import Checked


def explain(words: list[str], checked: "Checked") -> int:
    """Say which routes match an event, which sinks get it, and what remembers it."""
    from tdbwatch.cli.rooms.made_event import made_event
    from tdbwatch.daemon.holding import Trial
    from tdbwatch.daemon.routing.routes import Router
    from tdbwatch.daemon.spool.stored.blocks import heard
    from tdbwatch.plugin.jsonable import to_json

    room, event, *args = [*words, ""] if len(words) == 1 else words
    made = made_event(room, event, args, checked.sections)
    router = Router.of_names(checked.sections.routes, checked.sinks, checked.sections.absences)
    [(lane, run)] = Trial(router, (), made.received_us).hear(heard([made]))
    [made] = run.unpacked(lane)
    decision, matched = router.explain(made)
    say(f"routes  {', '.join(matched) or ('none match' if checked.sections.routes else 'there are none')}")
    for sink, fields in decision.items():
        say(f"sink    {sink}" + (f"  with fields {to_json(dict(fields)).decode()}" if fields else ""))
    for key in made.held:
        rule = router.holding[key]
        say(f"group   {', '.join(sorted(rule.to))}  with others of its key ({rule.path})")
    awaited = [rule.path for rule in router.awaited(made.kind, made.scope, made.room, made.event)]
    for absence, rule in zip(checked.sections.absences, router.awaiting, strict=True):
        if rule.path in awaited and router.holds(rule, made):
            say(f"absence {absence.name}  waits for it ({rule.path})")
    if not (decision or made.held):
        say("sink    none: the event is dropped" if matched else "sink    none: no route takes it")
    for path, failure in router.counts.failures.items():
        say(f"failed  {path}: {failure.reason}")
    return os.EX_OK
