"""The page of the last events. Pure.

Without script it is a list that is loaded again now and then; with it, events come as they are heard.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from tdbwatch.daemon.status.health import problems, state_of
from tdbwatch.daemon.status.pages.frame import frame
from tdbwatch.daemon.status.pages.markup import (
    Column,
    Markup,
    badge,
    cells,
    element,
    field,
    small,
    span,
    table,
)
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.daemon.status.tail.contents import contents
from tdbwatch.daemon.status.tail.filter import Filter
from tdbwatch.plugin import Event, Kind
from tdbwatch.plugin.event import format_time
from tdbwatch.redaction import presentable

_LABELS: Final = {
    "room": ("Room", "alerts or al*"),
    "event": ("Event", "disk-*"),
    "text": ("Text", "db1"),
    "where": ("Where (CEL)", "args[0].severity >= 5"),
}
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_NAMED: Final = 200
"""Characters of an event's name that are shown: emitters choose it."""
_CLOSED: Final = "What events carry is shown only if there is an http.token."
_NONE: Final = "None of the last entries."
_DURABLE: Final = "Shown once they are durable."


def render(
    snapshot: Snapshot,
    wanted: Filter,
    events: Iterable[Event],
    position: int,
    trouble: str = "",
    asked: Mapping[str, str] = NOTHING,
) -> str:
    """The whole document.

    Args:
        events: the newest last.
        position: the last entry that was looked at: live events begin behind it.
        trouble: why there are no events; empty: there are, or none is wanted.
        asked: what the fields of a filter hold that cannot be used.
    """
    shown = list(events)[::-1]
    what = f"The last {len(shown):,}, newest first." if shown else "" if trouble else _NONE
    remark = f"{what} {_DURABLE if wanted.sees_contents else _CLOSED}"
    stream = "tail/stream?" + urlencode({**wanted.query, "after": position})
    return frame(
        snapshot,
        state_of(snapshot, problems(snapshot)),
        "tail",
        "tail",
        _form(wanted.query or asked, sees_contents=wanted.sees_contents),
        element("p", trouble, class_="trouble said", role="alert") if trouble else Markup(""),
        element(
            "section",
            element("h2", "Events", element("span", remark), element("span", id="live", role="status")),
            table("Events", _columns(wanted), shown, _css),
            id="tail",
            data_stream="" if trouble else stream,
        ),
    )


def rows(events: Iterable[Event], wanted: Filter) -> Markup:
    """The rows of these, the oldest first, for a page that is there already."""
    columns = _columns(wanted)
    return Markup("".join(element("tr", *cells(columns, event), class_=_css(event)) for event in events))


def _form(asked: Mapping[str, str], *, sees_contents: bool) -> Markup:
    fields = [
        field(key, label, hint, asked.get(key, ""))
        for key, (label, hint) in _LABELS.items()
        if sees_contents or key != "where"
    ]
    clear = element("a", "Clear", href="tail") if asked else Markup("")
    return element("form", *fields, element("button", "Filter"), clear, method="get", action="tail")


def _columns(wanted: Filter) -> tuple[Column[Event], ...]:
    columns: tuple[Column[Event], ...] = (
        Column("Time (UTC)", _time),
        Column("Room", lambda event: span(presentable(event.room), small(event.scope))),
        Column("Event", _name),
    )
    if not wanted.sees_contents:
        return columns
    return (*columns, Column("Carries", lambda event: element("code", contents(event)), "note"))


def _time(event: Event) -> str:
    timestamp = format_time(event.received_us)
    return element("time", timestamp[11:23], datetime=timestamp, title=timestamp)


def _name(event: Event) -> str:
    name = presentable(event.event, _NAMED)
    return name if event.kind == Kind.EVENT else span(badge(event.kind, "idle"), f" {name}")


def _css(event: Event) -> str:
    return "" if event.kind == Kind.EVENT else "own"
