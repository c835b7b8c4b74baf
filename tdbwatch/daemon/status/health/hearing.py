"""What is wrong with hearing: links, rooms, the canary. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from tdbwatch.daemon.status import remedies
from tdbwatch.daemon.status.health.problem import Problem, short
from tdbwatch.daemon.status.snapshot import NodeView, RoomView, Snapshot
from tdbwatch.daemon.status.wording import ROOM_STATES
from tdbwatch.daemon.words import counted, duration

MOST_ROOMS: Final = 12
"""Rooms with the same fault that are told of one by one."""
_NAMED: Final = 3


def hearing(snapshot: Snapshot) -> Iterator[Problem]:
    """What keeps events from being heard."""
    yield from _links(snapshot)
    yield from _rooms(snapshot)
    yield from _canary(snapshot)


def _links(snapshot: Snapshot) -> Iterator[Problem]:
    live, wanted = snapshot.links, snapshot.links_wanted
    if not live and (snapshot.phase != "starting" or snapshot.starts_in_vain):
        refused = any(node.state == "refusing" for node in snapshot.nodes)
        what = "Each node that answers refuses the login" if refused else "No connection to ThingsDB"
        text = f"{what}: no event can be heard, and what is emitted now is lost to us."
        remedy = remedies.LOGIN if refused else remedies.LINKS
        yield Problem("links", "", text, blocking=True, remedy=remedy)
    elif 0 < live < wanted:
        text = f"{live} of {counted(wanted, 'connection')}: if that node fails too, events are missed."
        yield Problem("links", "", text, blocking=False, remedy=remedies.FEWER_LINKS)
    for node in snapshot.nodes:
        if node.state == "unreachable":
            text = _unreachable(node, snapshot.taken_us)
            yield Problem("node", node.address, text, blocking=False, remedy=remedies.NODE)
        elif node.state == "refusing":
            text = _unreachable(node, snapshot.taken_us)
            yield Problem("node", node.address, text, blocking=False, remedy=remedies.LOGIN)


def _unreachable(node: NodeView, now_us: int) -> str:
    since = "" if node.since_us is None else f" for {duration((now_us - node.since_us) / 1e6)}"
    return f"Not connected{since}. {short(node.trouble)}"


def _rooms(snapshot: Snapshot) -> Iterator[Problem]:
    deaf = _hears_no_room(snapshot)
    if deaf and len(snapshot.rooms) > 1:  # else the room says it itself
        text = "None of the rooms is joined: nothing can be heard."
        yield Problem("rooms", "", text, blocking=True, remedy=remedies.NO_ROOM)
    tried = [room for room in snapshot.rooms if snapshot.links or room.state != "waiting"]
    missed = [room for room in tried if room.state not in {"joined", "left"}]
    for (blocking, state), some in _together(missed, lambda room: (deaf or room.required, room.state)):
        yield from _missed(state, some, blocking=blocking)
    yield from _followed([room for room in tried if room.heard_in])
    yield from _unrouted([room for room in tried if room.unrouted])


def _hears_no_room(snapshot: Snapshot) -> bool:
    """Whether there are connections, and every room was tried on them, in vain."""
    tried = snapshot.phase == "running" and snapshot.links and snapshot.rooms
    return bool(tried) and not any(room.state in {"joined", "left"} for room in snapshot.rooms)


def _missed(state: str, rooms: Sequence[RoomView], *, blocking: bool) -> Iterator[Problem]:
    """Rooms that are not joined, for the same reason."""
    first, what = rooms[0], ROOM_STATES[state]
    if len(rooms) > MOST_ROOMS:
        text = (
            f"{len(rooms):,} rooms are not joined, and their events are missed. Of {_names(rooms)}: {what}."
        )
        yield Problem("rooms", "", f"{text} {short(first.reason)}".strip(), blocking, remedy=first.remedy)
        return
    for room in rooms:
        text = f"{what}: its events are missed. {short(room.reason)}".strip()
        yield Problem("room", _name(room), text, blocking=blocking, remedy=room.remedy)


def _followed(rooms: Sequence[RoomView]) -> Iterator[Problem]:
    """Rooms that a restart would look for where they are no more, by the names of before and of now."""
    for asked, now in dict.fromkeys((room.scope, room.heard_in) for room in rooms):
        text = f"This collection is called {now} now: its rooms are heard on, but not after the next restart."
        yield Problem("collection", asked, text, blocking=False, remedy=remedies.followed(asked, now))


def _unrouted(rooms: Sequence[RoomView]) -> Iterator[Problem]:
    """Rooms with events that no sink gets."""
    nowhere = "since the start that no route takes: no sink gets them."
    if len(rooms) > MOST_ROOMS:
        events = counted(sum(room.unrouted for room in rooms), "event")
        text = f"{events} in {len(rooms):,} rooms {nowhere} Among them {_names(rooms)}."
        yield Problem("rooms", "", text, blocking=False, remedy=remedies.UNROUTED)
        return
    for room in rooms:
        text = f"{counted(room.unrouted, 'event')} {nowhere}"
        yield Problem("room", _name(room), text, blocking=False, remedy=remedies.UNROUTED)


def _together(
    rooms: Iterable[RoomView], key: Callable[[RoomView], tuple[bool, str]]
) -> Iterable[tuple[tuple[bool, str], list[RoomView]]]:
    """Rooms by what they have in common."""
    found: dict[tuple[bool, str], list[RoomView]] = {}
    for room in rooms:
        found.setdefault(key(room), []).append(room)
    return found.items()


def _names(rooms: Sequence[RoomView]) -> str:
    return ", ".join(map(_name, rooms[:_NAMED])) + " and others"


def _name(room: RoomView) -> str:
    return f"{room.name} in {room.scope}"


def _canary(snapshot: Snapshot) -> Iterator[Problem]:
    canary = snapshot.canary
    if canary is None or canary.state in {"joined", "left"}:
        return
    if snapshot.links or canary.state != "waiting":
        text = f"{ROOM_STATES[canary.state]}: a connection that lives and delivers nothing is not found out."
        name = f"{canary.room} in {canary.scope}"
        text = f"{text} {short(canary.reason)}".strip()
        yield Problem("canary", name, text, blocking=False, remedy=canary.remedy)
