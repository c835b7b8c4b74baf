"""As `thingsdb.room.room`."""

from tdbwatch.room import Room

__all__ = ["Room"]
