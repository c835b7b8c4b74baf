"""The table of gaps: when events may have been missed, or are. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tdbwatch.daemon.status.pages.markup import (
    Column,
    Markup,
    badge,
    element,
    join,
    section,
    small,
    span,
    table,
)
from tdbwatch.daemon.status.pages.times import clock_time
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.status.spans import Part, Room, Span, still_open
from tdbwatch.daemon.words import ago, counted, duration

MAX_ROOMS: Final = 8
"""Rooms of a gap that have a row of their own; the JSON document has them all."""
_NAMED: Final = 3
"""Rooms and reasons of a gap that are named in its first row."""


class _GapRow(NamedTuple):
    """A happening; or, below it, what one room missed of it."""

    rooms: Markup
    part: Part
    happening: Span | None = None


def gaps(snapshot: Snapshot) -> Markup:
    """When events may have been missed, or are: what goes on, then what was recorded."""
    open_now = still_open(snapshot.open_gaps)
    total = f"{counted(sum(count.count for count in snapshot.gap_counts), 'record')} since the start"
    goes_on = f", {counted(len(snapshot.open_gaps), 'room')} not heard now" if open_now else ""
    stopping = "Nobody listens while tdbwatch is away; the next start records that as a gap."
    content = [element("p", stopping)] if snapshot.phase == "stopping" else []
    if found := [*open_now, *snapshot.spans]:
        rows = [row for each in found for row in _gap_rows(each)]
        css = lambda row: "part" if row.happening is None else ""  # noqa: E731
        content.append(table("Gaps", _gap_columns(snapshot.taken_us), rows, css))
    elif snapshot.phase == "starting":
        content.append(element("p", "Not every room is heard yet."))
    elif snapshot.phase != "stopping":
        content.append(element("p", "No event was missed that we know of."))
    return section("Gaps", total + goes_on, *content)


def _gap_columns(now_us: int) -> tuple[Column[_GapRow], ...]:
    return (
        Column("Room", lambda row: row.rooms),
        Column("Since", lambda row: clock_time(row.part.since_us)),
        Column("Until", lambda row: _until(row, now_us)),
        Column("Events", lambda row: _lost(row.happening), "number"),
        Column("Cause", lambda row: row.happening.cause if row.happening else ""),
        Column("Reason", lambda row: "; ".join(row.part.reasons[:_NAMED]), "note"),
    )


def _gap_rows(happening: Span) -> Iterator[_GapRow]:
    """One, and one for each room where they differ in times or reasons."""
    names = sorted(happening.rooms, key=lambda room: room[::-1])
    yield _GapRow(_rooms(names), happening.whole, happening)
    if len({_as_shown(part) for part in happening.rooms.values()}) > 1:
        for room in names[:MAX_ROOMS]:
            yield _GapRow(span(room[1], small(room[0])), happening.rooms[room])


def _as_shown(part: Part) -> tuple[object, ...]:
    return (_second(part.since_us), _second(part.until_us), part.reasons)


def _second(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds // 1_000_000


def _rooms(names: Sequence[Room]) -> Markup:
    if len(names) == 1:
        scope, name = names[0]
        return span(name, small(scope))
    named = ", ".join(name for _, name in names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    return span(counted(len(names), "room"), small(named))


def _until(row: _GapRow, now_us: int) -> str:
    if row.part.until_us is None:
        since_us = row.part.since_us
        lasts = "" if since_us is None else f"for {duration((now_us - since_us) / 1e6)}"
        return span(badge("still open", "trouble"), small(lasts))
    reported = small(ago(row.happening.at_us, now_us)) if row.happening else ""
    return join([clock_time(row.part.until_us), reported])


def _lost(happening: Span | None) -> str:
    if happening is None:
        return ""
    return "unknown" if happening.dropped is None else f"{happening.dropped:,}"
