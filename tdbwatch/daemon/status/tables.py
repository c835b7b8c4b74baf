"""The sections of the status page below its headline: what there is, and what was missed. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tdbwatch.daemon.status import wording
from tdbwatch.daemon.status.markup import Column, Markup, badge, element, join, small, span, table
from tdbwatch.daemon.status.snapshot import CanaryView, NodeView, RoomView, SinkView, Snapshot
from tdbwatch.daemon.status.spans import Part, Room, Span, still_open
from tdbwatch.daemon.words import ago, counted, duration, size
from tdbwatch.plugin.event import format_time

MAX_ROOMS: Final = 8
"""Rooms of a gap that have a row of their own; the JSON document has them all."""
_NAMED: Final = 3
"""Rooms and reasons of a gap that are named in its first row."""
_WHOLE: Final = len("255.255.255.255:65535")
"""Characters of an address that fit into a column as a whole."""
_NONE: Final = "-"


def _section(title: str, remark: str, *content: Markup) -> Markup:
    return element("section", element("h2", title, element("span", remark)), *content)


# -- what there is ---------------------------------------------------------------------------------------


def nodes(snapshot: Snapshot) -> Markup:
    """The connections to ThingsDB."""
    columns: tuple[Column[NodeView], ...] = (
        Column("Node", lambda node: _address(node.address)),
        Column("State", _node_state),
        Column("Heard", lambda node: _heard(node.silent)),
        Column("Connects", lambda node: f"{node.connects:,}", "number"),
        Column("Losses", lambda node: f"{node.losses:,}", "number"),
        Column("Trouble", lambda node: _trouble(node, snapshot.taken_us), "note"),
    )
    remark = wording.sum_up(snapshot.links, snapshot.links_wanted)
    return _section("Links", remark, table("Links", columns, snapshot.nodes))


def _node_state(node: NodeView) -> Markup:
    return span(badge(node.state, wording.NODE_COLOURS.get(node.state, "idle")), small(node.status))


def _address(address: str) -> Markup:
    """A line breaks within a long host at most, never within its port."""
    if len(address) <= _WHOLE:
        return element("span", address, class_="whole")
    host, colon, port = address.rpartition(":")
    if not port.isdigit():  # a path: it may break anywhere
        return span(address)
    return span(host, element("span", colon + port, class_="whole"))


def _heard(silent: float | None) -> str:
    return _NONE if silent is None else "just now" if silent < 1 else f"{duration(silent)} ago"


def _trouble(node: NodeView, now_us: int) -> str:
    since = "" if node.since_us is None else f"for {duration((now_us - node.since_us) / 1e6)}"
    return span(node.trouble or _NONE, small(since))


def rooms(snapshot: Snapshot) -> Markup:
    """What is listened to, and the canary's room."""
    joined = sum(room.state == "joined" for room in snapshot.rooms)
    columns: tuple[Column[RoomView | CanaryView], ...] = (
        Column("Room", _room_name),
        Column("State", lambda room: badge(room.state, _room_colour(room))),
        Column("Links", lambda room: f"{room.links}", "number"),
        Column("Events", _received, "number"),
        Column("Last event", lambda room: _last_event(room, snapshot.taken_us)),
        Column("Reason", _why, "note"),
    )
    canary = () if snapshot.canary is None else (snapshot.canary,)
    shown = table("Rooms", columns, (*snapshot.rooms, *canary))
    return _section("Rooms", f"{joined} of {len(snapshot.rooms)} joined", shown)


def _room_name(room: RoomView | CanaryView) -> Markup:
    if isinstance(room, CanaryView):
        return span(room.room, small(f"{room.scope}, the canary's"))
    where = room.scope + ("" if room.room_id is None else f" #{room.room_id}")
    return span(room.name, small(where + (", required" if room.required else "")))


def _received(room: RoomView | CanaryView) -> str:
    return _NONE if isinstance(room, CanaryView) else f"{room.received:,}"


def _last_event(room: RoomView | CanaryView, now_us: int) -> str:
    return _NONE if isinstance(room, CanaryView) else _when(room.last_event_us, now_us)


def _why(room: RoomView | CanaryView) -> str:
    return wording.room_reason(room.state, room.reason) or _NONE


def _room_colour(room: RoomView | CanaryView) -> str:
    return wording.room_colour(room.state, required=isinstance(room, RoomView) and room.required)


def sinks(snapshot: Snapshot) -> Markup:
    """Where events go."""
    columns: tuple[Column[SinkView], ...] = (
        Column("Sink", _sink_name),
        Column("State", _sink_state),
        Column("Delivered", lambda sink: f"{sink.courier.delivered:,}", "number"),
        Column("Lag", lambda sink: f"{sink.lag:,}", "number"),
        Column("Oldest", lambda sink: _when(sink.courier.oldest_us, snapshot.taken_us)),
        Column("Failures", lambda sink: f"{sink.courier.failures:,}", "number"),
        Column("Dead letters", _letters, "number"),
        Column("Last error", _last_error, "note"),
    )
    return _section("Sinks", f"{len(snapshot.sinks)}", table("Sinks", columns, snapshot.sinks))


def _sink_name(sink: SinkView) -> Markup:
    plugin = sink.courier.plugin
    return span(sink.courier.sink, small(sink.type + ("" if plugin == sink.type else f" of plugin {plugin}")))


def _sink_state(sink: SinkView) -> Markup:
    return badge(*wording.sink_state(sink.courier.state, probing=sink.courier.probing))


def _letters(sink: SinkView) -> str:
    if sink.dead_letters is None:
        return _NONE
    count = f"{sink.dead_letters.count:,}"
    return element("span", count, class_="bad") if sink.dead_letters.count else count


def _last_error(sink: SinkView) -> str:
    courier, letters = sink.courier, sink.dead_letters
    letter = letters.last_reason if letters is not None and letters.count else ""
    return wording.sink_error(courier.state, courier.last_error, courier.last_refusal, letter) or _NONE


def spool(snapshot: Snapshot) -> Markup:
    """The log on disk."""
    view = snapshot.spool
    facts = (
        ("Used", f"{_size(view.used)} of {size(view.max_size)}", False),
        ("On disk", _size(view.size), False),
        ("Entries", f"{view.entries:,}", False),
        ("Waiting for the disk", f"{view.held:,}", False),
        ("Dropped undelivered", f"{view.dropped:,}", bool(view.dropped)),
        ("Trouble", view.trouble or "none", view.trouble is not None),
        ("File", view.path, False),
    )
    terms = [
        element("div", element("dt", name), element("dd", text, class_="bad" if alarming else ""))
        for name, text, alarming in facts
    ]
    return _section("Spool", "", element("dl", *terms))


def _size(count: int | None) -> str:
    return "not read yet" if count is None else size(count)


# -- what was missed -------------------------------------------------------------------------------------


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
    return _section("Gaps", total + goes_on, *content)


def _gap_columns(now_us: int) -> tuple[Column[_GapRow], ...]:
    return (
        Column("Room", lambda row: row.rooms),
        Column("Since", lambda row: _clock_time(row.part.since_us)),
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
    return join([_clock_time(row.part.until_us), reported])


def _lost(happening: Span | None) -> str:
    if happening is None:
        return ""
    return "unknown" if happening.dropped is None else f"{happening.dropped:,}"


def _clock_time(microseconds: int | None) -> str:
    if microseconds is None:
        return "unknown"
    timestamp = format_time(microseconds)
    return element("time", timestamp[:19].replace("T", " ") + "Z", datetime=timestamp)


def _when(then_us: int | None, now_us: int) -> str:
    if then_us is None:
        return _NONE
    timestamp = format_time(then_us)
    return element("time", ago(then_us, now_us), datetime=timestamp, title=timestamp)
