"""HTML in which nothing is unescaped by accident: text becomes markup only through `element`. Pure."""

from html import escape


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


def join(children: "tuple[str, ...] | list[str]") -> Markup:
    """Markup and text, one after the other."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children))
