"""As `thingsdb.room`."""

from tdbwatch.compat.room.event import event
from tdbwatch.compat.room.room import Room

__all__ = ["Room", "event"]
