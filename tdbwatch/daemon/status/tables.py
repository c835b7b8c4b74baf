"""The sections of the status page below its headline. Pure."""

from typing import Final

from tdbwatch.daemon.status.cells import NONE, badge, section, span, when
from tdbwatch.daemon.status.health import ROOM_STATES
from tdbwatch.daemon.status.markup import Markup, element
from tdbwatch.daemon.status.snapshot import NodeView, RoomView, SinkView, Snapshot
from tdbwatch.daemon.words import duration, size

_WHOLE: Final = len("255.255.255.255:65535")
"""Characters of an address that fit into a column as a whole."""
_NODE_COLOURS: Final = {"connected": "ok", "leaving": "warning", "unreachable": "trouble"}
_SINK_COLOURS: Final = {
    "running": "ok",
    "retrying": "warning",
    "refusing": "trouble",
    "stuck": "trouble",
    "paused": "trouble",
}


def nodes(snapshot: Snapshot) -> Markup:
    """The connections to ThingsDB."""
    columns = (("Node", ""), ("State", ""), ("Heard", ""), ("Connects", "number"), ("Losses", "number"),
               ("Trouble", "note"))  # fmt: skip
    rows = [_node(node, snapshot.taken_us) for node in snapshot.nodes]
    return section("Links", f"{snapshot.links} of {snapshot.links_wanted} connected", columns, rows)


def _node(node: NodeView, now_us: int) -> list[str]:
    heard = NONE if node.silent is None else "just now" if node.silent < 1 else f"{duration(node.silent)} ago"
    state = [badge(node.state, _NODE_COLOURS.get(node.state, "idle"))]
    if node.status:
        state.append(element("small", f" {node.status}"))
    trouble = [node.trouble or NONE]
    if node.since_us is not None:
        trouble.append(element("small", f" for {duration((now_us - node.since_us) / 1e6)}"))
    return [
        _address(node.address),
        span(*state),
        heard,
        f"{node.connects:,}",
        f"{node.losses:,}",
        span(*trouble),
    ]


def _address(address: str) -> Markup:
    """A line breaks within a long host at most, never within its port."""
    if len(address) <= _WHOLE:
        return element("span", address, class_="whole")
    host, colon, port = address.rpartition(":")
    if not port.isdigit():  # a path: it may break anywhere
        return element("span", address)
    return span(host, element("span", colon + port, class_="whole"))


def rooms(snapshot: Snapshot) -> Markup:
    """What is listened to."""
    joined = sum(room.state == "joined" for room in snapshot.rooms)
    columns = (("Room", ""), ("State", ""), ("Links", "number"), ("Events", "number"), ("Last event", ""),
               ("Reason", "note"))  # fmt: skip
    rows = [_room(room, snapshot) for room in snapshot.rooms]
    return section("Rooms", f"{joined} of {len(snapshot.rooms)} joined", columns, rows)


def _room(room: RoomView, snapshot: Snapshot) -> list[str]:
    fine, gone = room.state == "joined", room.state == "left"
    where = f" {room.scope}" + ("" if room.room_id is None else f" #{room.room_id}")
    name = span(room.name, element("small", where + (", required" if room.required else "")))
    colour = "ok" if fine else "idle" if gone else "trouble" if room.required else "warning"
    last = NONE if room.last_event_us is None else when(room.last_event_us, snapshot.taken_us)
    reason = NONE if fine or gone else room.reason or ROOM_STATES[room.state]
    return [name, badge(room.state, colour), f"{room.links}", f"{room.received:,}", last, reason]


def sinks(snapshot: Snapshot) -> Markup:
    """Where events go."""
    columns = (("Sink", ""), ("State", ""), ("Delivered", "number"), ("Lag", "number"), ("Oldest", ""),
               ("Failures", "number"), ("Dead letters", "number"), ("Last error", "note"))  # fmt: skip
    rows = [_sink(sink, snapshot.taken_us) for sink in snapshot.sinks]
    return section("Sinks", f"{len(rows)}", columns, rows)


def _sink(sink: SinkView, now_us: int) -> list[str]:
    courier = sink.courier
    offered = "" if courier.plugin == sink.type else f" of plugin {courier.plugin}"
    state = "probing" if courier.probing and courier.state == "retrying" else courier.state
    colour = "trouble" if courier.probing else _SINK_COLOURS.get(courier.state, "idle")
    oldest = NONE if courier.oldest_us is None else when(courier.oldest_us, now_us)
    letters = sink.dead_letters
    count = NONE if letters is None else f"{letters.count:,}"
    buried = f"Dead letter: {letters.last_reason}" if letters is not None and letters.count else ""
    return [
        span(courier.sink, element("small", f" {sink.type}{offered}")),
        badge(state, colour),
        f"{courier.delivered:,}",
        f"{courier.lag:,}",
        oldest,
        f"{courier.failures:,}",
        element("span", count, class_="bad") if buried else count,
        (courier.last_error or "") or buried or NONE,
    ]


def spool(snapshot: Snapshot) -> Markup:
    """The log on disk."""
    view = snapshot.spool
    facts = {
        "Used": f"{_size(view.used)} of {size(view.max_size)}",
        "On disk": _size(view.size),
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


def _size(count: int | None) -> str:
    return "not read yet" if count is None else size(count)
