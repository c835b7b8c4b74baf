"""Scopes of requests: what they address, and what is answered to those that are none."""

from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from tdbwatch import exceptions as errors
from tdbwatch.wire.scopes import collection_of

_SEE: Final = "see https://docs.thingsdb.io/v1/overview/scopes"


class ScopeKind(Enum):
    """What a request may address."""

    COLLECTION = "collection"
    THINGSDB = "thingsdb"
    NODE = "node"


class Scope(NamedTuple):
    """A scope that parsed; `str()` of it is the spelling that pushes and errors use."""

    kind: ScopeKind
    name: str = ""

    def __str__(self) -> str:
        return f"@{self.kind.value}:{self.name}" if self.name else f"@{self.kind.value}"


@lru_cache(maxsize=256)
def parse_scope(text: str) -> Scope:
    """The scope that `text` means; the kind may be shortened to any prefix (`@c:stuff`, `@t`, `/n/0`).

    Raises:
        ValueError: (-60) not a scope (recording `errors`).
    """
    if text[:1] not in {"@", "/"}:
        got = f"scopes must start with a `@` or `/` but got `{text}` instead"
        raise errors.ValueError(f"invalid scope; {got}; {_SEE}")
    if (collection := collection_of(text)) is not None:
        return Scope(ScopeKind.COLLECTION, collection)
    word, separator, name = text[1:].partition(":" if text[0] == "@" else "/")
    if word and not separator and ScopeKind.THINGSDB.value.startswith(word):
        return Scope(ScopeKind.THINGSDB)
    if word and ScopeKind.NODE.value.startswith(word) and (name.isdecimal() or not separator):
        return Scope(ScopeKind.NODE, name)
    raise errors.ValueError(f"invalid scope; got `{text}`; {_SEE}")


def parse_collection(text: str) -> Scope:
    """As `parse_scope`, for a collection's scope.

    Raises:
        ValueError: (-60) not a scope.
        BadDataError: (-53) a scope, but not a collection's (recording `rooms`).
    """
    scope = parse_scope(text)
    if scope.kind is not ScopeKind.COLLECTION:
        raise errors.BadDataError("expecting a `collection` scope")
    return scope
