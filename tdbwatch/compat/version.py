"""As `thingsdb.version`."""

from tdbwatch import __version__

__all__ = ["__version__"]
