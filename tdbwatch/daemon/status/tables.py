"""The sections of the status page below its headline. Pure."""

from collections.abc import Sequence
from typing import Final

from tdbwatch.daemon.status.health import ROOM_STATES
from tdbwatch.daemon.status.journal import Gap
from tdbwatch.daemon.status.markup import Markup, element
from tdbwatch.daemon.status.snapshot import NodeView, RoomView, SinkView, Snapshot
from tdbwatch.daemon.status.words import ago, duration, size
from tdbwatch.plugin.event import format_time

NONE: Final = "-"
_WHOLE: Final = len("255.255.255.255:65535")
"""Characters of an address that fit into a column as a whole."""
_NODE_COLOURS: Final = {"connected": "ok", "leaving": "warning", "unreachable": "trouble"}
_SINK_COLOURS: Final = {"running": "ok", "retrying": "warning", "stuck": "trouble", "paused": "trouble"}

Column = tuple[str, str]
"""A heading, and the class of the column's cells: empty, `number` or `note`."""


def nodes(snapshot: Snapshot) -> Markup:
    """The connections to ThingsDB."""
    columns = (("Node", ""), ("State", ""), ("Heard", ""), ("Connects", "number"), ("Losses", "number"),
               ("Trouble", "note"))  # fmt: skip
    rows = [_node(node, snapshot.taken_us) for node in snapshot.nodes]
    return _section("Links", f"{snapshot.links} of {snapshot.links_wanted} connected", columns, rows)


def _node(node: NodeView, now_us: int) -> list[str]:
    heard = NONE if node.silent is None else "just now" if node.silent < 1 else f"{duration(node.silent)} ago"
    state = [_badge(node.state, _NODE_COLOURS.get(node.state, "idle"))]
    if node.status:
        state.append(element("small", f" {node.status}"))
    trouble = [node.trouble or NONE]
    if node.since_us is not None:
        trouble.append(element("small", f" for {duration((now_us - node.since_us) / 1e6)}"))
    return [
        _address(node.address),
        _span(*state),
        heard,
        f"{node.connects:,}",
        f"{node.losses:,}",
        _span(*trouble),
    ]


def _address(address: str) -> Markup:
    """A line breaks within a long host at most, never within its port."""
    if len(address) <= _WHOLE:
        return element("span", address, class_="whole")
    host, colon, port = address.rpartition(":")
    if not port.isdigit():  # a path: it may break anywhere
        return element("span", address)
    return _span(host, element("span", colon + port, class_="whole"))


def rooms(snapshot: Snapshot) -> Markup:
    """What is listened to."""
    joined = sum(room.state == "joined" for room in snapshot.rooms)
    columns = (("Room", ""), ("State", ""), ("Links", "number"), ("Events", "number"), ("Last event", ""),
               ("Reason", "note"))  # fmt: skip
    rows = [_room(room, snapshot) for room in snapshot.rooms]
    return _section("Rooms", f"{joined} of {len(snapshot.rooms)} joined", columns, rows)


def _room(room: RoomView, snapshot: Snapshot) -> list[str]:
    fine = room.state == "joined"
    where = f" {room.scope}" + ("" if room.room_id is None else f" #{room.room_id}")
    name = _span(room.name, element("small", where + (", required" if room.required else "")))
    colour = "ok" if fine else "trouble" if room.required else "warning"
    last = NONE if room.last_event_us is None else _when(room.last_event_us, snapshot.taken_us)
    reason = NONE if fine else room.reason or ROOM_STATES[room.state]
    return [name, _badge(room.state, colour), f"{room.links}", f"{room.received:,}", last, reason]


def sinks(snapshot: Snapshot) -> Markup:
    """Where events go."""
    columns = (("Sink", ""), ("State", ""), ("Delivered", "number"), ("Lag", "number"), ("Oldest", ""),
               ("Failures", "number"), ("Dead letters", "number"), ("Last error", "note"))  # fmt: skip
    rows = [_sink(sink, snapshot.taken_us) for sink in snapshot.sinks]
    return _section("Sinks", f"{len(rows)}", columns, rows)


def _sink(sink: SinkView, now_us: int) -> list[str]:
    courier = sink.courier
    state = "probing" if courier.probing and courier.state == "retrying" else courier.state
    colour = "trouble" if courier.probing else _SINK_COLOURS.get(courier.state, "idle")
    oldest = NONE if courier.oldest_us is None else _when(courier.oldest_us, now_us)
    letters = sink.dead_letters
    count = NONE if letters is None else f"{letters.count:,}"
    buried = f"Dead letter: {letters.last_reason}" if letters is not None and letters.count else ""
    return [
        _span(courier.sink, element("small", f" {courier.plugin}")),
        _badge(state, colour),
        f"{courier.delivered:,}",
        f"{courier.lag:,}",
        oldest,
        f"{courier.failures:,}",
        element("span", count, class_="bad") if buried else count,
        courier.last_error or buried or NONE,
    ]


def spool(snapshot: Snapshot) -> Markup:
    """The log on disk."""
    view = snapshot.spool
    used = "not read yet" if view.size is None else size(view.size)
    facts = {
        "Size": f"{used} of {size(view.max_size)}",
        "Entries": f"{view.entries:,}",
        "Waiting for the disk": f"{view.held:,}",
        "Dropped undelivered": f"{view.dropped:,}",
        "Trouble": view.trouble or "none",
        "File": view.path,
    }
    alarming = {"Dropped undelivered": bool(view.dropped), "Trouble": view.trouble is not None}
    terms = [
        element("div", element("dt", name), element("dd", text, class_="bad" if alarming.get(name) else ""))
        for name, text in facts.items()
    ]
    return element("section", element("h2", "Spool"), element("dl", *terms))


def gaps(snapshot: Snapshot) -> Markup:
    """When events may have been missed."""
    total = sum(count.count for count in snapshot.gap_counts)
    title = element("h2", "Gaps", element("span", f"{total:,} since the start"))
    if not snapshot.gaps:
        return element("section", title, element("p", "No event was missed that we know of."))
    columns = (
        ("Room", ""),
        ("Since", ""),
        ("Until", ""),
        ("Events", "number"),
        ("Cause", ""),
        ("Reason", "note"),
    )
    body = _table("Gaps", columns, [_gap(gap, snapshot.taken_us) for gap in snapshot.gaps[:20]])
    return element("section", title, body)


def _gap(gap: Gap, now_us: int) -> list[str]:
    lost = "unknown" if gap.dropped is None else f"{gap.dropped:,}"
    until = _span(_clock_time(gap.until), element("small", f" {ago(gap.at_us, now_us)}"))
    since = "unknown" if gap.since is None else _clock_time(gap.since)
    return [_span(gap.room, element("small", f" {gap.scope}")), since, until, lost, gap.cause, gap.reason]


def _clock_time(timestamp: str) -> Markup:
    return element("time", timestamp[:19].replace("T", " ") + "Z", datetime=timestamp)


def _when(then_us: int, now_us: int) -> Markup:
    timestamp = format_time(then_us)
    return element("time", ago(then_us, now_us), datetime=timestamp, title=timestamp)


def _badge(state: str, colour: str) -> Markup:
    return element("span", state, class_=f"badge {colour}")


def _span(*children: str) -> Markup:
    return element("span", *children)


def _section(title: str, remark: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Markup:
    return element("section", element("h2", title, element("span", remark)), _table(title, columns, rows))


def _table(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Markup:
    head = element("tr", *(element("th", name, scope="col", class_=kind) for name, kind in columns))
    body = [_row(columns, row) for row in rows]
    table = element("table", element("thead", head), element("tbody", *body), aria_label=title)
    return element("div", table, class_="scroll", tabindex="0")


def _row(columns: Sequence[Column], cells: Sequence[str]) -> Markup:
    first, *rest = cells
    others = [element("td", cell, class_=kind) for cell, (_, kind) in zip(rest, columns[1:], strict=True)]
    return element("tr", element("th", first, scope="row"), *others)
