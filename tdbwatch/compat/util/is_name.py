"""As `thingsdb.util.is_name`."""

from tdbwatch.wire.names import is_room_name


def is_name(s: str) -> bool:
    """Whether ThingsDB takes it as a name: letters, digits and underscores, no digit first, 255 at most."""
    return is_room_name(s)


__all__ = ["is_name"]
