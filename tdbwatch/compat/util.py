"""As `thingsdb.util`."""

from enum import IntEnum

from tdbwatch.client.code import strip_code
from tdbwatch.wire.names import is_room_name
from tdbwatch.wire.scopes import canonical, collection_of


class Access(IntEnum):
    """Privileges on a scope, for `Client.grant` and `Client.revoke`."""

    QUERY = 1
    CHANGE = 2
    GRANT = 4
    JOIN = 8
    RUN = 16
    FULL = 31


def is_name(s: str) -> bool:
    """Whether ThingsDB takes it as a name: letters, digits and underscores, no digit first, 255 at most."""
    return is_room_name(s)


def cnscope(scope: str) -> str:
    """The name of a scope's collection: `stuff` of `//stuff` and of `@collection:stuff`.

    Raises:
        ValueError: it is no collection's scope.
    """
    name = collection_of(scope)
    if name is None or not is_name(name):
        raise ValueError(f"{scope!r} is no collection's scope; write for instance //stuff")
    return name


def fcscope(scope: str) -> str:
    """The spelling that the server uses: `@collection:stuff` of `//stuff`.

    Raises:
        ValueError: it is no collection's scope.
    """
    return canonical(f"//{cnscope(scope)}")


__all__ = ["Access", "cnscope", "fcscope", "is_name", "strip_code"]
