"""Rooms that are watched twice, or by mistake."""

from tdbwatch.daemon.config.models.config import Sections
from tdbwatch.daemon.config.models.thingsdb import RoomConfig
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.wire.scopes import short


def doubt_rooms(tree: Tree, sections: Sections) -> None:
    """Warn of one room under two names, and of the canary's among the rooms."""
    first: dict[tuple[str, str | int | None], int] = {}
    for index, room in enumerate(sections.rooms):
        target = _target(room)
        if (other := first.setdefault(target, index)) != index:
            place = tree.mention(("rooms", other), ("rooms", index))
            message = f"this room is watched already ({place}), so each of its events comes twice"
            tree.warn(("rooms", index), message, "keep one of the two; routes can send it to several sinks")
    canary = sections.thingsdb.canary
    if canary is not None:
        scope = short(canary.scope or sections.thingsdb.scope)
        index = first.get((scope, canary.room), -1)
        if index >= 0:
            message = "the canary emits into this room, so what it emits comes in as events"
            tree.warn(("rooms", index), message, "give the canary a room that is used for nothing else")


def _target(room: RoomConfig) -> tuple[str, str | int | None]:
    """What is joined, as far as can be told without asking ThingsDB."""
    found: str | int | None = room.name
    if found is None:
        found = room.id if room.code is None else f"code {room.code.strip()}"
    return short(room.scope), found
