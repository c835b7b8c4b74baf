"""As `thingsdb.room.roombase`, of which a `Room` is all that there is here."""

from tdbwatch.room import Room as RoomBase

__all__ = ["RoomBase"]
