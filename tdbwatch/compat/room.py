"""As `thingsdb.room`."""

from tdbwatch.room import Room, event

__all__ = ["Room", "event"]
