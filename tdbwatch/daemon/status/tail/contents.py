"""What an event carries, as one line that anybody may be shown who may see it. Pure."""

from typing import Final

from tdbwatch.daemon.words import size
from tdbwatch.plugin import Event, Kind
from tdbwatch.plugin.jsonable import to_json, to_jsonable
from tdbwatch.redaction import presentable

SHOWN: Final = 600
"""Characters of a line."""
_LARGE: Final = 32 * 1024
"""Bytes beyond which nobody decodes an event only to look at it."""


def is_large(event: Event) -> bool:
    return len(event.payload) > _LARGE


def contents(event: Event) -> str:
    """Its arguments, by their names where they have some, or a record's details: JSON, redacted and cut."""
    if is_large(event):
        return f"({size(len(event.payload))})"
    try:
        carried = (event.data or event.args) if event.kind == Kind.EVENT else event.details
        text = to_json(to_jsonable(carried))
    except (RecursionError, TypeError, ValueError):  # nested deeper than JSON can be made, for instance
        text = to_json(to_jsonable([event.payload]))
    return presentable(text.decode(), SHOWN)
