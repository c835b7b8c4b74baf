"""As `thingsdb.room.event`."""

from tdbwatch.room import event

__all__ = ["event"]
