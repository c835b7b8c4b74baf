"""Runs the tests of a configuration: what sinks would get of given events against what they should. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from tdbwatch.daemon.config.models.config import Sections
from tdbwatch.daemon.config.models.expectations import ExpectationConfig, Expected, GivenConfig, room_of
from tdbwatch.daemon.holding import Trial
from tdbwatch.daemon.routing.routes import Router
from tdbwatch.daemon.spool.stored.blocks import Heard, Lane, run_of
from tdbwatch.daemon.words import counted
from tdbwatch.plugin import Event
from tdbwatch.plugin.jsonable import to_json
from tdbwatch.wire.scopes import short

_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one test.

    Attributes:
        faults: what is not as expected; none: it passed.
        notes: what may explain that: expressions that had no value.
    """

    name: str
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def run_tests(sections: Sections, sinks: Sequence[str]) -> Iterator[Result]:
    """Run the tests of a configuration with these sinks, in order."""
    for test in sections.tests:
        router = Router.of_names(sections.routes, sinks, sections.absences)
        events = heard(test.given, sections, router)
        faults = tuple(
            fault for sink in sinks for fault in _compare(sink, test, records(router, sink, events))
        )
        notes = tuple(f"{path}: {failure.reason}" for path, failure in sorted(router.counts.failures.items()))
        yield Result(test.name, faults, notes if faults else ())


def heard(given: Sequence[GivenConfig], sections: Sections, router: Router) -> list[Event]:
    """The events as the log would have them, with the records that are due meanwhile."""
    first = event_of(given[0], sections)
    trial = Trial(router, lanes(sections), first.received_us)
    events: list[Event] = []
    for one in given:
        event = event_of(one, sections)
        now_us = (trial.now_us if one.time is None else event.received_us) + round(one.after * 1e6)
        if one.is_pause:
            got: Sequence[Heard] = trial.passes_until(now_us)
        else:
            lane = Lane(event.scope, event.room)
            got = trial.hear([(lane, run_of(replace(event, received_us=now_us)))])
        events += [event for lane, run in got for event in run.unpacked(lane)]
    return events


def lanes(sections: Sections) -> list[Lane]:
    """The rooms that are watched."""
    return [Lane(short(room.scope), room.record_name) for room in sections.rooms]


def event_of(given: GivenConfig, sections: Sections) -> Event:
    """The event as the daemon would make it of what a room hears."""
    room = room_of(given, sections.rooms)
    return Event.create(
        given.room or "",
        given.event,
        given.args,
        kind=given.kind,
        scope="" if room is None else room.scope,
        room_id=None if room is None else room.id,
        arg_names=() if room is None else room.arg_names(given.event),
        details=given.details,
        received_us=None if given.time is None else round(given.time.timestamp() * 1e6),
    )


def records(router: Router, sink: str, events: Iterable[Event]) -> list[dict[str, Any]]:
    """What a sink gets of these events."""
    matcher = router.matcher(sink)
    got = (matcher.with_fields(event) for event in events)
    return [event.record() for event in got if event is not None]


def _compare(sink: str, test: ExpectationConfig, got: list[dict[str, Any]]) -> Iterator[str]:
    expected: Expected = test.expect.get(sink, 0)
    if expected == "any":
        return
    count = expected if isinstance(expected, int) else len(expected)
    if len(got) != count:
        yield f"{sink}: expected {counted(count, 'record')}, got {len(got) or 'none'}{_shown(got)}"
    elif not isinstance(expected, int):
        for index, (wanted, record) in enumerate(zip(expected, got, strict=True)):
            yield from (f"{sink}[{index}]{fault}" for fault in _differences(wanted, record))


def _differences(wanted: Any, got: Any) -> Iterator[str]:
    """Where `got` has not what is wanted; of mappings only the keys that are wanted count."""
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for key, value in wanted.items():
            if key not in got:
                yield f".{key}: expected {_text(value)}, and there is none"
            else:
                yield from (f".{key}{fault}" for fault in _differences(value, got[key]))
    elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        for index, (one, other) in enumerate(zip(wanted, got, strict=True)):
            yield from (f"[{index}]{fault}" for fault in _differences(one, other))
    elif wanted != got or isinstance(wanted, bool) is not isinstance(got, bool):
        yield f": expected {_text(wanted)}, got {_text(got)}"


def _shown(got: list[dict[str, Any]]) -> str:
    return f": {', '.join(map(_text, got))}"[:_SHOWN] if got else ""


def _text(value: Any) -> str:
    return to_json(value).decode(errors="backslashreplace")
