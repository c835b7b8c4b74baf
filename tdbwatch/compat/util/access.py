"""As `thingsdb.util.access`."""

from enum import IntEnum


class Access(IntEnum):
    """Privileges on a scope, for `Client.grant` and `Client.revoke`."""

    QUERY = 1
    CHANGE = 2
    GRANT = 4
    JOIN = 8
    RUN = 16
    FULL = 31


__all__ = ["Access"]
