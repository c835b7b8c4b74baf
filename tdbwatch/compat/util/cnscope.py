"""As `thingsdb.util.cnscope`."""

from tdbwatch.compat.util.is_name import is_name
from tdbwatch.wire.scopes import collection_of


def cnscope(scope: str) -> str:
    """The name of a scope's collection: `stuff` of `//stuff` and of `@collection:stuff`.

    Raises:
        ValueError: it is no collection's scope.
    """
    name = collection_of(scope)
    if name is None or not is_name(name):
        raise ValueError(f"{scope!r} is no collection's scope; write for instance //stuff")
    return name


__all__ = ["cnscope"]
