"""What the tables of the status page are made of. Pure."""

from collections.abc import Sequence
from typing import Final

from tdbwatch.daemon.status.markup import Markup, element
from tdbwatch.daemon.words import ago
from tdbwatch.plugin.event import format_time

NONE: Final = "-"

Column = tuple[str, str]
"""A heading, and the class of the column's cells: empty, `number` or `note`."""


def clock_time(timestamp: str) -> Markup:
    return element("time", timestamp[:19].replace("T", " ") + "Z", datetime=timestamp)


def when(then_us: int, now_us: int) -> Markup:
    timestamp = format_time(then_us)
    return element("time", ago(then_us, now_us), datetime=timestamp, title=timestamp)


def badge(state: str, colour: str) -> Markup:
    return element("span", state, class_=f"badge {colour}")


def span(*children: str) -> Markup:
    return element("span", *children)


def section(title: str, remark: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Markup:
    return element("section", element("h2", title, element("span", remark)), table(title, columns, rows))


def table(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Markup:
    head = element("tr", *(element("th", name, scope="col", class_=kind) for name, kind in columns))
    body = [_row(columns, row) for row in rows]
    whole = element("table", element("thead", head), element("tbody", *body), aria_label=title)
    return element("div", whole, class_="scroll", tabindex="0")


def _row(columns: Sequence[Column], cells: Sequence[str]) -> Markup:
    first, *rest = cells
    others = [element("td", cell, class_=kind) for cell, (_, kind) in zip(rest, columns[1:], strict=True)]
    return element("tr", element("th", first, scope="row"), *others)
