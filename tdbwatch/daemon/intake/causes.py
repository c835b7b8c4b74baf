"""Why events may have been missed."""

from enum import StrEnum
from typing import Final, NamedTuple


class Cause(StrEnum):
    """The `cause` of a gap record, and of the metric that counts them."""

    CONNECTION = "connection"
    """There was no connection that heard the room."""
    LOGIN = "login"
    """No node took the login."""
    DOWNTIME = "downtime"
    """tdbwatch was not running."""
    ROOM = "room"
    """The room was deleted, or could not be joined."""
    UNREADABLE = "unreadable"
    """Events came that cannot be decoded."""
    SPOOL = "spool"
    """The spool could not keep them."""
    DAMAGE = "damage"
    """The spool was damaged."""


STALL: Final = "stall"
"""As an absence says it: tdbwatch itself stood still. What it missed then is a gap of its own."""


class Silence(NamedTuple):
    """Since when a room is not heard, in seconds since the Unix epoch, and why."""

    since: float
    cause: Cause
    reason: str
