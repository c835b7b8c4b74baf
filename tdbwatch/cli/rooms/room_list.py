"""What collections and rooms a node has, as far as the user may see them."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tdbwatch.cli.rooms.access import answered
from tdbwatch.wire import listing
from tdbwatch.wire.scopes import collection_of, short

if TYPE_CHECKING:
    from tdbwatch.client import Client

MOST_IDS: Final = 10_000_000
"""Ids that are tried in a collection; it takes a node some seconds."""
_EMPTY_PIECES: Final = 5
"""Where nobody says which ids there are, so many pieces without any thing are the end."""
_MAY_QUERY: Final = frozenset({"QUERY", "FULL"})


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection that the user may see.

    Attributes:
        past: above all ids that were given out; None: nobody says.
    """

    scope: str
    past: int | None = None


@dataclass(frozen=True, slots=True)
class FoundRoom:
    """A room of a collection; some have no name."""

    scope: str
    id: int
    name: str | None


async def collections(client: "Client", known: Iterable[str]) -> Sequence[Collection]:
    """All collections; without the right to ask for them those that are `known`, and where else it may look.

    Raises:
        ThingsDBError: other than the right is missing.
    """
    from tdbwatch.exceptions import ForbiddenError

    try:
        async with answered():
            infos = await client.query(listing.COLLECTIONS, scope="@thingsdb")
    except ForbiddenError:
        return [Collection(scope) for scope in await _accessible(client, known)]
    return [Collection(f"//{info['name']}", info.get("next_free_id")) for info in infos]


async def _accessible(client: "Client", known: Iterable[str]) -> list[str]:
    from tdbwatch.exceptions import ThingsDBError

    found = dict.fromkeys(known)
    for scope in list(found):
        try:
            async with answered():
                user = await client.query(listing.ACCESS, scope=scope)
        except ThingsDBError:  # it is said when its rooms are asked for
            continue
        for access in user["access"]:
            if collection_of(access["scope"]) and _MAY_QUERY & set(access["privileges"].split("|")):
                found[short(access["scope"])] = None
        break
    return list(found)


async def rooms(client: "Client", collection: Collection) -> AsyncIterator[FoundRoom]:
    """The rooms of a collection, in order of their ids.

    Raises:
        ThingsDBError: the collection is not there, or the user may not query it.
    """
    past = MOST_IDS if collection.past is None else min(collection.past, MOST_IDS)
    empty = 0
    for first in range(1, past, listing.PIECE):
        piece: dict[str, Any] = {"first": first, "past": min(first + listing.PIECE, past)}
        async with answered():
            found = await client.query(listing.ROOMS, scope=collection.scope, **piece)
            for room_id, name in found:
                yield FoundRoom(collection.scope, room_id, name)
            if collection.past is None:
                used = found or await client.query(listing.THINGS, scope=collection.scope, **piece)
                empty = 0 if used else empty + 1
        if empty == _EMPTY_PIECES:
            return
