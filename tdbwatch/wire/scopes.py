"""Scopes: four spellings of one collection.

The server pushes `@collection:stuff`; clients may write `//stuff`, `@:stuff`, `/collection/stuff`,
`/c/stuff`, `@collection:stuff` or `@c:stuff` (public documentation; recording `rooms`).
"""

import re
from typing import Final

_COLLECTION: Final = re.compile(
    r"(?:@(?P<at>[a-z]*):|/(?P<slash>[a-z]*)/)(?P<name>[A-Za-z_][0-9A-Za-z_]*|[0-9]+)"
)
_FULL: Final = "collection"


def collection_of(scope: str) -> str | None:
    """The collection that `scope` names (its name, or its id as text); None for other scopes."""
    match = _COLLECTION.fullmatch(scope)
    if match is None:
        return None
    kind = match["at"] if match["at"] is not None else match["slash"]
    return match["name"] if _FULL.startswith(kind) else None


def canonical(scope: str) -> str:
    """The spelling that the server pushes, `@collection:stuff`; other scopes stay as they are."""
    name = collection_of(scope)
    return scope if name is None else f"@collection:{name}"


def short(scope: str) -> str:
    """The spelling that people read, `//stuff`; other scopes stay as they are."""
    name = collection_of(scope)
    return scope if name is None else f"//{name}"
