"""The page's tables of nodes and sinks, and what it says of the spool. Pure."""

from typing import Final
from urllib.parse import urlencode

from tdbwatch.daemon.status import wording
from tdbwatch.daemon.status.history import History
from tdbwatch.daemon.status.pages.chart import activity
from tdbwatch.daemon.status.pages.markup import Column, Markup, badge, element, section, small, span, table
from tdbwatch.daemon.status.pages.times import when
from tdbwatch.daemon.status.snapshot import NodeView, SinkView, Snapshot
from tdbwatch.daemon.words import duration, size

_WHOLE: Final = len("255.255.255.255:65535")
"""Characters of an address that fit into a column as a whole."""
_NONE: Final = "-"


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
    return section("Links", remark, table("Links", columns, snapshot.nodes))


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


def sinks(snapshot: Snapshot, history: History) -> Markup:
    """Where events go."""
    columns: tuple[Column[SinkView], ...] = (
        Column("Sink", _sink_name),
        Column("State", _sink_state),
        Column("Delivered", lambda sink: f"{sink.courier.counts.delivered:,}", "number"),
        Column("Last hour", lambda sink: _taken(sink, history)),
        Column("Lag", lambda sink: "counting" if sink.courier.counting else f"{sink.lag:,}", "number"),
        Column("Oldest", lambda sink: when(sink.courier.oldest_us, snapshot.taken_us)),
        Column("Failures", lambda sink: f"{sink.courier.health.failures:,}", "number"),
        Column("Dead letters", _letters, "number"),
        Column("Last error", _last_error, "note"),
    )
    return section("Sinks", f"{len(snapshot.sinks)}", table("Sinks", columns, snapshot.sinks))


def _taken(sink: SinkView, history: History) -> Markup:
    name = sink.courier.sink
    return activity(history.sink(name), f"Taken by {name}")


def _sink_name(sink: SinkView) -> Markup:
    plugin = sink.courier.plugin
    return span(sink.courier.sink, small(sink.type + ("" if plugin == sink.type else f" of plugin {plugin}")))


def _sink_state(sink: SinkView) -> Markup:
    return badge(*wording.sink_state(sink.courier.state, probing=sink.courier.health.probing))


def _letters(sink: SinkView) -> str:
    if sink.dead_letters is None:
        return _NONE
    count = f"{sink.dead_letters.count:,}"
    if not sink.dead_letters.count:
        return count
    return element("a", count, href="letters?" + urlencode({"sink": sink.courier.sink}), class_="bad")


def _last_error(sink: SinkView) -> str:
    courier, letters = sink.courier, sink.dead_letters
    letter = letters.last_reason if letters is not None and letters.count else ""
    health = courier.health
    return wording.sink_error(courier.state, health.last_error, health.last_refusal, letter) or _NONE


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
    return section("Spool", "", element("dl", *terms))


def _size(count: int | None) -> str:
    return "not read yet" if count is None else size(count)
