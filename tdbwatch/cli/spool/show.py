"""`tdbwatch spool show ID`: the story of one event."""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli import exits
from tdbwatch.cli.exits import CommandError
from tdbwatch.cli.output import say
from tdbwatch.cli.spool.place import Place, add_place, guarded, only_one, place_of
from tdbwatch.daemon.words import counted

if TYPE_CHECKING:
    from tdbwatch.daemon.spool.api import Attempt
    from tdbwatch.daemon.spool.looking.look import Story
    from tdbwatch.plugin import Event

_EPILOG: Final = """\
example:
  tdbwatch spool show 0193a5c2-7d1e --config prod.yaml

The routes are those of the configuration as it is now. An ID may be shortened
as long as it stays unique."""

_COLOURS: Final = {"dead": "red", "not delivered": "red", "delivered": "green", "waits": "yellow"}

_BECAME: Final = {
    "delivered": "delivered in {}",
    "retry": "failed in {}, worth another try",
    "error": "failed in {} with an error",
    "rejected": "rejected for good in {}",
    "paused": "failed in {}, and the sink asked for a pause",
}
"""By `Attempt.outcome`. Whether a failed one is tried again is for `retry` in the configuration to say."""


def add_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "show",
        help="the story of one event",
        description="Tell what became of one event: received when, routed where, and every attempt.",
        epilog=_EPILOG,
    )
    parser.add_argument("id", metavar="ID", help="the event's id, or its beginning")
    add_place(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=guarded(_show))


def _show(options: argparse.Namespace) -> int:
    from tdbwatch.cli.spool.text import say_json
    from tdbwatch.daemon.spool.looking.look import opened

    place = place_of(options)
    with opened(place.path) as look:
        found = only_one(look.ids_like(options.id), options.id)
        if found is None:
            raise CommandError(exits.NO_INPUT, f"no event {options.id} is in {place.path}")
        told = look.story(found)
    event = (told.entries[0] if told.entries else told.letters[0].entry).event
    matched = _matched(place, event)
    outcomes = {sink: _outcome(sink, told, matched) for sink in _sinks(place, told)}
    if options.json:
        say_json(_as_json(event, told, matched, outcomes))
    else:
        _print(event, told, matched, outcomes)
    return exits.OK


@dataclass(frozen=True, slots=True)
class _Matched:
    """What the routes of the configuration say of an event; `unrouted` is why, where there are none."""

    routes: list[str]
    sinks: frozenset[str]
    unrouted: str


def _matched(place: Place, event: "Event") -> _Matched | None:
    if place.config is None or place.router is None:
        return None
    sinks, matched = place.router.explain(event)
    why = f"every {event.kind} goes to every sink" if sinks else f"a record of a {event.kind} goes nowhere"
    return _Matched(list(matched), frozenset(sinks), "" if place.config.routes else why)


def _sinks(place: Place, told: "Story") -> list[str]:
    seen = {attempt.sink for attempt in told.attempts} | {letter.sink for letter in told.letters}
    return sorted(place.sinks(set(told.progress)) | seen)


def _outcome(sink: str, told: "Story", matched: _Matched | None) -> str:
    """How things stand between the event and a sink, in a few words."""
    from tdbwatch.daemon.spool.stored.blocks import Lane

    ours = [attempt for attempt in told.attempts if attempt.sink == sink]
    letter = next((letter for letter in told.letters if letter.sink == sink), None)
    if letter is not None:
        return f"dead letter: {letter.reason}"
    done, entries = told.progress.get(sink), [e for e in told.entries if e.target in {None, sink}]
    if ours and ours[-1].outcome == "delivered":
        return "delivered"
    if matched is not None and sink not in matched.sinks and not ours:
        held = any(entry.event.held for entry in told.entries)
        return "held back by a route, or a member of a group" if held else "no route leads there"
    if done is None or not entries:
        return "not known"
    if any(not done.finished(e.seq, Lane(e.event.scope, e.event.room)) for e in entries):
        return f"waits, after {counted(len(ours), 'attempt')}" if ours else "waits"
    if ours and ours[-1].outcome == "rejected":
        return "not delivered; its dead letter was deleted, or became too old to be kept"
    if ours:
        return "finished; its last attempt, or its dead letter, is not kept any more"
    return "finished; its attempts are not kept any more" if matched is not None else "finished"


def _as_json(
    event: "Event", told: "Story", matched: _Matched | None, outcomes: dict[str, str]
) -> dict[str, Any]:
    from tdbwatch.cli.spool.text import attempt_json, letter_json

    return {
        "record": event.record(),
        "spool": [{"seq": entry.seq, "target": entry.target} for entry in told.entries],
        "routes": None if matched is None else matched.routes,
        "sinks": outcomes,
        "attempts": [attempt_json(attempt) for attempt in told.attempts],
        "dead_letters": [letter_json(letter)["dead_letter"] for letter in told.letters],
    }


def _print(event: "Event", told: "Story", matched: _Matched | None, outcomes: dict[str, str]) -> None:
    from tdbwatch.cli.spool.text import contents
    from tdbwatch.cli.terminal import fitted, paint
    from tdbwatch.plugin.event import format_time

    where = f"{event.room} (id {event.room_id})" if event.room_id is not None else event.room
    say(paint(fitted(f"{event.kind} {event.event}"), "bold"))
    say(f"  id        {event.id}")
    say(f"  received  {format_time(event.received_us)}")
    say(fitted(f"  room      {where or '-'} in {event.scope or '-'}"))
    say(fitted(f"  contents  {contents(event)}"))
    places = [f"{e.seq}" + (f" (again, for {e.target})" if e.target else "") for e in told.entries]
    say(f"  spool     {', '.join(places) or 'no longer in the log'}")
    say(f"  routes    {_routes(matched)}")
    for sink, outcome in outcomes.items():
        say("")
        _print_sink(sink, outcome, told)


def _routes(matched: _Matched | None) -> str:
    if matched is None:
        return "not known without --config"
    to = f"to {', '.join(sorted(matched.sinks)) or 'no sink'}"
    if matched.unrouted:
        return f"none configured, so {matched.unrouted}; {to}"
    return f"{', '.join(matched.routes) or 'none match'}; {to}"


def _print_sink(sink: str, outcome: str, told: "Story") -> None:
    from tdbwatch.cli.terminal import fitted, paint
    from tdbwatch.plugin.event import format_time

    colour = next((colour for word, colour in _COLOURS.items() if outcome.startswith(word)), None)
    say(f"{paint(sink, 'bold')}: {paint(outcome, colour) if colour else outcome}")
    for attempt in told.attempts:
        if attempt.sink == sink:
            say(fitted(f"  {format_time(attempt.started_us)}  {_attempt(attempt)}"))
    for letter in told.letters:
        if letter.sink == sink:
            say(fitted(f"  {format_time(letter.dead_us)}  dead letter: {letter.reason}"))


def _attempt(attempt: "Attempt") -> str:
    """What was tried, what came of it, and how long the call took: that is no time to wait."""
    from tdbwatch.cli.spool.text import span_of

    became = _BECAME.get(attempt.outcome, attempt.outcome + " in {}").format(span_of(attempt.duration_us))
    batch = f", {len(attempt.seqs)} events together" if len(attempt.seqs) > 1 else ""
    said = f": {attempt.detail}" if attempt.detail else ""
    return f"attempt {attempt.number}: {became}{batch}{said}"
