"""The events that every contestant gets: the same bytes, made before the clock starts."""

import random
from typing import Any, Final

import msgpack

from tdbwatch.wire import PUSH_ID, Kind, encode_frame

SCOPE: Final = "@collection:stuff"
ROOM: Final = "alerts"
ROOM_ID: Final = 7
EVENT: Final = "disk-usage"
FIRST, LAST = "first", "last"
"""Events that surround a blast; their handlers start and stop the watch."""


def room_name(number: int) -> str:
    """The name of one of many rooms."""
    return f"room{number}"


def room_id(name: str) -> int:
    """The id of a room: of `ROOM`, or of one of many."""
    return ROOM_ID if name == ROOM else ROOM_ID + 1 + int(name.removeprefix("room"))


def body(event: str, args: list[Any], room: int = ROOM_ID) -> bytes:
    """The body of a ROOM_EMIT push, its keys in the order that a node sends them (recording `rooms`)."""
    packed: bytes = msgpack.packb({"scope": SCOPE, "id": room, "event": event, "args": args})
    return packed


def frame(event: str, args: list[Any]) -> bytes:
    """A whole ROOM_EMIT push."""
    return encode_frame(PUSH_ID, Kind.ROOM_EMIT, body(event, args))


def bodies(count: int, rooms: int = 0) -> list[bytes]:
    """Bodies of about 150 bytes, none like another; of so many rooms in turn, 0: of `ROOM`."""
    rng = random.Random(1)
    ids = [room_id(room_name(number)) for number in range(rooms)] or [ROOM_ID]
    return [body(EVENT, _args(number, rng), ids[number % len(ids)]) for number in range(count)]


def timed_frame(due_ns: int, number: int) -> bytes:
    """An event that says when it was to be sent, in monotonic nanoseconds: the same from every server."""
    return frame(EVENT, [due_ns, number, "/var/lib/thingsdb", 91.52, {"unit": "percent", "trend": "rising"}])


def _args(number: int, rng: random.Random) -> list[Any]:
    host = f"node-{number % 97:02d}.dc2.example.org"
    details = {"unit": "percent", "trend": "rising", "by": "cron"}
    return [host, "/var/lib/thingsdb", round(rng.uniform(0.0, 100.0), 2), number, details]
