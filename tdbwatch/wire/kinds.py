"""The kinds of messages, who may send them, and what answers what: one table for both roles.

Source of the numbers: the public ThingsDB documentation.
"""

from enum import IntEnum
from typing import Final

PUSH_ID: Final = 0xFFFF
"""The frame id that every push carries."""


class Kind(IntEnum):
    """A frame's type."""

    NODE_STATUS = 0
    WARN = 5
    ROOM_JOIN = 6
    ROOM_LEAVE = 7
    ROOM_EMIT = 8
    ROOM_DELETE = 9

    PONG = 16
    OK = 17
    DATA = 18
    ERROR = 19

    PING = 32
    AUTH = 33
    QUERY = 34
    RUN = 37
    JOIN = 38
    LEAVE = 39
    EMIT = 40
    EMIT_PEER = 41


PUSHES: Final = frozenset(
    {Kind.NODE_STATUS, Kind.WARN, Kind.ROOM_JOIN, Kind.ROOM_LEAVE, Kind.ROOM_EMIT, Kind.ROOM_DELETE}
)

ANSWERS: Final[dict[Kind, frozenset[Kind]]] = {
    Kind.PING: frozenset({Kind.PONG}),
    Kind.AUTH: frozenset({Kind.OK, Kind.ERROR}),
    Kind.QUERY: frozenset({Kind.DATA, Kind.ERROR}),
    Kind.RUN: frozenset({Kind.DATA, Kind.ERROR}),
    Kind.JOIN: frozenset({Kind.DATA, Kind.ERROR}),
    Kind.LEAVE: frozenset({Kind.DATA, Kind.ERROR}),
    Kind.EMIT: frozenset({Kind.OK, Kind.ERROR}),
    Kind.EMIT_PEER: frozenset({Kind.OK, Kind.ERROR}),
}
"""Request -> the answers that may close it. Both sessions, the client's and the server's, obey this."""

REQUESTS: Final = frozenset(ANSWERS)
RESPONSES: Final = frozenset({Kind.PONG, Kind.OK, Kind.DATA, Kind.ERROR})
BODILESS: Final = frozenset({Kind.PING, Kind.PONG, Kind.OK})
"""Kinds whose body is empty."""
