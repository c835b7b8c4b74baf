"""The gaps on the status page: first what goes on, then what was recorded, a row for each happening. Pure."""

from tdbwatch.daemon.status.cells import badge, clock_time, span, table
from tdbwatch.daemon.status.markup import Markup, element
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.status.spans import Span, still_open
from tdbwatch.daemon.words import ago, counted, duration
from tdbwatch.plugin.event import format_time

COLUMNS = (
    ("Room", ""),
    ("Since", ""),
    ("Until", ""),
    ("Events", "number"),
    ("Cause", ""),
    ("Reason", "note"),
)
NAMED = 3
"""Rooms of a row that are named; the JSON document names them all."""


def gaps(snapshot: Snapshot) -> Markup:
    """When events may have been missed, or are."""
    open_now = still_open(snapshot.open_gaps)
    total = f"{counted(sum(count.count for count in snapshot.gap_counts), 'record')} since the start"
    goes_on = f", {counted(len(snapshot.open_gaps), 'room')} not heard now" if open_now else ""
    parts = [element("h2", "Gaps", element("span", total + goes_on))]
    if snapshot.phase == "stopping":
        parts.append(
            element("p", "Nobody listens while tdbwatch is away; the next start records that as a gap.")
        )
    spans = [*open_now, *snapshot.spans]
    if spans:
        parts.append(table("Gaps", COLUMNS, [_row(each, snapshot.taken_us) for each in spans]))
    elif snapshot.phase == "starting":
        parts.append(element("p", "Not every room is heard yet."))
    elif snapshot.phase != "stopping":
        parts.append(element("p", "No event was missed that we know of."))
    return element("section", *parts)


def _row(gap: Span, now_us: int) -> list[str]:
    lost = "unknown" if gap.dropped is None else f"{gap.dropped:,}"
    since = "unknown" if gap.since_us is None else clock_time(format_time(gap.since_us))
    return [_rooms(gap), since, _until(gap, now_us), lost, gap.cause, "; ".join(gap.reasons[:NAMED])]


def _rooms(gap: Span) -> Markup:
    rooms = sorted(gap.rooms, key=lambda room: room[::-1])
    if len(rooms) == 1:
        scope, name = rooms[0]
        return span(name, element("small", f" {scope}"))
    names = ", ".join(name for _, name in rooms[:NAMED]) + (", ..." if len(rooms) > NAMED else "")
    return span(counted(len(rooms), "room"), element("small", f" {names}"))


def _until(gap: Span, now_us: int) -> Markup:
    if gap.until_us is None:
        lasts = "" if gap.since_us is None else f" for {duration((now_us - gap.since_us) / 1e6)}"
        return span(badge("still open", "trouble"), element("small", lasts))
    return span(clock_time(format_time(gap.until_us)), element("small", f" {ago(gap.at_us, now_us)}"))
