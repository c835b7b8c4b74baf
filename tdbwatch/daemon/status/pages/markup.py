"""HTML in which nothing is unescaped by accident: text becomes markup only through `element`. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Generic, Literal, TypeVar

T = TypeVar("T")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | bool) -> Markup:
    """An element. Children that are no `Markup`, and attributes, are escaped.

    A trailing underscore of an attribute's name is cut off (`class_`), others become hyphens; False leaves
    the attribute out.
    """
    names = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    shown = "".join(
        f" {name}" if value is True else f' {name}="{escape(str(value))}"' for name, value in names if value
    )
    return Markup(f"<{tag}{shown}>{join(children)}</{tag}>")


def join(children: Iterable[str]) -> Markup:
    """Markup and text, one after the other."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children))


def span(*children: str) -> Markup:
    return element("span", *children)


def small(text: str) -> Markup:
    return element("small", f" {text}") if text else Markup("")


def badge(state: str, colour: str) -> Markup:
    return element("span", state, class_=f"badge {colour}")


def section(title: str, remark: str, *content: Markup) -> Markup:
    """A part of a page, with its heading and what is said beside that."""
    return element("section", element("h2", title, element("span", remark)), *content)


def field(name: str, label: str, hint: str, value: str) -> Markup:
    """A field of a form."""
    made = element("input", name=name, value=value, placeholder=hint, maxlength="500", spellcheck="false")
    return element("label", element("span", label), Markup(made.removesuffix("</input>")), class_=name)


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One of a table: its heading, what stands in it, and how that is set."""

    heading: str
    cell: Callable[[T], str]
    kind: Literal["", "number", "note"] = ""


def table(
    title: str, columns: Sequence[Column[T]], items: Iterable[T], css: Callable[[T], str] = lambda _: ""
) -> Markup:
    """Items, each in a row. On a narrow screen each row is a card, and each cell says its heading.

    Args:
        css: a row's class.
    """
    head = element("tr", *(element("th", each.heading, scope="col", class_=each.kind) for each in columns))
    body = [element("tr", *cells(columns, item), class_=css(item)) for item in items]
    return element("table", element("thead", head), element("tbody", *body), aria_label=title)


def cells(columns: Sequence[Column[T]], item: T) -> list[Markup]:
    """Those of one row of a table."""
    first, *rest = columns
    cells = [element("th", first.cell(item), scope="row")]
    return cells + [
        element("td", each.cell(item), class_=each.kind, data_label=each.heading) for each in rest
    ]
