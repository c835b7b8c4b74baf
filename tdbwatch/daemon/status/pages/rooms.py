"""The table of rooms: all of them, or of very many those that one looks for. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from tdbwatch.daemon.status import wording
from tdbwatch.daemon.status.history import History
from tdbwatch.daemon.status.pages.chart import activity
from tdbwatch.daemon.status.pages.markup import (
    Column,
    Markup,
    badge,
    element,
    field,
    section,
    small,
    span,
    table,
)
from tdbwatch.daemon.status.pages.times import when
from tdbwatch.daemon.status.snapshot import CanaryView, RoomView, Snapshot

SHOWN: Final = 50
"""Rooms of one page; of more than that the page would be slow, and nobody reads them."""
_NONE: Final = "-"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rooms somebody wants to see.

    Attributes:
        part: what is in their name or scope; upper and lower case do not differ.
        page: from 1.
    """

    part: str = ""
    page: int = 1

    @classmethod
    def of(cls, part: str, page: str) -> "Choice":
        """As a URL's query has it, whatever that is."""
        number = int(page) if page.isascii() and page.isdigit() and len(page) < 9 else 1
        return cls(part.strip()[:200], max(1, number))

    def among(self, rooms: Sequence[RoomView], history: History) -> list[RoomView]:
        """All that have the part, what needs a look first, then the busiest."""
        part = self.part.casefold()
        found = [room for room in rooms if part in f"{room.scope} {room.name}".casefold()]
        if len(found) <= SHOWN:
            return found
        return sorted(found, key=lambda room: (_is_fine(room), -history.room(room.scope, room.name).total))


def _is_fine(room: RoomView) -> bool:
    return not wording.room_reason(room.state, room.reason)


EVERYTHING: Final = Choice()


def rooms(snapshot: Snapshot, history: History, choice: Choice) -> Markup:
    """What is listened to, and the canary's room."""
    found = choice.among(snapshot.rooms, history)
    pages = max(1, -(-len(found) // SHOWN))
    page = min(choice.page, pages)
    joined = sum(room.state == "joined" for room in snapshot.rooms)
    columns: tuple[Column[RoomView | CanaryView], ...] = (
        Column("Room", _room_name),
        Column("State", lambda room: badge(room.state, _room_colour(room))),
        Column("Links", lambda room: f"{room.links}", "number"),
        Column("Events", _received, "number"),
        Column("Last hour", lambda room: _heard(room, history)),
        Column("Last event", lambda room: _last_event(room, snapshot.taken_us)),
        Column("Reason", _why, "note"),
    )
    canary = () if snapshot.canary is None else (snapshot.canary,)
    shown = table("Rooms", columns, (*found[(page - 1) * SHOWN : page * SHOWN], *canary))
    remark = f"{joined:,} of {len(snapshot.rooms):,} joined"
    if len(snapshot.rooms) <= SHOWN:
        return section("Rooms", remark, shown)
    return section("Rooms", remark, _search(choice, len(found)), shown, _pages(choice, page, pages))


def _search(choice: Choice, found: int) -> Markup:
    said = f"{found:,} found" if choice.part else "those that need a look first, then the busiest"
    clear = element("a", "Clear", href="./") if choice.part else Markup("")
    sought = field("room", "Name or scope", "alerts", choice.part)
    parts = (sought, element("button", "Search"), clear, element("span", said, class_="soft"))
    return element("form", *parts, method="get", action="./")


def _pages(choice: Choice, page: int, pages: int) -> Markup:
    if pages == 1:
        return Markup("")
    links = [
        element("a", text, href="./?" + urlencode({"room": choice.part, "page": to}))
        for text, to in (("Previous", page - 1), ("Next", page + 1))
        if 1 <= to <= pages
    ]
    return element("p", f"Page {page:,} of {pages:,}", *links, class_="pages")


def _room_name(room: RoomView | CanaryView) -> Markup:
    if isinstance(room, CanaryView):
        return span(room.room, small(f"{room.scope}, the canary's"))
    where = room.scope + ("" if room.room_id is None else f" #{room.room_id}")
    return span(room.name, small(where + (", required" if room.required else "")))


def _received(room: RoomView | CanaryView) -> str:
    return _NONE if isinstance(room, CanaryView) else f"{room.received:,}"


def _heard(room: RoomView | CanaryView, history: History) -> Markup:
    if isinstance(room, CanaryView):
        return Markup(_NONE)
    return activity(history.room(room.scope, room.name), f"Heard in {room.name}")


def _last_event(room: RoomView | CanaryView, now_us: int) -> str:
    return _NONE if isinstance(room, CanaryView) else when(room.last_event_us, now_us)


def _why(room: RoomView | CanaryView) -> str:
    return wording.room_reason(room.state, room.reason) or _NONE


def _room_colour(room: RoomView | CanaryView) -> str:
    return wording.room_colour(room.state, required=isinstance(room, RoomView) and room.required)
