"""As `thingsdb.util.fcscope`."""

from tdbwatch.compat.util.cnscope import cnscope
from tdbwatch.wire.scopes import canonical


def fcscope(scope: str) -> str:
    """The spelling that the server uses: `@collection:stuff` of `//stuff`.

    Raises:
        ValueError: it is no collection's scope.
    """
    return canonical(f"//{cnscope(scope)}")


__all__ = ["fcscope"]
